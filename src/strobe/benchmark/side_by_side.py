"""Commands run several at a time, as a shell would do it."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from strobe.benchmark.child import SubjectError, end

_LOOKS_S = 0.01


def side_by_side(commands: Sequence[Sequence[str]], slots: int, cwd: Path, environment: Mapping[str, str]) -> float:
    """Seconds that commands take together, so many of them at a time.

    Raises:
        SubjectError: If one fails.
    """
    waiting, running = list(commands), list[subprocess.Popen[bytes]]()
    began = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                null = subprocess.DEVNULL
                running.append(
                    subprocess.Popen(waiting.pop(), cwd=cwd, env=environment, stdin=null, stdout=null, stderr=null)
                )
            for process in [process for process in running if process.poll() is not None]:
                running.remove(process)
                if process.returncode:
                    raise SubjectError(f"{process.args!r}: ended with {process.returncode}")
            time.sleep(_LOOKS_S)
        return time.monotonic() - began
    finally:
        for process in running:
            end(process)
