"""Jobs on a Ray cluster: each is a task with its resources, on whichever node has them free."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from strobe.errors import RunError, require
from strobe.machine.signals import hangup_signals, ignored
from strobe.record.token import sweep_token
from strobe.sweeps.engine import End, Engine, StartJob
from strobe.sweeps.engines.ray.link import Link
from strobe.sweeps.engines.ray.share import Share, wrong_settings
from strobe.sweeps.engines.ray.task import Task
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.remote import Order, own_path
from strobe.sweeps.slots import Slot

_NOTES = ".ray"  # a folder of the sweep's directory, while it runs

# The driver's variables that tell of its own machine, or that each job gets from us or from Ray.
_OF_THE_MACHINE = ("RAY_", "SLURM_", "SSH_", "DISPLAY", "TMPDIR", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "PWD", "OLDPWD")
# Those that count even where a node has others: what a command was given, its job gets.
_OF_THE_COMMAND = ("STROBE_", "HF_", "TORCH_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "CUBLAS_WORKSPACE_CONFIG")


class RayEngine(Engine):
    """A Ray cluster.

    Args:
        directory: Of the sweep, which all nodes share.
        start: What a job's process does; a function of a module.
        address: ``auto``, ``<host>:<port>``, ``ray://<host>:<port>``, or ``local`` for one of our own on this machine.
        slots: Jobs that run or wait in Ray's queue; ``auto`` is as many as the cluster holds, and one that waits.
        num_cpus: Of each job; None is one per device.
        num_gpus: Of each job; None is one per device, where the cluster has GPUs.
        memory_gb: Of each job; None reserves nothing.
        resources: Of each job, by the cluster's own names.
        runtime_env: As Ray takes it: how nodes that share no checkout get the code.

    Raises:
        ConfigError: If one of them can't be.
    """

    def __init__(
        self,
        directory: Path,
        start: StartJob,
        address: str = "auto",
        slots: int | str = "auto",
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory_gb: float | None = None,
        resources: dict[str, float] | None = None,
        runtime_env: dict[str, Any] | None = None,
    ) -> None:
        owned, brought = resources or {}, runtime_env or None
        numbers = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory_gb": memory_gb}
        require(wrong_settings(address, slots, numbers, owned, brought))
        self._directory, self._start = directory, start
        self._address, self._slots, self._runtime_env = address, slots, brought
        self._share = Share(num_cpus, num_gpus, memory_gb, owned)
        self._usual = Demand()  # of the job that was looked at last: most are alike
        self._link: Link | None = None
        self._nodes: list[dict[str, float]] = []
        self._tasks: dict[Job, Task] = {}
        self._begun: set[Job] = set()
        self._over: list[tuple[Job, End]] = []
        self._count = 0
        self._gone: str | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError: If there is no Ray here, or nobody answers at its address.
        """
        self._link = Link(self._address, self._runtime_env, [self._there(entry) for entry in own_path()])
        while not self._nodes and self._gone is None:
            self._listen(1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        with ignored(signal.SIGINT, signal.SIGTERM, *hangup_signals()):  # Ray takes its time, and all has ended
            if self._link is not None:
                self._link.close(at_once=self._gone is not None)
            shutil.rmtree(self._directory / _NOTES, ignore_errors=True)

    @property
    def described(self) -> str:
        """How much runs at once."""
        count = len(self._share.room(self._usual, self._nodes))
        nodes = f"{count} node{'s' if count != 1 else ''} of Ray"
        return f"{self._room} at a time on {nodes}, {self._share.threads(self._usual)} thread(s) each"

    def problem(self, demand: Demand) -> str | None:
        """Why no node could ever hold such a job."""
        self._usual = demand
        return self._share.problem(demand, self._nodes)

    @property
    def has_room(self) -> bool:
        """Whether another job may be started or queued: one that waits has a cluster grow that can."""
        waits = 1 if self._slots == "auto" else 0
        return self._gone is None and len(self._tasks) < self._room + waits

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Queue a job as a task.

        Raises:
            OSError: If the sweep's directory can't be written.
        """
        self._usual = job.demand
        self._count += 1
        folder = self._directory / _NOTES
        folder.mkdir(exist_ok=True)
        limits = Slot(self._share.threads(job.demand)).environment()
        order = Order.of(job, arguments, self._directory, sweep_token(self._directory))
        environment = {**variables(of_the_command=True), **limits, **job.environment}
        order = replace(order, cwd=self._there(order.cwd), environment=environment)
        notes = str(folder / f"{os.getpid()}-{self._count}")
        task = Task(order, variables(of_the_command=False), notes, self._start)
        self._tasks[job] = task
        self._ask_clerk("start", task, self._share.options(job.demand, self._nodes))

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        """Wait until a job's process has ended, or ``timeout`` seconds; returns those that have.

        Raises:
            RunError: If the cluster is gone; once, and from then on each job is lost.
        """
        deadline = time.monotonic() + timeout
        self._listen(0.0)
        while not self._over and self._gone is None and (left := deadline - time.monotonic()) > 0:
            self._listen(left)
        if self._gone is not None and self._tasks:
            self._over += [(job, End("lost", None, self._gone)) for job in self._tasks]
            self._tasks.clear()
            raise RunError(f"{self._gone}; the same command with the same sweep.name continues the sweep")
        ended, self._over = self._over, []
        self._begun.difference_update(job for job, _ in ended)
        return ended

    def is_running(self, job: Job) -> bool:
        """Whether a node has begun with a job."""
        if job not in self._begun and job in self._tasks and self._tasks[job].begun.exists():
            self._begun.add(job)
        return job in self._begun

    def ask(self, job: Job, number: int) -> None:
        """Have a job's node pass a signal on; one in the queue leaves it."""
        if (task := self._tasks.get(job)) is not None:
            with suppress(OSError):  # without it the node chooses SIGTERM
                task.number.write_text(str(int(number)))
            self._ask_clerk("cancel", task.notes, False)

    def kill(self, job: Job) -> None:
        """End a job's worker at once; its process goes with it."""
        if (task := self._tasks.get(job)) is not None:
            self._ask_clerk("cancel", task.notes, True)

    def _there(self, path: str) -> str:
        """Where tasks find a folder of ours: what Ray brings to a node, it makes the working directory there."""
        if (brought := (self._runtime_env or {}).get("working_dir")) is None:
            return path
        root = Path(brought).resolve() if Path(brought).is_dir() else Path.cwd()  # else an archive of this one
        return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path

    @property
    def _room(self) -> int:
        return sum(self._share.room(self._usual, self._nodes)) if self._slots == "auto" else int(self._slots)

    def _ask_clerk(self, *message: Any) -> None:
        assert self._link is not None, "an engine is entered before it is used"
        self._link.send(*message)

    def _listen(self, timeout: float) -> None:
        """Take in what the clerk says within ``timeout`` seconds."""
        assert self._link is not None, "an engine is entered before it is used"
        try:
            for name, *rest in self._link.messages(timeout):
                if name == "nodes":
                    (self._nodes,) = rest
                else:
                    notes, end = rest
                    self._settle(notes, end)
        except EOFError:
            self._gone = f"the Ray cluster is gone ({self._link.last_words()})"

    def _settle(self, notes: str, end: End) -> None:
        job = next(job for job, task in self._tasks.items() if task.notes == notes)
        task = self._tasks.pop(job)
        self._over.append((job, end))
        for path in (task.begun, task.number):
            path.unlink(missing_ok=True)


def variables(*, of_the_command: bool) -> dict[str, str]:
    """Variables of this process that its jobs are to have: those that count in any case, or all others."""
    fit = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_MACHINE)}
    return {name: value for name, value in fit.items() if name.startswith(_OF_THE_COMMAND) == of_the_command}
