"""How a job of a cluster has ended: what the cluster says of it, and what only its files can say."""

import signal
from dataclasses import replace

from strobe.errors import ConfigError, PreemptedError
from strobe.record.layout import FAILED, STOPPED, SUCCEEDED
from strobe.record.report import read_report
from strobe.sweeps.engine import End
from strobe.sweeps.engines.slurm.queue import Entry
from strobe.sweeps.engines.slurm.submission import Submission
from strobe.sweeps.job import Job
from strobe.sweeps.remote import NOT_SHARED

_DEADLY = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_TOLD_TO_END = (PreemptedError.exit_code, -signal.SIGTERM)  # the second one, before the run could handle it
STOPPED_BY_US = End(code=PreemptedError.exit_code)


def told(entry: Entry, submission: Submission, asked: bool) -> End | None:
    """How a job has ended that the cluster tells of; None while it has not.

    Args:
        entry: What the cluster tells.
        submission: Of the job.
        asked: Whether the sweep has asked it to end.
    """
    end = entry.end
    if end is None:
        return None
    if end.code is not None and end.code - 128 in _DEADLY:  # srun says so of a task that a signal has killed
        end = replace(end, code=128 - end.code)
    if asked:
        return STOPPED_BY_US if end.how != "exited" else end
    if end.how == "exited" and end.code in _TOLD_TO_END:  # preempted, with time to save: SLURM has no state for that
        return End("lost", reason=f"SLURM told it to end (job {entry.number})")
    if end.how != "exited" or end.code == 0 or end.reason is not None:
        return end
    if (why := submission.why_not_begun()) is None:
        return end
    where = f"SLURM job {entry.number} on {entry.nodes or 'no node'} ended with code {end.code}: "
    return End(code=end.code, reason=why if end.code == NOT_SHARED else f"{where}{why}")


def forgotten(job: Job, number: str) -> End:
    """How a job has ended that the cluster does not know any more: its run tells, or it was taken away."""
    try:
        status = read_report(job.directory)["status"]
    except ConfigError:
        status = "died"
    over = status in (*SUCCEEDED, *FAILED, *STOPPED)
    return End() if over else End("lost", reason=f"SLURM does not know job {number} any more")
