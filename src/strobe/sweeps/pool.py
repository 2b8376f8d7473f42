"""The jobs of a sweep that are under way, wherever that is: ended in time, begun again if lost, and taken down."""

import logging
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from strobe.errors import ConfigError
from strobe.machine.disk import trouble
from strobe.machine.text import printable
from strobe.record.layout import FAILED, REPORT, STOPPED, SUCCEEDED, Status
from strobe.record.lock import being_trained, is_held
from strobe.record.report import Report, failure_line, read_report, settle_report
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import adopt

log = logging.getLogger(__name__)

_GRACE_S = 30.0  # between asking a job to stop and killing it
_PATIENCE_S = 60.0  # until a place that doesn't answer is given up
_NEVER = float("inf")


@dataclass
class _UnderWay:
    began: float | None = None  # None while it waits in a queue
    ran_s: float = 0.0  # before it was queued again
    asked_at: float | None = None
    timed_out: bool = False
    killed: bool = False


class Pool:
    """Runs jobs at an engine. A context manager: when it is left, none is running any more, unless the engine detaches.

    Args:
        engine: Where they run.
        job_timeout: Seconds after which a job is stopped; None lets it run.
        retries: How often a job that was lost is begun again.

    Attributes:
        lost: Jobs to be begun again.
    """

    def __init__(self, engine: Engine, job_timeout: float | None = None, retries: int = 0) -> None:
        self._engine = engine
        self._timeout = job_timeout
        self._retries = retries
        self._under_way: dict[Job, _UnderWay] = {}
        self.lost: deque[Job] = deque()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._engine.detaches:
            self.kill()

    @property
    def has_room(self) -> bool:
        """Whether another job may be started."""
        return self._engine.has_room

    @property
    def running(self) -> list[Job]:
        """The jobs under way."""
        return list(self._under_way)

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Start a job.

        Raises:
            OSError: If that can't be.
        """
        self._engine.start(job, arguments)
        self.watch(job)

    def watch(self, job: Job) -> None:
        """Take over a job that is under way at the engine."""
        job.began, job.status, job.error = True, "waiting", None
        self._under_way[job] = entry = _UnderWay()
        self._look_whether_begun(job, entry)

    def wait(self, timeout: float) -> list[Job]:
        """Wait until a job ends, or ``timeout`` seconds; returns those that ended, with status and objective."""
        if not self._under_way:
            time.sleep(timeout)
            return []
        over = []
        for job, end in self._engine.wait(min(timeout, self._until_deadline())):
            if (entry := self._under_way.pop(job, None)) is None:  # nobody's
                continue
            if self._is_to_begin_again(job, entry, end):
                _put_back(job, end)
                self.lost.append(job)
            else:
                _settle(job, end, entry)
                over.append(job)
        for job, entry in self._under_way.items():
            self._look_whether_begun(job, entry)
        self._enforce_deadlines()
        return over

    def ask(self, number: int) -> None:
        """Send a signal to every job: SIGINT and SIGTERM let it save a checkpoint first."""
        for job, entry in self._under_way.items():
            self._engine.ask(job, number)
            entry.asked_at = entry.asked_at or time.monotonic()

    def kill(self) -> None:
        """End every job at once."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._under_way and time.monotonic() < deadline:
            for job, entry in self._under_way.items():  # again and again: Ray may miss it right after an `ask`
                entry.asked_at = entry.asked_at or time.monotonic()
                self._kill(job, entry)
            self.wait(1.0)
        if self._under_way:
            names = printable(", ".join(job.directory.name for job in self._under_way))
            log.warning("Not known to have ended, though they were killed: %s", names)
            self._under_way.clear()

    def _kill(self, job: Job, entry: _UnderWay) -> None:
        entry.killed = True
        self._engine.kill(job)

    def _look_whether_begun(self, job: Job, entry: _UnderWay) -> None:
        is_running = self._engine.is_running(job)
        if entry.began is None and is_running:
            entry.began, job.status = time.monotonic(), "running"
        elif entry.began is not None and not is_running:  # its place has queued it again
            entry.ran_s += time.monotonic() - entry.began
            entry.began, job.status = None, "waiting"

    def _until_deadline(self) -> float:
        """Seconds until a job has to be stopped or killed."""
        next_one = min(map(self._deadline, self._under_way.values()), default=_NEVER)
        return max(0.0, next_one - time.monotonic())

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for job, entry in self._under_way.items():
            if now < self._deadline(entry):
                continue
            if entry.asked_at is not None:
                self._kill(job, entry)
            else:
                entry.timed_out, entry.asked_at = True, now
                self._engine.ask(job, signal.SIGTERM)

    def _deadline(self, entry: _UnderWay) -> float:
        """When a job is to be stopped because it takes too long, or to be killed because it does not stop."""
        if entry.killed:
            return _NEVER
        if entry.asked_at is not None:
            return entry.asked_at + _GRACE_S
        if self._timeout is None or entry.began is None:
            return _NEVER
        return entry.began + self._timeout - entry.ran_s

    def _is_to_begin_again(self, job: Job, entry: _UnderWay, end: End) -> bool:
        """Whether a job was lost, before its run was over, and may be begun again."""
        # Where nobody has asked for it, SIGKILL is what a system sends for want of memory: later there may be more.
        is_lost = end.how == "lost" or end.code == -signal.SIGKILL
        if not is_lost or entry.asked_at is not None or job.retries >= self._retries:
            return False
        try:
            return read_report(job.directory)["status"] not in (*SUCCEEDED, *FAILED)
        except ConfigError:
            return True


