"""Pictures of a test in detail, as PNG: confusion, calibration, mistakes, true against predicted."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from strobe.record.details import ClassDetails, Details, Mistake
from strobe.report import drawing
from strobe.report.drawing import drawable, short

_WITH_COUNTS = 20  # classes whose matrix has room for numbers
_WITH_NAMES = 40
_DRAWN = 200  # classes; a matrix of more shows nothing
_COLUMNS = 5  # of mistakes
_NUMBERS = 8  # of a regression
LABEL = 40  # characters of a name in a picture
_GRAY = "#808080"  # is read on white and on black
_LINES = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
_GROUNDS = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")


def pictures(details: Details, *, alone: bool) -> dict[str, bytes]:
    """Name -> PNG, for whatever there is reason to draw.

    Args:
        details: What a test showed.
        alone: For a file of its own; else for a page, which may be dark, and shows the mistakes itself.
    """
    drawn: dict[str, Figure] = {}
    with style(alone=alone):
        if (classes := details.classes) is not None:
            if len(classes.classes) <= _DRAWN and classes.confusion:
                drawn["confusion"] = _confusion(classes)
            if any(each.count for each in classes.bins):
                drawn["calibration"] = _calibration(classes)
            shown = [mistake for mistake in classes.mistakes if mistake.picture is not None]
            if alone and shown:
                drawn["mistakes"] = _mistakes(classes, shown)
        numbers = () if details.numbers is None else details.numbers.numbers[:_NUMBERS]
        for place, each in enumerate(numbers, start=1):
            if points := _usable(each.points):
                drawn[f"predictions_{place}" if len(numbers) > 1 else "predictions"] = _scatter(each.name, points)
        return {name: png(figure) for name, figure in drawn.items()}


@contextmanager
def style(*, alone: bool) -> Iterator[None]:
    """Draw on white, or on nothing and in a gray that a light page shows as well as a dark one."""
    settings: dict[Any, Any] = {"legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False}
    if not alone:
        settings |= dict.fromkeys(_LINES, _GRAY) | dict.fromkeys(_GROUNDS, "none")
    with matplotlib.rc_context(settings):
        yield


def png(figure: Figure) -> bytes:
    """The picture in a file's bytes, as large as what is drawn."""
    return drawing.png(figure, dpi=150, bbox_inches="tight")


def _confusion(classes: ClassDetails) -> Figure:
    """Rows are the true classes; a cell's colour is its share of the row, rare ones made visible."""
    size = len(classes.classes)
    counts = np.zeros((size, size))
    for (true, predicted), count in classes.confusion.items():
        counts[true, predicted] = count
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3.6 if size <= 4 else 5.2 if size <= _WITH_COUNTS else 7.0
    figure = Figure(figsize=(side, side))
    axes = figure.add_subplot()
    axes.imshow(shares**0.4, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    if size <= _WITH_NAMES:
        names = [short(name, 14) for name in classes.classes]
        long = max(map(len, names)) > 2
        font = 9 if size <= _WITH_COUNTS else 7
        axes.set_xticks(range(size), names, fontsize=font, rotation=90 if long else 0)
        axes.set_yticks(range(size), names, fontsize=font)
    if size <= _WITH_COUNTS:
        font = 9 if size <= 10 else 6
        for (row, column), cell in np.ndenumerate(counts):
            if cell:
                color = "white" if shares[row, column] ** 0.4 > 0.6 else "black"
                axes.text(column, row, f"{cell:.0f}", ha="center", va="center", fontsize=font, color=color)
    return figure


def _calibration(classes: ClassDetails) -> Figure:
    """How often the net is right against how sure it is, and below how many examples that holds for."""
    figure = Figure(figsize=(4.8, 4.8))
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.08})
    width = 1 / len(classes.bins)
    middles = (np.arange(len(classes.bins)) + 0.5) * width
    filled = [each.count > 0 and math.isfinite(each.accuracy) for each in classes.bins]
    accuracies = [each.accuracy if there else 0.0 for each, there in zip(classes.bins, filled, strict=True)]
    axes.plot([0, 1], [0, 1], color=_GRAY, linewidth=1, linestyle="--", label="perfectly calibrated")
    axes.bar(middles, accuracies, width * 0.9, color="C0", label="this net")
    axes.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=10, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)  # above: no bar hides it
    below.bar(middles, [each.count for each in classes.bins], width * 0.9, color="C0", alpha=0.6)
    below.set(xlabel="probability of the predicted class", ylabel="examples", yscale="symlog")
    return figure


def _mistakes(classes: ClassDetails, shown: list[Mistake]) -> Figure:
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(1.6 * _COLUMNS, 1.9 * rows))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, shown, strict=False):
        assert mistake.picture is not None, "the others were left out"
        picture = np.asarray(Image.open(io.BytesIO(mistake.picture)).convert("RGB"))
        axes.imshow(picture, interpolation="nearest")
        true, predicted = (short(classes.classes[label], 12) for label in (mistake.true, mistake.predicted))
        axes.set_title(f"{true}, taken for\n{predicted} ({mistake.probability:.1%})", fontsize=8)
    return figure


def _scatter(name: str, points: Sequence[tuple[float, float]]) -> Figure:
    figure = Figure(figsize=(4.4, 4.0))
    axes = figure.add_subplot()
    true, predicted = np.array(points).T
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    axes.plot([low, high], [low, high], color=_GRAY, linewidth=1, linestyle="--")
    axes.scatter(true, predicted, s=8, alpha=0.4)
    axes.set(xlabel="true", ylabel="predicted", title=short(name, LABEL))
    return figure


def _usable(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [pair for pair in points if all(map(drawable, pair))]
