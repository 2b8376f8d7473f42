"""What a table is, once it has been read: columns of numbers or of texts, and which row of the file a value is from."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from strobe.errors import DatasetError

Mode = Literal["auto", "number", "text"]
"""How to read a column: ``auto`` is ``number`` where most of the first values are numbers."""

LARGEST = float(np.finfo(np.float32).max)
"""Nets are given float32; what is larger would be infinite."""

MISSING = frozenset(("", "NA", "N/A", "#N/A", "NaN", "nan", "-nan", "null", "NULL"))
"""Cells that say that there is no value."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_WITH_COMMAS = re.compile(r"[+-]?\d[\d.]*(,\d+)+(\.\d+)?", re.ASCII)
_SHOWN = 40  # characters of a cell in a message


@dataclass(frozen=True)
class Texts:
    """A column of texts.

    Attributes:
        codes: ``(N,)`` int64, positions in ``levels``.
        levels: The different texts, in the order in which they were met.
    """

    codes: np.ndarray
    levels: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)


Column = np.ndarray | Texts
"""``(N,)`` float64, finite and within float32's range, or `Texts`; none holds a missing value."""


@dataclass(frozen=True)
class Table:
    """The columns that were asked for.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        rows: How many there are, without the header.
        columns: By name.
        first_row: What a person counts the first of them as; 2 below a header.
        blanks: Numbers of rows before which there is one more blank line, in order.
    """

    path: Path
    sha256: str
    rows: int
    columns: Mapping[str, Column]
    first_row: int
    blanks: Sequence[int] = ()

    def row(self, index: int) -> int:
        """What a person who looks at the file counts row ``index`` as."""
        return self.first_row + int(index) + bisect_right(self.blanks, int(index))

    def without_columns(self) -> "Table":
        """The same, but for the columns, which take memory."""
        return replace(self, columns={})

    def refusal(self, index: int, column: str, problem: str) -> DatasetError:
        """An error that names a cell."""
        return cell_error(self.path, self.row(index), column, problem)


def cell_error(path: Path, row: int, column: str, problem: str) -> DatasetError:
    """An error that names a cell by its row, as a person counts, and its column."""
    return DatasetError(f"{path}, row {row}, column {column!r}: {problem}")


def shown(text: str) -> str:
    """A text of the file as messages show it: in quotes, harmless, and not too long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def is_number(text: str) -> bool:
    """Whether a cell is a number, finite or not."""
    return _NUMBER.fullmatch(text) is not None


def meant_as_number(text: str) -> bool:
    """Whether whoever wrote a cell meant a number: also infinity, and one with commas."""
    return any(pattern.fullmatch(text) for pattern in (_NUMBER, _INFINITE, _WITH_COMMAS))


def number_problem(text: str, column: str) -> str | None:
    """Why a cell can't be used as a number; None if it can."""
    if text in MISSING:
        return missing_problem(text, column)
    if _INFINITE.fullmatch(text) or (is_number(text) and abs(float(text)) > LARGEST):
        return f"{shown(text)} is infinite, or as good as (float32 ends at 3.4e38): mend or remove the row"
    if is_number(text):
        return None
    if _WITH_COMMAS.fullmatch(text):
        return f"{shown(text)} has a comma: write numbers with a decimal point, and nothing between thousands"
    return (
        f"{shown(text)} is no number, and the column is one of numbers: mend the cell, leave the column out with "
        f"data.drop=[{column}], or have it read as text with data.categorical=[{column}] (a target: data.kind=classes)"
    )


def missing_problem(text: str, column: str) -> str:
    """What to do about a cell without a value."""
    what = f"{shown(text)} says that the value is missing" if text else "the cell is empty"
    return f"{what}: fill it in, remove the row, or leave the column out with data.drop=[{column}]"