def _put_back(job: Job, end: End) -> None:
    """Make ready to be begun again; its run is written down as one that can be resumed."""
    job.retries += 1
    job.began = False
    job.plan, job.status, job.error = "run", "waiting", end.reason or _described(end.code)
    with suppress(ConfigError):  # nothing there that could be resumed
        report = read_report(job.directory)
        if report["status"] not in STOPPED:
            with suppress(OSError):  # so that nobody takes it for running
                settle_report(job.directory, "preempted", job.error)
            report["status"] = "preempted"
        adopt(job, report)


def _settle(job: Job, end: End, entry: _UnderWay) -> None:
    """Read how a job ended; where it could not write that down itself, do so for it."""
    try:
        report = read_report(job.directory)
    except ConfigError:
        if entry.asked_at is not None and not entry.timed_out:  # it has left the queue: the next command starts it
            job.status, job.error, job.began = "waiting", None, False
            with suppress(OSError):
                job.directory.rmdir()
            return
        report = Report(status="died")
    if end.how == "exited" and _left_it(job, end, report):
        job.plan, job.status = "watch", "running"
        job.error = being_trained(report if report["status"] == "running" else None)
        return
    failure: str | None = None
    status: Status = "failed"
    taken_away = end.how != "exited" and entry.asked_at is None
    stopped = end.how == "lost" and entry.asked_at is not None  # its place was gone before it could end well
    if entry.timed_out:
        failure = "stopped after sweep.job_timeout"
    elif (entry.killed or stopped) and report["status"] not in (*SUCCEEDED, *FAILED, *STOPPED):
        failure, status = end.reason or "killed as its sweep was stopped", "interrupted"
    elif report["status"] not in (*SUCCEEDED, *FAILED, *STOPPED) or (taken_away and report["status"] in STOPPED):
        failure = end.reason or _described(end.code)
    elif end.code not in (0, None, ConfigError.exit_code) and report["status"] == "completed":  # 2: another had run it
        failure = f"{end.reason or _described(end.code)} after it had completed"
    if failure is not None:
        if job.retries:
            failure = f"{failure} (begun again {job.retries} time{'s' if job.retries > 1 else ''})"
        try:
            report = settle_report(job.directory, status, failure)
        except OSError as error:  # the job's disk is full: that must not end the others
            message = f"{failure}; {trouble(error, job.directory / REPORT)}"
            report = {**report, "status": status, "error": {"type": "Killed", "message": message}}
    job.status = report["status"]
    job.objective = report.get("objective")
    job.error = failure_line(report) or None


def _left_it(job: Job, end: End, report: Report) -> bool:
    """Whether a job has left its run to another process, which trains it; where no code tells, that one's life does."""
    is_running = report["status"] == "running"
    if end.code == ConfigError.exit_code:
        return is_running or is_held(job.directory) is True
    return is_running and end.code is None and report.get("host") == socket.gethostname()


def _described(code: int | None) -> str:
    if code is None:
        return "the process is gone"
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (by the system, if memory ran out)" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"the process exited with code {code} before the run had ended"
