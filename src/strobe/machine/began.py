"""When this program began, taken down by its first import."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

PID = os.getpid()
CPU_S = time.process_time()  # that Python took to come this far


def clock_s() -> float:
    """Seconds of a clock that only goes forward, and goes on while the machine sleeps where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


IMPORTED_AT_S = clock_s()


@contextmanager
def just_now() -> Iterator[None]:
    """Within the block this process counts as begun when the block was: one run of many is timed alone."""
    global PID, CPU_S, IMPORTED_AT_S
    before = PID, CPU_S, IMPORTED_AT_S
    PID, CPU_S, IMPORTED_AT_S = os.getpid(), 0.0, clock_s()
    try:
        yield
    finally:
        PID, CPU_S, IMPORTED_AT_S = before
