"""Drives a sweep: keeps the slots busy, passes signals on, and sums up however it ends."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from src.errors import ConfigError, InterruptedRunError, PreemptedError, RunError
from src.record import SUCCEEDED
from src.sweeps.display import Display, best_job
from src.sweeps.jobs import Job, Planner, arguments_of, command_flags, prepare_directory
from src.sweeps.pool import Pool
from src.sweeps.slots import Slot, share_out

log = logging.getLogger(__name__)

NextJob = Callable[[], Job | None]
"""Gives the next job to start, or None when there is no more for now."""


class SweepFailedError(RunError):
    """At least one job of a sweep did not complete."""


class StopSweepError(Exception):
    """A job failed, and the sweep is to stop at the first failure."""


class _SignalledError(BaseException):
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
        maximise: Whether more of the objective is better.
    """

    directory: Path
    slots: list[Slot]
    on_failure: str
    job_timeout: float | None
    maximise: bool

    @classmethod
    def of(cls, config: DictConfig, slots: int | str, jobs_per_gpu: int) -> "Settings":
        """From the config of a sweep."""
        sweep = config.sweep
        return cls(
            Path(str(config.hydra.sweep.dir)).resolve(),
            share_out(config.trainer, slots, jobs_per_gpu),
            str(sweep.on_failure),
            None if sweep.job_timeout is None else float(sweep.job_timeout),
            maximises(config),
        )


def maximises(config: DictConfig) -> bool:
    """Whether more of a sweep's objective is better."""
    objective = config.objective
    return str(config.monitor.mode) == "max" if objective is None else not str(objective).endswith("loss")


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
    with Pool(settings.slots, settings.job_timeout) as pool, _signals_raise():
        try:
            while True:
                while pool.has_room and (job := next_job()) is not None:
                    prepare_directory(job)
                    pool.start(job, arguments_of(job, planner, flags))
                    display.started(job)
                if not pool.running:
                    return
                for job in pool.wait(timeout=1.0):
                    display.ended(job)
                    ended(job)
                    if job.status not in SUCCEEDED and settings.on_failure == "stop":
                        raise StopSweepError(f"{job.directory.name} ended as {job.status}")
                display.refresh()
        except (_SignalledError, StopSweepError) as stopped:
            number = stopped.number if isinstance(stopped, _SignalledError) else signal.SIGTERM
            display.say("Stopping: running jobs save their checkpoints. Ctrl-C again ends them at once")
            _wind_down(pool, number, display)
            if isinstance(stopped, StopSweepError):
                raise
            kind = InterruptedRunError if number == signal.SIGINT else PreemptedError
            raise kind("the sweep was stopped; the same command with the same sweep.name goes on") from None


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


def summarise(jobs: list[Job], settings: Settings) -> None:
    """Write the sweep's summary and name its best run.

    Raises:
        SweepFailedError: If a job did not complete.
    """
    from src.report import write_report

    directory = settings.directory
    try:
        table = write_report([directory], directory)
    except Exception as error:  # a summary is not worth a sweep
        log.warning("No summary: %s: %s", type(error).__name__, error)
        log.debug("The summary failed", exc_info=True)
    else:
        log.info("\n%s", table)
    best = best_job(jobs, maximise=settings.maximise)
    if best is not None:
        log.info("best run     %s  (%.4f)", best.directory, best.objective)
    log.info("summary      %s", directory / "report.html")
    log.info("TensorBoard  tensorboard --logdir %s", directory)
    bad = [job for job in jobs if job.status not in SUCCEEDED]
    if bad:
        lines = [f"  {job.status}: {job.directory}" for job in bad[:20]]
        more = [f"  and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise SweepFailedError("\n".join([f"{len(bad)} of {len(jobs)} jobs did not complete:", *lines, *more]))


def _wind_down(pool: Pool, number: int, display: Display) -> None:
    try:
        pool.ask(number)
        while pool.running:
            for job in pool.wait(timeout=1.0):
                display.ended(job)
    except _SignalledError:
        pool.kill()


@contextmanager
def _signals_raise() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        raise _SignalledError(number)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
