"""What runs on a node of a Ray cluster: a task, and the process of the job that it starts and waits for.

The process is forked from a server that has imported torch and stays with Ray's worker, which does task after task.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType

from strobe.machine.signals import kill_group, send
from strobe.machine.threads import settle_waiting
from strobe.sweeps.engine import StartJob
from strobe.sweeps.remote import NOT_SHARED, Order, own_path
from strobe.sweeps.warm import WarmServer

_GIVEN_BY_RAY = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Task:
    """A job, as its node gets it.

    Attributes:
        order: What is to be done.
        lent: Variables of the driver, for where the node has none of that name.
        notes: A path in the sweep's directory; the files that tell both sides something begin with it.
        start: What the job's process does.
    """

    order: Order
    lent: Mapping[str, str]
    notes: str
    start: StartJob

    @property
    def begun(self) -> Path:
        """Made by the node when the job begins."""
        return Path(f"{self.notes}.begun")

    @property
    def number(self) -> Path:
        """Made by the driver: the signal that a job is asked to stop with."""
        return Path(f"{self.notes}.signal")


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended.

    Attributes:
        code: Its exit code.
        reason: Why there has been none.
    """

    code: int | None
    reason: str | None = None


def perform(task: Task) -> Outcome:
    """Be the task: start the job's process, pass a signal on to it, and wait until it has ended."""
    order = task.order
    if (problem := order.problem) is not None:
        return Outcome(NOT_SHARED, problem)
    task.begun.touch()
    given = {name: os.environ[name] for name in _GIVEN_BY_RAY if name in os.environ}
    lent = {name: value for name, value in task.lent.items() if name not in os.environ}
    path = own_path()
    environment = {**lent, **given, **order.environment, "PYTHONPATH": os.pathsep.join(path)}
    server = WarmServer(task.start.__module__)
    with _like_a_plain_interpreter(path):
        arguments = (order.arguments, order.directory, environment, order.cwd)
        process = server.context.Process(target=task.start, args=arguments)
        settle_waiting(1.0)  # other jobs keep cores busy
        server.start()
        with _asked_to_stop(task.number) as asked:
            process.start()
            while process.is_alive():
                while asked:
                    send(process.pid, asked.pop())
                process.join(0.2)
    kill_group(process.pid)
    return Outcome(process.exitcode)


@contextmanager
def _asked_to_stop(number: Path) -> Iterator[list[int]]:
    """Collect the signals that the job is to get: `ray.cancel` interrupts this process, as Ctrl-C would."""
    asked: list[int] = []

    def handle(_: int, frame: FrameType | None) -> None:
        try:
            asked.append(int(number.read_text()))
        except (OSError, ValueError):
            asked.append(signal.SIGTERM)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _like_a_plain_interpreter(path: list[str]) -> Iterator[None]:
    """Hide from multiprocessing, which would repeat it in the job's process, that this one is a worker of Ray."""
    main, paths, arguments = sys.modules["__main__"], sys.path, sys.argv
    variable = os.environ.get("PYTHONPATH")
    of_ray = Path(sys.modules["ray"].__path__[0]) if "ray" in sys.modules else None
    sys.modules["__main__"] = ModuleType("__main__")
    sys.path = [entry for entry in paths if of_ray not in Path(entry).parents]
    sys.argv = ["strobe"]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)  # the server looks for modules there
    try:
        yield
    finally:
        sys.modules["__main__"], sys.path, sys.argv = main, paths, arguments
        os.environ.pop("PYTHONPATH")
        if variable is not None:
            os.environ["PYTHONPATH"] = variable
