"""`metrics.csv`, a row per epoch: written by adding to its end, and read with care, by whoever, at any moment."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from strobe.record.files import named_errors, read_bounded, regular_file, write_atomically
from strobe.record.layout import EPOCHS

_LIMIT = 64_000_000  # bytes of a table
_EPOCH = re.compile("[0-9]{1,6}")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_TAIL = 65_536  # bytes; more than the newest row and the one before it take


class EpochTable:
    """The table of a run in progress. Every row is on disk when `add` returns; after an error none of it is.

    A row is added to the end of the file: to write it anew with each epoch would take ever longer. So a process that is
    killed may leave half a row, which has no end of line: readers pass over it, and the first row that a resumed run
    adds replaces the file. The same is done, at once and whole, where a row has new columns, or the file is not as it
    was left.

    Args:
        directory: The run directory.
        rows: Of a run that is continued, from `read_epochs`.
    """

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self._path = directory / EPOCHS
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._epochs = [int(row["epoch"]) for row in rows]
        self._lines = [_line(row.get(name) for name in self._columns) for row in rows]  # as text: there may be many
        self._size: int | None = None  # bytes of the file, once this process has written it

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; those from this epoch on are replaced.

        Raises:
            OSError: If it can't be written.
        """
        is_next = not self._epochs or self._epochs[-1] < row["epoch"]
        while self._epochs and self._epochs[-1] >= row["epoch"]:
            self._epochs.pop()
            self._lines.pop()
        if new := [name for name in row if name not in self._columns]:
            self._columns += new
            self._lines = [f"{line[:-1]}{',' * len(new)}\n" for line in self._lines]
        self._epochs.append(row["epoch"])
        self._lines.append(_line(row.get(name) for name in self._columns))
        if new or not is_next or not self._is_as_left():
            self._write_anew()
        else:
            self._append(self._lines[-1].encode())

    def _is_as_left(self) -> bool:
        """Whether the file is the one that this process has written, and nobody has changed its length since."""
        with suppress(OSError), regular_file(self._path, os.O_RDONLY | _NO_LINK) as file:
            return os.fstat(file).st_size == self._size
        return False

    def _write_anew(self) -> None:
        self._size = None  # until it is written
        text = "".join([_line(self._columns), *self._lines])
        write_atomically(self._path, text)
        self._size = len(text.encode())

    def _append(self, line: bytes) -> None:
        left, self._size = self._size, None
        assert left is not None, "it is as it was left"
        with regular_file(self._path, os.O_WRONLY | os.O_APPEND | _NO_LINK) as file:
            try:
                with named_errors(self._path):
                    _write(file, line)
                    os.fsync(file)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(file, left)
                raise
        self._size = left + len(line)


def read_epochs(directory: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv` by epoch, numbers as written; odd rows are left out, and so is a file that is no text.

    Every cell is a number or empty, ``epoch`` is a whole number, and no epoch has two rows. A last line without an end
    is being written, or its process was killed: it is left out, for its numbers may lack digits.
    """
    try:
        text = _whole_lines(read_bounded(directory / EPOCHS, _LIMIT))
    except (OSError, ValueError):
        return []
    rows: dict[int, dict[str, str]] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return [rows[epoch] for epoch in sorted(rows)]
        except csv.Error:  # a cell without an end
            continue
        if (
            None not in row
            and all(_is_cell(value) for value in row.values())
            and _EPOCH.fullmatch(row.get("epoch", ""))
        ):
            rows[int(row["epoch"])] = row


def read_numbers(directory: Path) -> list[dict[str, int | float | None]]:
    """The same with the numbers themselves; what is empty is None."""
    return [
        {name: _as_number(name, cell) if cell else None for name, cell in row.items()} for row in read_epochs(directory)
    ]


def newest_row(path: Path) -> dict[str, str]:
    """The last whole row of a table that is being written, whatever it holds, however long it is; empty without one.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it is no text.
    """
    with regular_file(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
        header = file.readline(_TAIL)
        file.seek(max(file.tell(), os.fstat(descriptor).st_size - _TAIL))
        tail = file.read(2 * _TAIL)
    *lines, _ = tail.split(b"\n")  # what has no end is being written
    return next(csv.DictReader([header.decode(), lines[-1].decode()]), {}) if lines else {}


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(list(cells))
    return text.getvalue()


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _whole_lines(content: bytes) -> str:
    return content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")


def _as_number(name: str, cell: str) -> int | float:
    return int(cell) if name in ("epoch", "step") and cell.isdigit() else float(cell)


def _is_cell(value: str | None) -> bool:
    if value is None or len(value) > 100:
        return False
    try:
        float(value or 0)
    except ValueError:
        return False
    return True
