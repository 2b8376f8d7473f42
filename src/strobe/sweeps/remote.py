"""How a job becomes the plain command on another machine; imported there before torch is."""

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from strobe.machine.program import VARIABLE, style
from strobe.machine.rank import process_rank
from strobe.machine.streams import redirect_output
from strobe.record.layout import TOKEN
from strobe.sweeps.job import Job

NOT_SHARED = 66
"""Exit code of a job on a machine that doesn't see what the driver sees (EX_NOINPUT of sysexits.h)."""

CONSOLE_LOG = "console.log"


@dataclass(frozen=True)
class Order:
    """All that another machine has to know of a job.

    Attributes:
        directory: The run directory.
        arguments: Of ``strobe train``.
        environment: Variables for its process.
        cwd: The working directory.
        path: Where Python finds modules besides its own, as in PYTHONPATH.
        sweep_dir: Directory of the sweep.
        token: What the file in there says, see `strobe.record.token`.
    """

    directory: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    path: Sequence[str]
    sweep_dir: str
    token: str

    @classmethod
    def of(cls, job: Job, arguments: Sequence[str], sweep_dir: Path, token: str) -> "Order":
        """For a job that is to find what this process finds."""
        cwd = str(Path.cwd())
        environment = {**job.environment, VARIABLE: style()}
        return cls(str(job.directory), list(arguments), environment, cwd, own_path(), str(sweep_dir), token)

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let processes that are started in the block find these modules before they know of the order."""
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(self.path)
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    @property
    def problem(self) -> str | None:
        """Why this machine can't do it, in a line; None if it can."""
        here = socket.gethostname()
        shared = "a sweep's directory has to be shared by all machines, at the same path"
        try:
            found = (Path(self.sweep_dir) / TOKEN).read_text(encoding="utf-8").strip()
        except OSError as error:
            return f"{here} does not see {self.sweep_dir} ({error.strerror}): {shared}"
        if found != self.token:
            return f"{here} has another directory at {self.sweep_dir}: {shared}"
        if not Path(self.directory).is_dir():
            return f"{here} does not see {self.directory}: {shared}"
        if not Path(self.cwd).is_dir():
            return f"{here} does not see {self.cwd}, where the sweep was started: it has to be shared, at the same path"
        return None


def become_command(order: Order) -> NoReturn:
    """Become ``strobe train <arguments>``, with its output in the run directory; nothing of this process is left.

    The command has its own ways with signals; its results are files, so nobody waits for what a function returns.

    Raises:
        SystemExit: If this machine can't; standard error has the reason.
    """
    if (problem := order.problem) is not None:
        print(problem, file=sys.stderr, flush=True)
        raise SystemExit(NOT_SHARED)
    rank = process_rank()
    sys.stdout.flush()
    sys.stderr.flush()
    redirect_output(Path(order.directory) / (CONSOLE_LOG if rank == 0 else f"console_rank_{rank}.log"))
    os.chdir(order.cwd)
    environment = {**os.environ, **order.environment, "PYTHONPATH": os.pathsep.join(order.path)}
    # A segmentation fault leaves a traceback.
    command = [sys.executable, "-X", "faulthandler", "-m", "strobe", "train", *order.arguments]
    os.execve(sys.executable, command, environment)


def own_path() -> list[str]:
    """Where this process finds modules, but for those of the interpreter and its environment."""
    cwd = str(Path.cwd())
    entries = [str(Path(entry or cwd).resolve()) for entry in sys.path]
    prefixes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    foreign = [entry for entry in entries if prefixes.isdisjoint((Path(entry), *Path(entry).parents))]
    return list(dict.fromkeys(foreign))
