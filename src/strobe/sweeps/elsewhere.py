"""Jobs of a sweep that other machines seem to train: of an earlier driver, whose machines may be gone with it."""

from contextlib import suppress

from strobe.errors import ConfigError
from strobe.record.alive import Watch
from strobe.record.report import read_report, settle_report
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import adopt


class Elsewhere:
    """Watches jobs until each has ended, or has fallen silent and may be begun again."""

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
    silent = watch.is_silent()
    with suppress(ConfigError, OSError):  # what can't be read is begun anew
        report = read_report(job.directory)
        if report["status"] == "running":
            if not silent:
                return False
            report = settle_report(job.directory, "preempted", "its machine is silent")
        job.plan, job.status, job.error = "run", "waiting", None
        adopt(job, report)
    if job.plan != "skip":
        job.plan = "run" if job.plan == "watch" else job.plan
        job.error = "its machine is silent"
    return True
