"""How old this process is, and whether another one still runs."""

import os
import time

import psutil

from strobe.machine import began

_CLOCK_SLACK_S = 1.0  # a process's start is known to a hundredth of a second, a report's time is taken later

_START_SLACK_S = 2.0  # that Python may wait for a disk before its first import


def process_age_s() -> float:
    """Seconds since this program began in this process.

    A shell that has done other things before it became Python (``bash -c "...; exec python ..."``) leaves its own
    beginning to it. So that is believed only where Python can have taken that long to its first import: its CPU time,
    and a second or two of waiting for a disk.
    """
    created = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux tells the time of its start in whole seconds; this is exact
        created -= psutil.boot_time()
    now = began.clock_s()
    if os.getpid() != began.PID:  # a fork, whose beginning is where it was made
        return now - created
    before = began.IMPORTED_AT_S - created
    return now - began.IMPORTED_AT_S + (before if 0 <= before <= began.CPU_S + _START_SLACK_S else began.CPU_S)


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
