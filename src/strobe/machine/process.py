"""How old this process is, and whether another one still runs."""

import time

import psutil

_CLOCK_SLACK_S = 1.0  # a process's start is known to a hundredth of a second, a report's time is taken later


def process_age_s() -> float:
    """Seconds since this process began."""
    began = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux tells the time of its start in whole seconds; this is exact
        return time.clock_gettime(time.CLOCK_BOOTTIME) - (began - psutil.boot_time())
    return time.time() - began


def is_running(pid: int, seen_at: float) -> bool:
    """Whether the process that had a number at a time still runs, and is not another one with its number.

    Args:
        pid: Its number.
        seen_at: When it was known to run, in seconds since the epoch.
    """
    try:
        process = psutil.Process(pid)
        # A zombie has ended, and is not yet collected by its parent.
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= seen_at + _CLOCK_SLACK_S
    except psutil.AccessDenied:  # it is someone else's
        return True
    except (psutil.Error, ValueError, OverflowError):  # gone, or no number that a process can have
        return False
