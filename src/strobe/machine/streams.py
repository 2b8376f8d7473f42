"""Standard output and standard error that can always be written to, whatever they are connected to."""

import errno
import io
import os
import select
import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

from strobe.machine import transient
from strobe.machine.secrets import redacted

_ENDLESS = 10_000  # columns
_READER_IS_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)  # of a pipe, of a terminal that was closed


def settle_streams(*, anew: bool = False) -> None:
    """Have whatever this process prints from now on do no harm: a run must not fail because nobody reads it.

    What can't be written is dropped: where the reader has gone away in silence, else after one line about it. A stream
    that was closed from the start is nothing that is written to; else the next file that is opened would be it.
    Characters that the encoding lacks become escapes, secrets are masked.

    Args:
        anew: Whether to replace also streams that something else has put in their place, such as a notebook.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    if anew or (sys.stdout is sys.__stdout__ and not isinstance(sys.stdout, _Stream)):
        sys.stdout = _settled(sys.stdout, 1)
    if anew or (sys.stderr is sys.__stderr__ and not isinstance(sys.stderr, _Stream)):
        sys.stderr = _settled(sys.stderr, 2)


def redirect_output(path: Path) -> None:
    """Send what this process and its children print from now on, C libraries included, to the end of a file."""
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def answer(text: str) -> int:
    """Print what a command was asked for; its exit code: 1 where standard output could not take it."""
    print(text, flush=True)
    return int(isinstance(sys.stdout, _Stream) and sys.stdout.descriptor.failed)


def answer_columns() -> int:
    """How long the lines of an answer may be: as the terminal is wide; without end in a file or through a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _ENDLESS


class _Descriptor(io.FileIO):
    """What bytes go to. Never raises.

    Attributes:
        failed: Whether something was lost that someone waits for.
    """

    failed = False
    _lost = False

    def write(self, data: Any) -> int:
        """Write, or drop."""
        while not self._lost:
            try:
                if (written := super().write(data)) is not None:
                    return written
                select.select([], [self], [])  # the other end has made it one that does not wait
            except OSError as error:
                self._lost = True
                if error.errno not in _READER_IS_GONE:
                    self.failed = True
                    if self.fileno() != 2:
                        print(f"can't write to the standard output: {error.strerror}", file=sys.stderr, flush=True)
        return len(data)


class _Stream(io.TextIOWrapper):
    """A standard stream of this program."""

    def __init__(self, number: int, encoding: str) -> None:
        self.descriptor = _Descriptor(number, "w", closefd=False)
        buffer = io.BufferedWriter(self.descriptor)
        super().__init__(buffer, encoding=encoding, errors="backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        """Write what may be seen, in the place of what stands in the terminal's line for the moment."""
        transient.erase()
        super().write(redacted(text))
        return len(text)


def _settled(before: TextIO | None, number: int) -> _Stream:
    if before is not None:
        before.flush()
    return _Stream(number, getattr(before, "encoding", None) or "utf-8")
