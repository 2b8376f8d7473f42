"""What every picture of a comparison is made of: a canvas, labels that matplotlib takes, and the PNG at the end."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strobe.machine.text import printable

WIDTH, HEIGHT = 5.0, 3.2
"""Of a picture, in inches: small, so that its letters can still be read on a page of 390 pixels."""

_DOTS = 160  # per inch
_SMALL, _SMALLEST = 10, 8  # points; shown 390 pixels wide, a point is a pixel
_NAME = 22  # characters from which on a name beside an axis takes more room than it is worth
_LEGEND_ROW = 0.21  # inches
_LEGEND_WIDTH = 56  # characters, of all columns together
_LEGEND_LINE = 6  # of them for the line beside a label
_LARGEST = 1e60  # a number on an axis
_ENOUGH = 10  # values from which on some can be called outliers


def canvas(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure in inches that finds room for its labels, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def legend(figure: Figure, *, columns: int = 1) -> None:
    """A legend below the axes, where it hides nothing; the picture grows by it."""
    handles, labels = [], []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.append(handle)
            labels.append(textwrap.fill(label, _LEGEND_WIDTH // columns - _LEGEND_LINE))
    if handles:
        height = -(-len(labels) // columns)  # matplotlib fills one column after the other
        parts = [labels[start : start + height] for start in range(0, len(labels), height)]
        lines = max(sum(label.count("\n") + 1 for label in part) for part in parts)
        figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * lines)
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=_SMALL, frameon=False)


def points(names: Sequence[str]) -> int:
    """The size of the letters of names beside an axis: long ones are written small."""
    return _SMALL if max(map(len, names), default=0) <= _NAME else _SMALLEST


def png(figure: Figure, **how: Any) -> bytes:
    """The picture as a file.

    Args:
        figure: What is drawn.
        how: Arguments of matplotlib's ``savefig``.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # then it is a box
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # labels larger than the picture
        figure.savefig(buffer, **{"dpi": _DOTS, **how})
    return buffer.getvalue()


def short(text: str, limit: int = 48) -> str:
    """A label as matplotlib takes it, no longer than ``limit`` characters."""
    text = printable(text)
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return cut.replace("$", r"\$")  # to matplotlib, a pair of $ encloses a formula


def numbers(texts: Sequence[str]) -> list[float] | None:
    """The texts as numbers; None where one is none, or has no place on an axis."""
    try:
        found = [float(text) for text in texts]
    except ValueError:
        return None
    return found if all(abs(number) < _LARGEST for number in found) else None


def drawable(value: float) -> bool:
    """Whether a number has a place on an axis."""
    return abs(value) < _LARGEST


def limits(values: Sequence[float]) -> tuple[float, float]:
    """The range in which values are told apart: a few that lie far outside the others don't squeeze those together.

    Source: Tukey, Exploratory Data Analysis, 1977 (fences), with the tenths in place of the quarters.
    """
    low, high = min(values), max(values)
    if len(values) >= _ENOUGH:
        first, last = (float(quantile) for quantile in np.quantile(values, (0.1, 0.9)))
        if last > first:
            low, high = max(low, first - 1.5 * (last - first)), min(high, last + 1.5 * (last - first))
    return low, high


def spans_decades(values: Sequence[float]) -> bool:
    """Whether numbers are told apart by their size: all above zero, and spread more evenly on a logarithmic axis."""
    distinct = np.unique(np.array(values, dtype=float))
    if distinct[0] <= 0 or distinct[-1] / distinct[0] < 10:
        return False
    return _lopsided(np.log(distinct)) <= _lopsided(distinct) + 1e-9


def _lopsided(values: np.ndarray) -> float:
    """How far the mean lies from the middle of the range, as a share of it."""
    low, high = values[0], values[-1]
    return float(abs((values.mean() - low) / (high - low) - 0.5))
