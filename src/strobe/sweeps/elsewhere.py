"""Jobs that other processes seem to train: of an earlier driver, which may be gone, or by a person's hand."""

import os
import socket
from dataclasses import dataclass

from strobe.errors import ConfigError, first_line
from strobe.record.alive import Watch
from strobe.record.layout import REPORT
from strobe.record.lock import is_held
from strobe.record.report import Report, read_report, settle_report
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import Rerun, adopt, has_ended

_End = tuple[str, str | None, str | None]


@dataclass(frozen=True)
class _Watched:
    watch: Watch
    before: _End | None  # what the report said as the watching began
    was_begun: bool  # by this sweep, and lost to another process


class Elsewhere:
    """Watches jobs until each has ended, or is gone and may be begun again.

    Args:
        rerun: Of the sweep: says whether a run of an earlier one goes on or begins anew.
    """

    def __init__(self, rerun: Rerun | None) -> None:
        self._rerun = rerun
        self._watched: dict[Job, _Watched] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, job: Job) -> None:
        """Watch a job, whose plan is to do so."""
        try:
            before = _end(read_report(job.directory))
        except ConfigError:
            before = None
        self._watched[job] = _Watched(Watch(job.directory), before, job.began or job.retries > 0)

    def over(self) -> list[Job]:
        """The jobs that need no watching any more; those that have ended have the plan ``skip``."""
        over = [job for job, watched in self._watched.items() if self._is_over(job, watched)]
        for job in over:
            del self._watched[job]
            if job.plan != "skip":
                job.began, job.status = False, "waiting"
        return over

    def _is_over(self, job: Job, watched: _Watched) -> bool:
        is_silent = watched.watch.is_silent()
        if is_held(job.directory):
            return False
        try:
            report = read_report(job.directory)
            is_far = report.get("host") != socket.gethostname()
            if report["status"] == "running":
                # Where locks are, and nobody holds this one, also now that the report was read: that is a copy's.
                if not (is_silent if is_far else is_held(job.directory) is False):
                    return False
                report = settle_report(job.directory, "preempted", "the process that trained it is gone")
            self._decide(job, report, watched)
        except (ConfigError, OSError) as error:
            if os.path.lexists(job.directory / REPORT) and not is_silent:  # the next look may tell more
                return False
            job.plan, job.error = "run", first_line(error)
            return True
        if job.plan != "skip":
            job.error = "its machine is silent" if is_far else "the process that trained it is gone"
        return True

    def _decide(self, job: Job, report: Report, watched: _Watched) -> None:
        if report.get("config_hash", job.hash) != job.hash:  # of another experiment: it is moved out of the way
            job.plan = "run"
            return
        has_ended_meanwhile = has_ended(report, None) and _end(report) != watched.before
        adopt(job, report, None if has_ended_meanwhile or watched.was_begun else self._rerun)


def _end(report: Report) -> _End:
    return report["status"], report.get("started"), report.get("ended")
