"""How the threads of a computation wait for each other, settled before torch is imported."""

import os
import sys
import time
from functools import cache

import psutil

SPINS = 1_000
"""How often a thread looks again before it sleeps, where a neighbour keeps a core busy: tens of microseconds.

Left alone, libgomp looks 300,000 times, many milliseconds. Where another program has taken a core, the thread that
waits can keep the one that it waits for from running, and a step takes ten times as long. Where the cores are free,
nothing is faster: a small net's next piece of work comes sooner than a thread is awake again.
"""

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_BUSY = 0.5  # cores that others use: less than that is what a machine does by the way
_SHORTEST_S = 0.1  # the system counts in hundredths of a second


class Neighbours:
    """What others use of the cores that this process may use, from now on.

    Args:
        besides: A process that is none of them; None for this one alone.
    """

    def __init__(self, besides: int | None = None) -> None:
        self._besides = besides
        self._since, self._used = time.monotonic(), _used_by_others_s(besides)

    def cores(self) -> float:
        """How many they have kept busy; 0 where too little time has passed to tell, or the system does not say."""
        passed = time.monotonic() - self._since
        used = _used_by_others_s(self._besides)
        if passed < _SHORTEST_S or used is None or self._used is None:
            return 0.0
        return max(0.0, used - self._used) / passed


@cache
def neighbours() -> Neighbours:
    """Of this process, since they were first asked for: a command looks at them while it composes its config."""
    return Neighbours()


def settle_waiting(busy_cores: float) -> None:
    """Have threads that wait go to sleep soon if others need cores, unless the environment says how they are to wait.

    Which thread computes what stays as it is, and so does every number. OpenMP looks at the variable once, when torch
    loads it.

    Args:
        busy_cores: How many cores others keep busy.
    """
    if sys.platform == "linux" and "torch" not in sys.modules and waiting() is None and busy_cores > _BUSY:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def waiting() -> str | None:
    """What the environment says of it, as one would type it; None where that is left to OpenMP."""
    return next((f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)), None)


def _used_by_others_s(besides: int | None) -> float | None:
    """Seconds for which the cores have worked for others, or were kept from this machine; None where nobody counts."""
    try:
        theirs = 0.0 if besides is None else sum(psutil.Process(besides).cpu_times()[:2])
        allowed = psutil.Process().cpu_affinity()
        cores = psutil.cpu_times(percpu=True)
        times = [cores[number] for number in allowed]
    except (AttributeError, IndexError, OSError, psutil.Error):
        return None
    free = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is in the user's already
    used = sum(sum(core) - sum(getattr(core, name, 0.0) for name in free) for core in times)
    return used - theirs - time.process_time()
