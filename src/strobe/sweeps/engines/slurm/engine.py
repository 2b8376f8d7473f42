"""Jobs on a SLURM cluster: each run is a job of the cluster's, submitted through submitit."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from submitit.core.utils import FailedJobError, FailedSubmissionError

from strobe.errors import ConfigError, first_line
from strobe.machine.text import printable
from strobe.record.layout import TOKEN
from strobe.record.token import sweep_token
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.engines.slurm.ends import STOPPED_BY_US, forgotten, told
from strobe.sweeps.engines.slurm.queue import Entry, SlurmQueue, complaint, passes
from strobe.sweeps.engines.slurm.resources import Resources
from strobe.sweeps.engines.slurm.submission import Submission, open_folder
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.remote import Order

log = logging.getLogger(__name__)

SLOTS = 64
"""Jobs that wait or run at once, where nobody says how many."""

_AGAIN_S = 10.0  # between two tries to submit a job that the cluster could not take


@dataclass
class _UnderWay:
    submission: Submission
    order: Order | None  # None of a job that an earlier driver has submitted
    state: Entry | None = None
    asked: bool = False


class SlurmEngine(Engine):
    """A cluster, of which this machine is a client.

    A job that the cluster queues again, because its node died, or it was preempted, or its time was up and it asked for
    that, keeps its number and is still under way: the run in it goes on from its checkpoint.

    Args:
        directory: Of the sweep; all nodes see it.
        resources: What each job asks for.
        slots: Jobs that wait or run at once.
        detach: Submit all jobs, and leave.
    """

    def __init__(self, directory: Path, resources: Resources, slots: int = SLOTS, detach: bool = False) -> None:
        self.detaches = detach
        self._directory = directory
        self._resources = resources
        self._slots = slots
        self._queue = SlurmQueue()
        self._jobs: dict[Job, _UnderWay] = {}
        self._problems: dict[Demand, str | None] = {}
        self._has_gpus: bool | None = None
        self._to_stop: dict[int, list[str]] = {}
        self._to_kill: list[str] = []
        self._next_look = 0.0
        self._again: dict[Job, float] = {}  # that the cluster could not take -> when to try again
        self._unsent: dict[Job, End] = {}  # that it will never have -> how they have ended
        self._over: set[str] = set()  # numbers of jobs that have ended
        self._told_of: set[str] = set()  # reasons to wait
        self._given_up: set[str] = set()  # comments of jobs that the cluster may have without our knowing their number
        self._found: dict[str, Entry] = {}

    def __enter__(self) -> Self:
        """Ask the cluster whether it is there, and for what an earlier driver has submitted."""
        open_folder(self._directory)
        self._queue.require()
        if (self._directory / TOKEN).exists():
            self._found = {entry.comment: entry for entry in self._queue.under_way()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is left: a job that a signal came into the submission of, and all that are not to outlive this."""
        left = []
        if not self.detaches:
            for job in self._jobs:
                self.kill(job)
            left, self._to_kill = self._to_kill, []
        try:
            if self._given_up:
                known = {entry.submission.number for entry in self._jobs.values()}
                mine = [entry for entry in self._queue.under_way() if entry.comment in self._given_up]
                left += [entry.number for entry in mine if entry.number not in known]
            trouble = self._queue.end(left)
        except ConfigError as error:
            trouble = str(error)
        if trouble is not None:
            log.warning("Jobs may be left on the cluster (%s): squeue --me lists them", printable(trouble))

    @property
    def described(self) -> str:
        """How much runs at once."""
        if self.detaches:
            return "all of them given to SLURM, which this command does not wait for"
        return f"up to {self._slots} at a time given to SLURM"

    def problem(self, demand: Demand) -> str | None:
        """Why no job of this kind can ever run here: it contradicts its trainer, or no node has so much."""
        if demand not in self._problems:
            line = self._resources.problem(demand)
            if line is None and (refusal := self._queue.refusal(self._flags(demand))) is not None:
                line = f"hydra/launcher=slurm: SLURM would never run such a job: {refusal}"
            self._problems[demand] = line
        return self._problems[demand]

    @property
    def has_room(self) -> bool:
        """Whether another job may be submitted; none while one waits that the cluster could not take."""
        return not self._again and (self.detaches or len(self._jobs) < self._slots)

    @property
    def undelivered(self) -> bool:
        """Whether a started job is not on the cluster: it could not take that yet, or refused, as `wait` will tell."""
        return bool(self._again or self._unsent)

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Submit a job.

        Raises:
            OSError: If the sweep's directory can't be written.
        """
        submission = Submission(job)
        submission.clear()
        order = Order.of(job, arguments, self._directory, self._token)
        self._found.pop(self._comment(job), None)
        self._jobs[job] = _UnderWay(submission, order)
        try:
            self._submit(job)
        except BaseException:  # a signal came: whether the cluster has the job is not known
            del self._jobs[job]
            self._given_up.add(self._comment(job))
            raise

    def find(self, job: Job) -> bool:
        """Take over a job that an earlier driver has submitted: the cluster keeps what it was submitted for."""
        if not self._found or (entry := self._found.pop(self._comment(job), None)) is None:
            return False
        submission = Submission(job, entry.number)
        submission.complete()
        self._jobs[job] = _UnderWay(submission, None, entry, submission.was_asked)
        return True

    def is_running(self, job: Job) -> bool:
        """Whether the cluster has begun it."""
        state = self._jobs[job].state if job in self._jobs else None
        return state is not None and state.has_begun

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        """Wait until a job has ended, or ``timeout`` seconds; the cluster is asked once a second, of many jobs less."""
        self._pass_on()
        time.sleep(max(0.0, min(timeout, self._next_look - time.monotonic())))
        if time.monotonic() < self._next_look:
            return []
        self._submit_again()
        ended = list(self._ended())
        for job, end in ended:
            self._unsent.pop(job, None)
            submission = self._jobs.pop(job).submission
            submission.close(end)
            if submission.number is not None:
                self._over.add(submission.number)
        self._next_look = time.monotonic() + (1.0 if len(self._jobs) <= 100 else 5.0)
        return ended

    def ask(self, job: Job, number: int) -> None:
        """Send a signal to all processes of a job; one that waits leaves the queue."""
        if (its_number := self._no_longer_wanted(job)) is not None:
            self._to_stop.setdefault(number, []).append(its_number)

    def kill(self, job: Job) -> None:
        """End a job at once."""
        if (its_number := self._no_longer_wanted(job)) is not None:
            self._to_kill.append(its_number)

    def _no_longer_wanted(self, job: Job) -> str | None:
        """Take down that a job is to end; returns its number, if the cluster has it."""
        if (entry := self._jobs.get(job)) is None:
            return None
        entry.asked = True
        with suppress(OSError):  # it is for one that has not begun: the others can be reached
            entry.submission.ask()
        if entry.submission.number is None and job not in self._unsent:
            self._again.pop(job, None)
            self._unsent[job] = STOPPED_BY_US
            self._given_up.add(self._comment(job))  # the answer may have been lost, and not the question
        return entry.submission.number

    def _pass_on(self) -> None:
        """Tell the cluster which jobs are to end: one call for all."""
        for number, jobs in self._to_stop.items():
            self._queue.stop(jobs, number)
        if self._to_kill:
            self._queue.end(self._to_kill)
        if self._to_stop or self._to_kill:
            self._next_look = 0.0
        self._to_stop, self._to_kill = {}, []

    def _submit(self, job: Job) -> None:
        entry = self._jobs[job]
        assert entry.order is not None, "only a job of this driver's is submitted"
        try:
            entry.submission.to_slurm(entry.order, self._comment(job), self._resources, self._flags(job.demand))
        except (FailedJobError, FailedSubmissionError) as error:
            line = first_line(error) if isinstance(error, FailedSubmissionError) else complaint(str(error))
            if passes(str(error)):
                log.warning("%s: SLURM can't take it now (%s); it is tried again", job.directory.name, printable(line))
                self._again[job] = time.monotonic() + _AGAIN_S
            else:
                self._unsent[job] = End(code=1, reason=f"SLURM did not take it: {line}")
                if isinstance(error, FailedSubmissionError):  # sbatch printed no number
                    self._given_up.add(self._comment(job))

    def _submit_again(self) -> None:
        """Submit jobs that the cluster could not take, but for those that it did take, and only the answer was lost."""
        due = [job for job, at in self._again.items() if time.monotonic() >= at]
        if not due:
            return
        try:
            there = {entry.comment: entry for entry in self._queue.under_way() if entry.number not in self._over}
        except ConfigError:
            self._again.update(dict.fromkeys(due, time.monotonic() + _AGAIN_S))
            return
        for job in due:
            del self._again[job]
            if (state := there.get(self._comment(job))) is None:
                self._submit(job)
            else:
                entry = self._jobs[job]
                entry.submission.number, entry.state = state.number, state
                entry.submission.complete()

    def _flags(self, demand: Demand) -> dict[str, Any]:
        if demand.gpu and self._has_gpus is None:
            self._has_gpus = self._queue.has_gpus(self._resources.partition)
        return self._resources.flags(demand, bool(self._has_gpus))

    def _comment(self, job: Job) -> str:
        return f"strobe {self._token} {job.directory.name}"

    @cached_property
    def _token(self) -> str:
        return sweep_token(self._directory)

    def _ended(self) -> Iterator[tuple[Job, End]]:
        numbers = {job: number for job, entry in self._jobs.items() if (number := entry.submission.number) is not None}
        known = self._queue.look(list(numbers.values())) if numbers else {}
        for job, entry in self._jobs.items():
            end = self._unsent.get(job)
            if job in numbers and known is not None:
                entry.state = state = known.get(numbers[job])
                end = forgotten(job, numbers[job]) if state is None else told(state, entry.submission, entry.asked)
                if state is not None and state.waits_in_vain and state.reason not in self._told_of:
                    self._told_of.add(state.reason)
                    log.warning("SLURM job %s and its like wait, because of %s", numbers[job], state.reason)
            if end is not None:
                yield job, end
