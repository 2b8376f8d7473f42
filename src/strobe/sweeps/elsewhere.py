"""Jobs that other processes seem to train: of an earlier driver, which may be gone, or by a person's hand."""

import socket

from strobe.errors import ConfigError
from strobe.record.alive import Watch
from strobe.record.layout import REPORT
from strobe.record.lock import is_held
from strobe.record.report import Report, read_report, settle_report
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import Rerun, adopt, has_ended


class Elsewhere:
    """Watches jobs until each has ended, or is gone and may be begun again.

    Args:
        rerun: Of the sweep: says whether one that is gone goes on or begins anew.
    """

    def __init__(self, rerun: Rerun | None) -> None:
        self._rerun = rerun
        self._watches: dict[Job, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, job: Job) -> None:
        """Watch a job, whose plan is to do so."""
        self._watches[job] = Watch(job.directory)

    def over(self) -> list[Job]:
        """The jobs that need no watching any more; those that have ended have the plan ``skip``."""
        over = [job for job, watch in self._watches.items() if self._is_over(job, watch)]
        for job in over:
            del self._watches[job]
        return over

    def _is_over(self, job: Job, watch: Watch) -> bool:
        is_silent = watch.is_silent()
        try:
            if is_held(job.directory):
                return False
            report = read_report(job.directory)
            is_far = report.get("host") != socket.gethostname()
            if report["status"] == "running":
                # Where locks are, and nobody holds this one, also now that the report was read: that is a copy's.
                if not (is_silent if is_far else is_held(job.directory) is False):
                    return False
                report = settle_report(job.directory, "preempted", "the process that trained it is gone")
            self._decide(job, report)
        except ConfigError as error:
            if (job.directory / REPORT).exists() and not is_silent:  # the next look may tell more
                return False
            job.plan, job.error = "run", str(error)
            return True
        except OSError:
            return False
        if job.plan != "skip":
            job.error = "its machine is silent" if is_far else "the process that trained it is gone"
        return True

    def _decide(self, job: Job, report: Report) -> None:
        if report.get("config_hash", job.hash) != job.hash:  # of another experiment: it is moved out of the way
            job.plan, job.status = "run", "waiting"
        else:
            adopt(job, report, None if has_ended(report, None) else self._rerun)
