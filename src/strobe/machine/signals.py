"""Signals: those that a terminal sends to all of its processes, and those that one process looks at when it can."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self


def hangup_signals() -> tuple[int, ...]:
    """What is sent when a terminal is closed; none where it is ignored, as under `nohup`, and on Windows."""
    number = getattr(signal, "SIGHUP", None)
    return () if number is None or signal.getsignal(number) == signal.SIG_IGN else (number,)


def send(pid: int, number: int) -> None:
    """Send a process a signal, unless it is gone: the server that has forked it knows that before anyone is told."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(pid: int | None) -> None:
    """End every process of a group at once, if there is any: ranks or workers that a job left behind."""
    if pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


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


class SignaledError(BaseException):
    """A signal reached the process in a block of `Signals.raised`."""


class Signals:
    """Takes down the signals that reach a process, which looks at them between its steps: none is left half done.

    Attributes:
        first: The number of the first one.
        count: How many there were.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.count = 0
        self._raises = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM, *hangup_signals())
        self._before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Within the block, a signal is raised as a `SignaledError`."""
        self._raises = True
        try:
            if self.first is not None:
                raise SignaledError
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.first = self.first or number
        self.count += 1
        if self._raises:
            self._raises = False
            raise SignaledError
