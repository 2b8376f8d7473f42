"""Signals that a terminal sends to all of its processes, of which one decides for the others."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def hangup_signals() -> tuple[int, ...]:
    """What is sent when a terminal is closed; none where it is ignored, as under `nohup`, and on Windows."""
    number = getattr(signal, "SIGHUP", None)
    return () if number is None or signal.getsignal(number) == signal.SIG_IGN else (number,)


@contextmanager
def ignored(*numbers: int) -> Iterator[None]:
    """Have processes that are started in the block ignore signals; only the main thread can.

    A process inherits this from its first instruction on, long before it could ask for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
