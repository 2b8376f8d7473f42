"""The last line of a terminal, while it is only for now: a progress bar, or what is being done.

Whatever else is written through this program's streams takes its place; see `strobe.machine.streams`. Where standard
error is no terminal, nothing is shown: a log file keeps what is of use later.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from strobe.machine.rank import process_rank
from strobe.machine.text import printable

_AFTER_S = 1.0  # what takes less is not worth a word
_EVERY_S = 0.5


class _Line:
    """What stands there now; there is one terminal, so there is one of these."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._standing = 0  # characters
        self._writing = False
        self._turn = 0

    def take(self) -> int:
        """Let nobody else show anything any more; the number of one's own turn."""
        with self._lock:
            self._turn += 1
            return self._turn

    def show(self, text: str, turn: int | None = None) -> None:
        """Put a text in the place of what stands there, unless it was another's turn since.

        Args:
            text: What is cut where the terminal ends.
            turn: From `take`; None for who comes now.
        """
        with self._lock:
            if turn is None:
                turn = self.take()
            if turn != self._turn:
                return
            text = printable(text)[: columns() - 1]  # in the last column some terminals begin a new line
            self._write(f"\r{text.ljust(self._standing)}")
            self._standing = len(text)

    def erase(self) -> None:
        """Leave the line empty, for what is to stay."""
        if not self._standing or self._writing:  # without the lock: every line that is printed comes by here
            return
        with self._lock:
            self._write(f"\r{' ' * self._standing}\r")
            self._standing = 0

    def _write(self, text: str) -> None:
        self._writing = True
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        finally:
            self._writing = False


_LINE = _Line()
if hasattr(os, "register_at_fork"):
    # A process forked while another thread writes would wait for that thread's lock for ever.
    os.register_at_fork(after_in_child=_LINE.__init__)  # type: ignore[misc]
show, erase = _LINE.show, _LINE.erase


def columns() -> int:
    """Width of the terminal."""
    return shutil.get_terminal_size((120, 24)).columns


def clock(seconds: float) -> str:
    """A duration as a person reads it: minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def on_terminal() -> bool:
    """Whether there is a person to show something to, on a terminal that can go back in its line."""
    seen = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return seen and process_rank() == 0


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what is being done for as long as the block lasts, once that has taken a second; no more once others do.

    Args:
        what: In a few words, as in ``importing torch``.
    """
    if not on_terminal():
        yield
        return
    done = threading.Event()
    began, turn = time.monotonic(), _LINE.take()

    def tell() -> None:
        wait_s = _AFTER_S
        while not done.wait(wait_s):
            show(f"{what} ... {time.monotonic() - began:.0f} s", turn)
            wait_s = _EVERY_S

    teller = threading.Thread(target=tell, name="doing", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        erase()
