"""When this program began, taken down by its first import."""

import os
import time

PID = os.getpid()
CPU_S = time.process_time()  # that Python took to come this far


def clock_s() -> float:
    """Seconds of a clock that only goes forward, and goes on while the machine sleeps where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


IMPORTED_AT_S = clock_s()
