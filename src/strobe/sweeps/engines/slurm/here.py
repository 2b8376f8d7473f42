"""The same jobs without a cluster: processes of this machine that submitit starts and that outlive their driver."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from submitit import LocalExecutor

from strobe.machine.signals import hangup_signals, ignored, kill_group
from strobe.record.token import sweep_token
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.engines.slurm.queue import outside_of_any_job
from strobe.sweeps.engines.slurm.resources import Resources
from strobe.sweeps.engines.slurm.submission import Submission, open_folder
from strobe.sweeps.engines.slurm.task import become_task
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.remote import Order
from strobe.sweeps.slots import Slot

_POLL_S = 0.2
_NO_LIMIT_MIN = 366 * 24 * 60  # submitit wants one; `sweep.job_timeout` is the sweep's


@dataclass
class _UnderWay:
    submission: Submission
    keeper: psutil.Process  # submitit's, whose child the command is
    slot: Slot | None  # None of a job that an earlier driver has started
    asked: bool = False


class SubmittedHere(Engine):
    """This machine, as a cluster: for a try of what will run on one.

    Args:
        directory: Of the sweep.
        slots: One job each.
        resources: What each job would ask a cluster for; only what contradicts its trainer matters here.
        detach: Start all jobs at once, and leave.
    """

    def __init__(self, directory: Path, slots: Sequence[Slot], resources: Resources, detach: bool = False) -> None:
        self.detaches = detach
        self._directory = directory
        self._resources = resources
        self._slots = slots
        self._free = list(slots)
        self._jobs: dict[Job, _UnderWay] = {}

    def __enter__(self) -> Self:
        """Be sure that submitit can write there."""
        open_folder(self._directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what a signal has left behind."""
        if not self.detaches:
            for job in self._jobs:
                self.kill(job)

    @property
    def described(self) -> str:
        """How much runs at once."""
        if self.detaches:
            return "all at once on this machine"
        return f"{len(self._slots)} at a time on this machine, {self._slots[0].threads} thread(s) each"

    def problem(self, demand: Demand) -> str | None:
        """Why no job of this kind can ever run here."""
        if demand.nodes > 1:
            return f"trainer.num_nodes={demand.nodes}: hydra.launcher.cluster=local has one machine"
        return self._resources.problem(demand)

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return self.detaches or len(self._jobs) < len(self._slots)

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Start a job in a free slot.

        Raises:
            OSError: If there can be no process.
        """
        submission = Submission(job)
        submission.clear()
        slot = self._free.pop(0) if self._free else self._slots[len(self._jobs) % len(self._slots)]
        order = Order.of(job, arguments, self._directory, self._token)
        order = replace(order, environment={**slot.environment(), **order.environment})
        with outside_of_any_job(), order.importable(), _apart(), ignored(signal.SIGINT, *hangup_signals()):
            try:
                executor = LocalExecutor(submission.folder)
                executor.update_parameters(timeout_min=_NO_LIMIT_MIN, signal_delay_s=0)
                submitted = executor.submit(become_task, order, str(submission.folder))
            except BaseException:  # a signal came
                submission.ask()
                raise
        submission.number = submitted.job_id
        self._jobs[job] = _UnderWay(submission, psutil.Process(int(submitted.job_id)), slot)

    @cached_property
    def _token(self) -> str:
        return sweep_token(self._directory)

    def find(self, job: Job) -> bool:
        """Take over a job whose process an earlier driver has started."""
        for number in Submission(job).numbers():
            submission = Submission(job, number)
            with suppress(psutil.Error, ValueError):
                keeper = psutil.Process(int(number))
                if str(submission.folder) in keeper.cmdline():  # and not another one with its number
                    self._jobs[job] = _UnderWay(submission, keeper, None, submission.was_asked)
                    return True
        return False

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        """Wait until a job's process has ended, or ``timeout`` seconds; returns those that have."""
        until = time.monotonic() + timeout
        while not (gone := [job for job, entry in self._jobs.items() if _is_gone(entry.keeper)]):
            if time.monotonic() >= until:
                return []
            time.sleep(min(_POLL_S, max(0.0, until - time.monotonic())))
        ended = []
        for job in gone:
            entry = self._jobs.pop(job)
            if entry.slot is not None:
                self._free.append(entry.slot)
            # submitit tells nobody the exit code of what it has started.
            end = End(reason=None if entry.asked else entry.submission.why_not_begun())
            entry.submission.close(end)
            ended.append((job, end))
        return ended

    def ask(self, job: Job, number: int) -> None:
        """Send a signal to a job's process, which tells its ranks."""
        for command in self._no_longer_wanted(job):
            with suppress(psutil.Error):
                command.send_signal(number)

    def kill(self, job: Job) -> None:
        """End a job at once."""
        for command in self._no_longer_wanted(job):
            kill_group(command.pid)
            with suppress(psutil.Error):
                command.kill()

    def _no_longer_wanted(self, job: Job) -> list[psutil.Process]:
        """Take down that a job is to end; returns its processes, if it has any here."""
        if (entry := self._jobs.get(job)) is None:
            return []
        entry.asked = True
        with suppress(OSError):  # it is for one that has not begun
            entry.submission.ask()
        try:
            return entry.keeper.children()
        except psutil.Error:  # it has just ended
            return []


@contextmanager
def _apart() -> Iterator[None]:
    """Let processes started in the block have nothing of what this one prints to: who reads it waits for all."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in before:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, kept in before:
            os.dup2(kept, number)
        for descriptor in (nowhere, *(kept for _, kept in before)):
            os.close(descriptor)


def _is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
