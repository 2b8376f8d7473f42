"""Columns of text, aligned."""

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from strobe.machine.text import printable

_NEVER_WRAPPED = 100_000  # columns


def aligned(rows: Iterable[Sequence[str]], *, gap: int = 2, indent: int = 0) -> str:
    """Rows of equally many cells as lines whose columns begin at the same place; wide characters count twice.

    Control characters of a cell are shown, not sent to the terminal.

    Args:
        rows: The first may be a header.
        gap: Spaces between columns.
        indent: Spaces before the first.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, gap, 0, 0))
    for cells in rows:
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(
        file=StringIO(),
        width=_NEVER_WRAPPED,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # a notebook would show an empty output for each
    )
    with console.capture() as captured:
        console.print(table)
    return "\n".join(" " * indent + line.rstrip() for line in captured.get().splitlines())
