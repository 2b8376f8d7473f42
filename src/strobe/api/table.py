"""A small table: rows by number, columns by name, and a look of its own in a notebook."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, overload

from strobe.machine.table import aligned
from strobe.machine.text import printable

_SHOWN = 60  # rows of a table that is shown


class Table(Sequence[dict[str, Any]]):
    """Rows of named values.

    A row is a dict: `for row in table`, `table[0]`, `table[-1]`. A column is a list: `table["val/acc"]`.

    Args:
        rows: In their order. What a row lacks is None.
        columns: Their order; None for that in which the rows have them.

    Attributes:
        columns: Names of the columns.

    Example:
        >>> table = strobe.Table([{"epoch": 0, "val/acc": 0.5}, {"epoch": 1, "val/acc": 0.75}])
        >>> table["val/acc"]
        [0.5, 0.75]
        >>> table[-1]
        {'epoch': 1, 'val/acc': 0.75}
        >>> print(table)
        epoch  val/acc
        0      0.5
        1      0.75
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
        given = [{str(name): value for name, value in row.items()} for row in rows]
        self.columns = list(dict.fromkeys(name for row in given for name in row) if columns is None else columns)
        self._rows = [{name: row.get(name) for name in self.columns} for row in given]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(row) for row in self._rows)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: slice) -> "Table": ...

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...  # type: ignore[overload-overlap,unused-ignore]

    def __getitem__(self, key: int | slice | str) -> Any:
        """A row by its number, rows by a slice, or a column by its name.

        Raises:
            IndexError: If there is no such row.
            KeyError: If there is no such column; it says which there are.
        """
        if isinstance(key, str):
            if key not in self.columns:
                raise KeyError(f"no column {key!r}; there are: {', '.join(self.columns)}")
            return [row[key] for row in self._rows]
        if isinstance(key, slice):
            return Table(self._rows[key], self.columns)
        return dict(self._rows[key])

    def to_pandas(self) -> Any:
        """The same as a DataFrame of pandas.

        Raises:
            ModuleNotFoundError: If pandas is not installed.

        Example:
            >>> strobe.Table([{"epoch": 0, "val/acc": 0.5}]).to_pandas().shape  # doctest: +SKIP
            (1, 2)
        """
        import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]  # no dependency: for who has it

        return pandas.DataFrame(self._rows, columns=self.columns)

    def __repr__(self) -> str:
        lines = aligned(
            [self.columns, *([printable(_text(row[name])) for name in self.columns] for row in self._shown)]
        )
        return "\n".join(line.rstrip() for line in [*lines.splitlines(), *self._further])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(row[name]))}</td>" for name in self.columns) + "</tr>"
            for row in self._shown
        )
        further = "".join(f"<p>{escape(line)}</p>" for line in self._further)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{further}"

    @property
    def _shown(self) -> list[dict[str, Any]]:
        return self._rows[:_SHOWN]

    @property
    def _further(self) -> list[str]:
        more = len(self._rows) - _SHOWN
        return [f"... and {more} more rows"] if more > 0 else []


def _text(value: Any) -> str:
    """A value as it is shown; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
