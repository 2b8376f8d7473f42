"""Drives a sweep: keeps the slots busy, passes signals on, and sums up however it ends."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from filelock import FileLock, Timeout

from strobe.errors import ConfigError, InterruptedRunError, PreemptedError
from strobe.machine.disk import trouble
from strobe.machine.signals import hangup_signals
from strobe.record.layout import SUCCEEDED, Mode
from strobe.sweeps.display import Display
from strobe.sweeps.jobs import (
    ElsewhereError,
    Job,
    Planner,
    Rerun,
    arguments_of,
    command_flags,
    prepare_directory,
)
from strobe.sweeps.pool import Pool, StartJob
from strobe.sweeps.slots import Slot

NextJob = Callable[[], Job | None]
"""Gives the next job to start, or None when there is no more for now."""


class StopSweepError(Exception):
    """A job failed, and the sweep is to stop at the first failure."""


class _SignaledError(BaseException):
    """A signal reached the driver."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Settings:
    """How a sweep is to be run.

    Attributes:
        directory: Where its jobs' directories lie.
        slots: What runs at once.
        on_failure: ``continue`` with the other jobs, or ``stop``.
        job_timeout: Seconds; None for no limit.
        rerun: ``failed`` runs jobs again that failed before, ``all`` everything; None only what is not finished.
        objective: The metric that its jobs are compared by; None where there is none.
        mode: Whether more or less of it is better.
        start_job: What a job's process does.
    """

    directory: Path
    slots: list[Slot]
    on_failure: Literal["continue", "stop"]
    job_timeout: float | None
    rerun: Rerun | None
    objective: str | None
    mode: Mode
    start_job: StartJob


def drive(
    next_job: NextJob, planner: Planner, settings: Settings, display: Display, ended: Callable[[Job], None]
) -> None:
    """Run jobs until there are no more.

    Args:
        next_job: Gives jobs while a slot is free.
        planner: Knows their command lines.
        settings: Of the sweep.
        display: Shows them.
        ended: Called with each job that has ended.

    Raises:
        StopSweepError: If a job failed and the sweep is to stop then.
        RunError: If a signal ended the sweep; its jobs have saved their checkpoints.
    """
    flags = command_flags(sys.argv[1:])

    def over(job: Job) -> None:
        ended(job)
        display.ended(job)
        if job.status not in SUCCEEDED and settings.on_failure == "stop":
            raise StopSweepError(f"{job.directory.name} ended as {job.status}")

    with Pool(settings.slots, settings.start_job, settings.job_timeout) as pool, _signals_raise():
        try:
            while True:
                while pool.has_room and (job := next_job()) is not None:
                    begun = _begin(job, pool, arguments_of(job, planner, flags))
                    display.started(job)
                    if not begun:
                        over(job)
                if not pool.running:
                    return
                for job in pool.wait(timeout=1.0):
                    over(job)
                display.refresh()
        except (_SignaledError, Exception) as stopped:
            number = stopped.number if isinstance(stopped, _SignaledError) else signal.SIGTERM
            if pool.running:
                display.say("Stopping: running jobs save their checkpoints. Ctrl-C again ends them at once")
            _wind_down(pool, number, display)
            if not isinstance(stopped, _SignaledError):
                raise
            kind = InterruptedRunError if number == signal.SIGINT else PreemptedError
            raise kind("the sweep was stopped; the same command with the same sweep.name continues it") from None


def _begin(job: Job, pool: Pool, arguments: Sequence[str]) -> bool:
    """Start a job; where that can't be, the job says why, and the others go on."""
    try:
        prepare_directory(job)
        pool.start(job, arguments)
    except ElsewhereError as error:
        job.status, job.error = "running", str(error)
    except OSError as error:
        job.status, job.error = "failed", trouble(error, job.directory)
    return job.began


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


def _wind_down(pool: Pool, number: int, display: Display) -> None:
    try:
        pool.ask(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        while pool.running:
            for job in pool.wait(timeout=1.0):
                display.ended(job)
    except _SignaledError:
        pool.kill()


@contextmanager
def _signals_raise() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        raise _SignaledError(number)

    numbers = (signal.SIGINT, signal.SIGTERM, *hangup_signals())
    before: dict[int, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
