"""CSV files: fast where all is well, and where it is not, the row and the column are named."""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from strobe.data.table_column import (
    LARGEST,
    MISSING,
    Column,
    Mode,
    Table,
    Texts,
    cell_error,
    is_number,
    meant_as_number,
    missing_problem,
    number_problem,
    shown,
)
from strobe.errors import DatasetError

_DELIMITERS = (",", ";", "\t")
_FIRST_CELLS = 40_000  # what they hold tells which columns are numbers
_CELLS = 1_000_000  # read at once
_FEWEST_LINES = 100  # that is many, however wide they are


def csv_names(path: Path, file: io.BufferedReader) -> list[str]:
    """The names of the columns, from the header.

    Raises:
        DatasetError: If there is none, or it doesn't name every column by a name of its own.
    """
    return _Reader(path, file).names


def read_csv(path: Path, file: io.BufferedReader, sha256: str, modes: Mapping[str, Mode]) -> Table:
    """Read the columns that ``modes`` names; spaces around a cell are not part of it.

    Raises:
        DatasetError: If a row has too few or too many cells, or a cell in one of these columns is missing, or no finite
            number in a column of numbers.
    """
    reader = _Reader(path, file)
    columns = reader.columns(modes)
    return Table(path, sha256, reader.rows, columns, reader.first_row, tuple(reader.blanks))


