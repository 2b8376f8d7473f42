"""Drives a sweep: keeps the slots busy, passes signals on, and sums up however it ends."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from strobe.errors import ConfigError, InterruptedRunError, PreemptedError
from strobe.machine.disk import trouble
from strobe.machine.signals import SignaledError, Signals
from strobe.record.layout import SUCCEEDED, Mode
from strobe.sweeps.display import Display
from strobe.sweeps.elsewhere import Elsewhere
from strobe.sweeps.engine import Engine
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import ElsewhereError, Rerun, arguments_of, command_flags, prepare_directory
from strobe.sweeps.planning import Planner
from strobe.sweeps.pool import Pool

NextJob = Callable[[], Job | None]
"""Gives the next job to start, or None when there is no more for now."""


class StopSweepError(Exception):
    """A job failed, and the sweep is to stop at the first failure."""


@dataclass(frozen=True)
class Settings:
    """How a sweep is to be run.

    Attributes:
        directory: Where its jobs' directories lie.
        engine: Where its jobs run.
        on_failure: ``continue`` with the other jobs, or ``stop``.
        job_timeout: Seconds; None for no limit.
        retries: How often a job is begun again that was lost with its machine.
        rerun: ``failed`` runs jobs again that failed before, ``all`` everything; None only what is not finished.
        objective: The metric that its jobs are compared by; None where there is none.
        mode: Whether more or less of it is better.
        meanwhile: Called before the first jobs are started: begins with what can be done beside them.
    """

    directory: Path
    engine: Engine
    on_failure: Literal["continue", "stop"]
    job_timeout: float | None
    retries: int
    rerun: Rerun | None
    objective: str | None
    mode: Mode
    meanwhile: Callable[[], None] = lambda: None


def drive(
    next_job: NextJob,
    planner: Planner,
    settings: Settings,
    display: Display,
    ended: Callable[[Job], None],
    found: Sequence[Job] = (),
) -> None:
    """Run jobs until there are no more; where the engine detaches, until all are started.

    Args:
        next_job: Gives jobs while there is room.
        planner: Knows their command lines.
        settings: Of the sweep.
        display: Shows them.
        ended: Called with each job that has ended.
        found: Jobs that an earlier driver has started, which take their room whether there is any or not.

    Raises:
        StopSweepError: If a job failed and the sweep is to stop then.
        RunError: If a signal ended the sweep; its jobs have saved their checkpoints.
    """
    with Pool(settings.engine, settings.job_timeout, settings.retries) as pool, Signals() as signals:
        driver = _Driver(next_job, planner, settings, display, ended, pool, signals)
        try:
            display.refresh()  # to start the first takes seconds
            settings.meanwhile()
            driver.rejoin(found)
            driver.start_jobs()
            while driver.has_work and signals.first is None:
                driver.collect()
                driver.start_jobs()
        except SignaledError:  # one that came while a job was looked for
            pass
        except Exception:
            _wind_down(pool, signal.SIGTERM, display, lambda: signals.count > 0)
            raise
        if signals.first is not None:
            _wind_down(pool, signals.first, display, lambda: signals.count > 1)
            kind = InterruptedRunError if signals.first == signal.SIGINT else PreemptedError
            raise kind("the sweep was stopped; the same command with the same sweep.name continues it")


class _Driver:
    """Keeps a pool busy; the arguments are those of `drive`."""

    def __init__(
        self,
        next_job: NextJob,
        planner: Planner,
        settings: Settings,
        display: Display,
        ended: Callable[[Job], None],
        pool: Pool,
        signals: Signals,
    ) -> None:
        self._next_job, self._ended = next_job, ended
        self._planner, self._flags = planner, command_flags(sys.argv[1:])
        self._settings, self._display, self._pool, self._signals = settings, display, pool, signals
        self._elsewhere = Elsewhere(settings.rerun)
        self._shown: set[Job] = set()

    @property
    def has_work(self) -> bool:
        """Whether there is anything to wait for."""
        if self._settings.engine.detaches:
            return self._settings.engine.undelivered
        return bool(self._pool.running or self._pool.lost or self._elsewhere)

    def rejoin(self, found: Sequence[Job]) -> None:
        """Take over what an earlier driver has started."""
        for job in found:
            self._pool.watch(job)
            self._show(job)

    def start_jobs(self) -> None:
        """Start jobs while there is room for them."""
        while self._signals.first is None and self._pool.has_room and (job := self._next()) is not None:
            is_under_way = self._begin(job)
            self._show(job)
            if not is_under_way:
                self._take_down(job)

    def collect(self) -> None:
        """Wait until jobs have ended, or a second, and take down how."""
        known = set(self._pool.lost)
        for job in self._pool.wait(timeout=1.0):
            self._take_down(job)
        for job in self._elsewhere.over():
            if job.plan == "skip":
                self._over(job)
            else:
                self._pool.lost.append(job)
        for job in self._pool.lost:
            if job not in known:
                again = "resumed from its checkpoint" if job.plan == "resume" else "begun again"
                count = f" ({job.retries}/{self._settings.retries})" if job.retries else ""
                self._display.say(f"{job.directory.name}: {job.error}; it is {again}{count}")
        self._display.refresh()

    def _next(self) -> Job | None:
        if self._pool.lost:
            return self._pool.lost.popleft()
        with self._signals.raised():  # to look for one can take a while: a database may be away
            return self._next_job()

    def _show(self, job: Job) -> None:
        if job not in self._shown:
            self._shown.add(job)
            self._display.started(job)

    def _begin(self, job: Job) -> bool:
        """Start a job, or take it over; where that can't be, the job says why, and the others go on."""
        if job.plan == "watch":
            return False
        try:
            if job.plan == "rejoin":
                self._pool.watch(job)
                return True
            prepare_directory(job)
            self._pool.start(job, arguments_of(job, self._planner, self._flags))
        except ElsewhereError as error:
            job.plan, job.status, job.error = "watch", "running", str(error)
        except OSError as error:
            job.status, job.error = "failed", trouble(error, job.directory)
        else:
            return True
        return False

    def _take_down(self, job: Job) -> None:
        """A job is over here: for good, or because another process trains it."""
        if job.plan == "watch":
            then = "left to that" if self._settings.engine.detaches else "watched, and gone on with if that is gone"
            self._display.say(f"{job.directory.name} {job.error}: {then}")
            self._elsewhere.add(job)
        else:
            self._over(job)

    def _over(self, job: Job) -> None:
        self._ended(job)
        self._display.ended(job)
        if job.status not in SUCCEEDED and self._settings.on_failure == "stop":
            raise StopSweepError(f"{job.directory.name} ended as {job.status}")


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Keep a second process from driving the same sweep.

    Raises:
        ConfigError: If one does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another process is running the sweep in {directory}; wait, or choose another sweep.name"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _wind_down(pool: Pool, number: int, display: Display, is_urgent: Callable[[], bool]) -> None:
    if pool.running:
        display.say("Stopping: running jobs save their checkpoints. Ctrl-C again ends them at once")
    pool.ask(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
    while pool.running and not is_urgent():
        for job in pool.wait(timeout=1.0):
            display.ended(job)
        display.refresh()
    pool.kill()
