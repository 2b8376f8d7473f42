"""How the threads of a computation wait for each other, settled before torch is imported."""

import os
import sys

SPINS = 1_000
"""How often a thread looks again before it sleeps: tens of microseconds, longer than a gap within a step.

Left alone, libgomp looks 300,000 times, many milliseconds. Where another program has taken a core, the thread that
waits keeps the one that it waits for from running, and a step takes ten times as long.
"""

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def settle_waiting() -> None:
    """Have threads that wait go to sleep soon, unless the environment says how they are to wait.

    Which thread computes what stays as it is, and so does every number. OpenMP looks at the variable once, when torch
    loads it.
    """
    if sys.platform == "linux" and "torch" not in sys.modules and waiting() is None:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def waiting() -> str | None:
    """What the environment says of it, as one would type it; None where that is left to OpenMP."""
    return next((f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)), None)