class _Growing:
    """A column while it is read."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.levels: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add_numbers(self, values: np.ndarray) -> None:
        self._parts.append(np.ascontiguousarray(values, dtype=np.float64))

    def add_texts(self, cells: Sequence[str]) -> None:
        levels = self.levels
        codes = (levels.setdefault(cell.strip(), len(levels)) for cell in cells)
        self._parts.append(np.fromiter(codes, dtype=np.int64, count=len(cells)))

    def whole(self) -> Column:
        """All parts as one; they are not kept."""
        joined = np.concatenate(self._parts)
        self._parts.clear()
        return Texts(joined, tuple(self.levels)) if self.mode == "text" else joined


class _Reader:
    """Reads a file from its header on.

    Attributes:
        names: Of the columns.
        first_row: The row after the header, as a person counts: the header is row 1, unless lines before it are blank.
        rows: How many have been read.
        blanks: How many of them had been read at each blank line.
    """

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path = path
        self.rows = 0
        self.blanks: list[int] = []
        self._file = file
        self._lines: Iterator[str] = self._decoded(io.TextIOWrapper(file, encoding="utf-8-sig"))
        blank, first = 0, next(self._lines, None)
        while first is not None and not first.strip():
            blank, first = blank + 1, next(self._lines, None)
        if first is None:
            raise DatasetError(f"{path} is empty: it needs a header that names the columns, and rows")
        self.first_row = blank + 2
        self._delimiter = max(_DELIMITERS, key=lambda delimiter: len(next(self._records([first], delimiter))))
        header = next(self._records(chain([first], self._lines), self._delimiter, strict=True))
        self.names = [name.strip() for name in header]
        self._require_names()

    def columns(self, modes: Mapping[str, Mode]) -> dict[str, Column]:
        """The columns that ``modes`` names, down to the end of the file."""
        growing = {place: _Growing(modes[name]) for place, name in enumerate(self.names) if name in modes}
        cells = _FIRST_CELLS
        while lines := list(islice(self._lines, max(_FEWEST_LINES, cells // len(self.names)))):
            undecided = any(column.mode == "auto" for column in growing.values())
            if undecided or not self._read_fast(lines, growing):
                self._read_slowly(lines, growing)
            cells = _CELLS
        if not self.rows:
            raise DatasetError(f"{self.path} has no rows, only a header")
        return {self.names[place]: column.whole() for place, column in growing.items()}

    def _read_fast(self, lines: Sequence[str], growing: Mapping[int, _Growing]) -> bool:
        """Whether all lines could be read by numpy's parser; if not, none was."""
        if any('"' in line for line in lines) or all(line.isspace() for line in lines):
            return False
        kinds = {place: np.float64 if column.mode == "number" else object for place, column in growing.items()}
        dtype = [(f"f{place}", kinds.get(place, "U1")) for place in range(len(self.names))]  # U1: one letter is kept
        try:
            table = np.loadtxt(lines, dtype=dtype, delimiter=self._delimiter, comments=None, ndmin=1)
        except ValueError:
            return False
        numbers = [place for place, column in growing.items() if column.mode == "number"]
        if len(table) != len(lines) or not all(_usable(table[f"f{place}"]) for place in numbers):
            return False
        for place, column in growing.items():
            if column.mode == "number":
                column.add_numbers(table[f"f{place}"])
            else:
                self._add_texts(place, column, table[f"f{place}"].tolist())
        self.rows += len(lines)
        return True

    def _read_slowly(self, lines: Sequence[str], growing: Mapping[int, _Growing]) -> None:
        """Row by row; reads on where the last line ends within quotes."""
        records = list(self._whole_records(lines))
        cells = list(zip(*records, strict=True))
        for place, column in growing.items() if records else ():
            texts = [cell.strip() for cell in cells[place]]
            if column.mode == "auto":
                given = [text for text in texts if text not in MISSING]
                column.mode = "number" if 2 * sum(map(meant_as_number, given)) >= len(given) else "text"
            if column.mode == "text":
                self._add_texts(place, column, texts)
            else:
                column.add_numbers(self._numbers(place, texts))
        self.rows += len(records)

    def _numbers(self, place: int, texts: Sequence[str]) -> np.ndarray:
        joined = "".join(texts)
        if joined.isascii() and "_" not in joined:  # Python reads 1_000 as a number, and the digits of all scripts
            try:
                values = np.array(texts, dtype=np.float64)
            except ValueError:
                pass
            else:
                if _usable(values):
                    return values
        index, problem = next(
            (index, problem) for index, text in enumerate(texts) if (problem := number_problem(text, self.names[place]))
        )
        raise self._cell_error(place, index, problem)

    def _add_texts(self, place: int, column: _Growing, texts: Sequence[str]) -> None:
        column.add_texts(texts)
        if not MISSING.isdisjoint(column.levels):
            index, text = next((index, text.strip()) for index, text in enumerate(texts) if text.strip() in MISSING)
            raise self._cell_error(place, index, missing_problem(text, self.names[place]))

    def _cell_error(self, place: int, index: int, problem: str) -> DatasetError:
        """Of the cell in row ``index`` of those that are being read."""
        row = self.rows + index
        return cell_error(self.path, self.first_row + row + bisect_right(self.blanks, row), self.names[place], problem)

    def _whole_records(self, lines: Sequence[str]) -> Iterator[list[str]]:
        """The rows that begin in ``lines``."""
        reader = csv.reader(chain(lines, self._lines), delimiter=self._delimiter, skipinitialspace=True, strict=True)
        done = 0
        while reader.line_num < len(lines):
            row = self.first_row + self.rows + done + len(self.blanks)
            try:
                record = next(reader)
            except csv.Error as error:
                raise DatasetError(f"{self.path}, row {row}: {_explained(error)}") from None
            if not record or (len(record) == 1 < len(self.names) and not record[0].strip()):
                self.blanks.append(self.rows + done)
                continue
            if len(record) != len(self.names):
                raise DatasetError(
                    f"{self.path}, row {row}: it has {len(record)} cells, the header names {len(self.names)} columns"
                )
            done += 1
            yield record

    def _records(self, lines: Iterable[str], delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
        try:
            yield from csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
        except csv.Error as error:
            raise DatasetError(f"{self.path}, row {self.first_row - 1}: {_explained(error)}") from None

    def _decoded(self, text: io.TextIOWrapper) -> Iterator[str]:
        try:
            yield from text
        except UnicodeDecodeError:
            text.detach()
            self._file.seek(0)
            for row, line in enumerate(self._file, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DatasetError(
                        f"{self.path}, row {row}: byte 0x{line[error.start]:02x} is no UTF-8: save the file as UTF-8"
                    ) from None
            raise

    def _require_names(self) -> None:
        """Refuse a header that doesn't name every column by a name of its own."""
        where = f"{self.path}, row {self.first_row - 1}"
        seen = set()
        for place, name in enumerate(self.names, 1):
            if not name:
                raise DatasetError(
                    f"{where}: column {place} has no name: give it one (pandas leaves one out unless told index=False)"
                )
            if name in seen:
                raise DatasetError(f"{where}: two columns have the name {shown(name)}: give each its own")
            seen.add(name)
        if all(is_number(name) for name in self.names):
            raise DatasetError(f"{where}: it holds numbers alone; the first row has to name the columns")


def _usable(values: np.ndarray) -> bool:
    """Whether all are finite, as float32 too."""
    return bool((np.abs(values) <= LARGEST).all())


def _explained(error: csv.Error) -> str:
    """What to do about a row that is no CSV."""
    text = str(error)
    if "field limit" in text or "end of data" in text:
        return "a quotation mark is opened and not closed again, or a cell is far too long"
    return f"it is no CSV: {text}"
