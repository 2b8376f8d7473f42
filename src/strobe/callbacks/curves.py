"""Curves of a run's epochs: its loss and the metric that it is judged by, in training and in validation."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLORS = {"train": "tab:blue", "val": "tab:orange"}


def curves(rows: Sequence[Mapping[str, Any]], monitor: str | None) -> Figure:
    """A picture of the epochs, drawn without pyplot: no figure stays behind.

    Args:
        rows: Of `metrics.csv`.
        monitor: Name of the metric that tells good epochs from bad ones.
    """
    stems = dict.fromkeys(["loss", (monitor or "val/acc").rpartition("/")[2]])
    last = max((row["epoch"] + 1 for row in rows), default=1)
    names = {stem: _names(rows, stem) for stem in stems}
    drawn = {stem: found for stem, found in names.items() if found}
    figure = Figure(figsize=(4.5 * max(1, len(drawn)), 3), layout="constrained")
    for index, (stem, found) in enumerate(drawn.items()):
        axes = figure.add_subplot(1, len(drawn), index + 1)
        for name, label in found.items():
            _draw(axes, rows, name, label)
        axes.set(xlabel="epoch", title=stem)
        axes.set_xlim(0.5, max(2, last) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure


def png(figure: Figure) -> bytes:
    """A figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _names(rows: Sequence[Mapping[str, Any]], stem: str) -> dict[str, str]:
    """The columns of a metric, each with the split that it is of."""
    columns = dict.fromkeys(name for row in rows for name in row)
    written = {f"{split}{sign}{stem}": split for split in ("train", "val") for sign in ("/", "_")}
    found = {name: label for name, label in written.items() if name in columns}
    return found or ({stem: stem} if stem in columns else {})


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, label: str) -> None:
    points = [(row["epoch"] + 1, row[name]) for row in rows if isinstance(row.get(name), int | float)]
    axes.plot(*zip(*points, strict=True), marker=".", label=label, color=_COLORS.get(label)) if points else None
