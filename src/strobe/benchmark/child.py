"""A command run from outside, as a person runs it: how long it takes, its cores' time, its memory, its last line."""

import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from strobe.errors import RunError
from strobe.machine.devices import visible_gpus

PYTHON = sys.executable
STROBE = (PYTHON, "-m", "strobe")
_SEEN = 2000  # characters of what a command that failed has said
_LEAVES_S = 20  # what is asked to end is given so long: a run saves a checkpoint
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of `ru_maxrss`


class SubjectError(RunError):
    """Something that was to be measured failed."""


@dataclass(frozen=True)
class Done:
    """What a command took.

    Attributes:
        began: By `time.monotonic`, which all processes share.
        seconds: To the end of its process.
        cpu_s: That cores worked for it and for processes it waited for.
        peak_mb: Resident memory, of the largest of these processes.
        output: All that it printed.
        quiet_s: From the last that it printed to the end of its process.
    """

    began: float
    seconds: float
    cpu_s: float
    peak_mb: float
    output: str
    quiet_s: float


def surroundings(beside: Path | None = None, *, gpus: bool = False) -> dict[str, str]:
    """Variables for commands that run elsewhere: they import what this process does, and no GPU helps one of them.

    Their modules are compiled once, in the warm-up, even where Python is asked not to keep what it has compiled: to
    compile them again each time is no part of what anybody waits for elsewhere.

    Args:
        beside: Another checkout of this framework, to run its commands.
        gpus: Whether GPUs may be used, since all that are compared do.
    """
    package = Path(__file__).resolve().parents[2]
    first = [package] if beside is None else [beside.resolve() / "src", beside.resolve()]
    inherited = [Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    kept = [place for place in inherited if beside is None and place not in first]
    # Without a GPU the variable stays as it is: to set it saves Lightning a look at each step.
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if visible_gpus() and not gpus else {}
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "PYTHONPATH": os.pathsep.join(map(str, [*first, *kept])), **hidden}


def run(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    *,
    code: int = 0,
    shown: bool = False,
) -> Done:
    """Run a command to its end.

    Args:
        command: Its words.
        cwd: Where.
        environment: Variables; None for those of `surroundings`.
        code: The exit code that it has to have.
        shown: Whether its output goes to a terminal: a program may then print, and hold back, other things than to a
            file. Without, ``quiet_s`` is 0.

    Raises:
        SubjectError: If it ends with another code.
    """
    variables = surroundings() if environment is None else dict(environment)
    if shown:
        ours, theirs = pty.openpty()
    else:
        ours = theirs = os.open(tempfile.mkdtemp(dir=cwd) + "/output", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        began = time.monotonic()
        with subprocess.Popen(
            command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        ) as process:
            try:
                if shown:
                    os.close(theirs)
                    said, last = _read(ours, began)
                _, status, usage = os.wait4(process.pid, 0)  # of this process alone, unlike RUSAGE_CHILDREN
                ended = time.monotonic()
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                end(process)
                raise
        if not shown:
            said, last = os.pread(ours, os.fstat(ours).st_size, 0), ended
    finally:
        os.close(ours)
    output = said.decode(errors="replace")
    if process.returncode != code:
        said_last = output[-_SEEN:].strip()
        raise SubjectError(f"{' '.join(command)}: ended with {process.returncode}, not {code}, after:\n{said_last}")
    peak_mb = usage.ru_maxrss * _PEAK_UNIT / 1e6
    return Done(began, ended - began, usage.ru_utime + usage.ru_stime, peak_mb, output, ended - last)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for what commands write, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="strobe-benchmark-", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


def _read(terminal: int, began: float) -> tuple[bytes, float]:
    """All that is printed, and when the last of it was."""
    said, last = bytearray(), began
    while True:
        select.select([terminal], [], [])
        try:
            more = os.read(terminal, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            more = b""
        if not more:
            return bytes(said), last
        said, last = said + more, time.monotonic()


def end(process: subprocess.Popen[bytes]) -> None:
    """End what is in the way of leaving."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(_LEAVES_S)
    except BaseException:  # too late, or a second Ctrl-C
        process.kill()
        raise
