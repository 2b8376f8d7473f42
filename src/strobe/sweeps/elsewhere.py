"""Jobs that other processes seem to train: of an earlier driver, which may be gone, or by a person's hand."""

import socket

from strobe.errors import ConfigError
from strobe.record.alive import Watch
from strobe.record.report import read_report, settle_report
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import adopt


class Elsewhere:
    """Watches jobs until each has ended, or is gone and may be begun again."""

    def __init__(self) -> None:
        self._watches: dict[Job, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, job: Job) -> None:
        """Watch a job, whose plan is to do so."""
        self._watches[job] = Watch(job.directory)

    def over(self) -> list[Job]:
        """The jobs that need no watching any more; those that have ended have the plan ``skip``."""
        over = [job for job, watch in self._watches.items() if _is_over(job, watch)]
        for job in over:
            del self._watches[job]
        return over


def _is_over(job: Job, watch: Watch) -> bool:
    is_silent = watch.is_silent()
    try:
        report = read_report(job.directory)
        is_here = report.get("host") == socket.gethostname()
        if report["status"] == "running":
            if is_here or not is_silent:  # of a process here the system knows, even of one that stands still
                return False
            report = settle_report(job.directory, "preempted", "its machine is silent")
    except (ConfigError, OSError) as error:
        job.plan, job.error = "run", str(error)
        return True
    job.error = None
    adopt(job, report)
    if job.plan != "skip":
        job.error = "the process that trained it is gone" if is_here else "its machine is silent"
    return True
