"""Pictures of one run by epoch, as PNG for a page that may be dark."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strobe.report.details_plots import LABEL, png, style
from strobe.report.drawing import drawable, short
from strobe.report.metrics import by_split, split_of, without_split

_MOST = 24  # pictures
_DOTS = 50  # epochs up to which each has its dot
_COLORS = {"train": "C0", "val": "C1", "test": "C2"}
_NO_CURVES = ("epoch", "step", "seconds")


def curves(rows: Sequence[Mapping[str, str]], best_epoch: int | None) -> dict[str, bytes]:
    """Name of a metric -> PNG of it by epoch, train and validation on the same axes; the rate where it varies.

    Args:
        rows: From `read_epochs`.
        best_epoch: Whose weights are tested, counted from 0; None where there is none.
    """
    names = by_split(name for row in rows for name in row if name not in _NO_CURVES)
    together: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in names:
        points = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]
        points = [(epoch, value) for epoch, value in points if drawable(value)]
        if points and not (name == "lr" and len({value for _, value in points}) == 1):
            together.setdefault(without_split(name), {})[name] = points
    with style(alone=False):
        return {base: png(_curve(lines, best_epoch)) for base, lines in list(together.items())[:_MOST]}


def _curve(lines: Mapping[str, Sequence[tuple[int, float]]], best_epoch: int | None) -> Figure:
    figure = Figure(figsize=(4.8, 3.0))
    axes = figure.add_subplot()
    for name, points in lines.items():
        split = split_of(name)
        epochs, values = zip(*points, strict=True)
        marker = "o" if len(points) <= _DOTS else None
        axes.plot(epochs, values, marker=marker, markersize=3, color=_COLORS.get(split or ""), label=short(name, LABEL))
    heights = [value for points in lines.values() for _, value in points]
    if min(heights) > 0 and max(heights) / min(heights) > 100:
        axes.set_yscale("log")
    if best_epoch is not None and best_epoch < max(epoch for points in lines.values() for epoch, _ in points):
        axes.axvline(best_epoch + 1, color="#808080", linewidth=1.2, linestyle=":", label="best epoch")
    axes.set(xlabel="epoch")
    locator = axes.xaxis.get_major_locator()
    assert isinstance(locator, MaxNLocator), "matplotlib's own choice for a linear axis"
    locator.set_params(integer=True)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(fontsize=10)
    return figure
