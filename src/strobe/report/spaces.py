"""Pictures of a metric over two settings, or over all of them at once."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strobe.report.cells import number_text
from strobe.report.collect import Run, mode_of
from strobe.report.drawing import HEIGHT, WIDTH, canvas, limits, short
from strobe.report.scales import Scale, scale_of

_CELLS = 12  # rows, and columns, of a heat map
_NUMBERED = 6  # columns whose cells have room for their number
_LINES = 60  # runs in colour, where there are more than can be told apart


def widest(runs: Sequence[Run], keys: Sequence[str]) -> tuple[str, str]:
    """The two settings with the most different values, in the order they were typed."""
    count = {key: len({run.settings[key] for run in runs}) for key in keys}
    first, second = sorted(sorted(keys, key=lambda key: -count[key])[:2], key=list(keys).index)
    return first, second


def by_two(runs: Sequence[Run], keys: tuple[str, str], metric: str) -> Figure:
    """A heat map where a grid of few values is filled, else a dot per run, coloured by the metric."""
    scales = [scale_of([run.settings[key] for run in runs]) for key in keys]
    rows, columns = (len(scale.values) for scale in scales)
    pairs = {tuple(run.settings[key] for key in keys) for run in runs}
    if max(rows, columns) <= _CELLS and 2 * len(pairs) >= rows * columns:
        return _heat_map(runs, keys, scales, metric)
    return _scatter(runs, keys, scales, metric)


def _heat_map(runs: Sequence[Run], keys: tuple[str, str], scales: Sequence[Scale], metric: str) -> Figure:
    """The mean objective of the runs with each pair of values, and how many they are."""
    rows, columns = ([scale.places([value])[0] for value in scale.values] for scale in scales)
    found: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        row, column = (scale.places([run.settings[key]])[0] for scale, key in zip(scales, keys, strict=True))
        found.setdefault((rows.index(row), columns.index(column)), []).append(run.objective or 0.0)
    values = np.full((len(rows), len(columns)), np.nan)
    for place, objectives in found.items():
        values[place] = np.mean(objectives)
    figure, axes = canvas()
    axes.grid(visible=False)
    low, high = limits(values[~np.isnan(values)].tolist())
    image = axes.imshow(values, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    Scale("positions", scales[0].values).dress(axes, "y")
    Scale("positions", scales[1].values).dress(axes, "x")
    axes.set(xlabel=short(keys[1]), ylabel=short(keys[0]))
    repeated = max(map(len, found.values())) > 1
    if len(columns) <= _NUMBERED:
        for (row, column), objectives in found.items():
            value = values[row, column]
            text = number_text(value) + (f"\nn={len(objectives)}" if repeated and len(rows) <= _NUMBERED else "")
            color = "black" if value > (low + high) / 2 else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label=short(f"mean of {metric}" if repeated else metric))
    return figure


def _scatter(runs: Sequence[Run], keys: tuple[str, str], scales: Sequence[Scale], metric: str) -> Figure:
    """A dot per run where its two values meet, the best one ringed."""
    texts = [[run.settings[key] for run in runs] for key in keys]
    x, y = (scale.places(column) for scale, column in zip(scales, texts, strict=True))
    objectives = np.array([run.objective for run in runs], dtype=float)
    low, high = limits(objectives.tolist())
    figure, axes = canvas()
    mode = mode_of(runs)
    order = np.argsort(-objectives if mode == "min" else objectives, kind="stable")  # the best on top
    size = 34 if len(runs) <= 200 else 12
    look: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high, "edgecolors": "0.4", "linewidths": 0.3}
    dots = axes.scatter(x[order], y[order], c=objectives[order], s=size, **look)
    if mode is not None:
        best = int((np.argmin if mode == "min" else np.argmax)(objectives))
        axes.scatter(x[best], y[best], s=110, facecolors="none", edgecolors="C3", linewidths=1.6)
    scales[0].dress(axes, "x")
    scales[1].dress(axes, "y")
    axes.set(xlabel=short(keys[0]), ylabel=short(keys[1]))
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    outside = bool(objectives.min() < low), bool(objectives.max() > high)
    label = f"{metric} (best: ringed)" if mode is not None else metric
    figure.colorbar(dots, label=short(label), extend=beyond[outside])
    return figure


def over_all(runs: Sequence[Run], keys: Sequence[str], metric: str) -> Figure:
    """A line per run across an axis per setting; of many runs the best are in colour, the others grey behind them."""
    figure, axes = canvas(max(WIDTH, 1.15 * (len(keys) + 1)), HEIGHT)
    axes.grid(visible=False)
    texts = {key: [run.settings[key] for run in runs] for key in keys}
    scales = {key: scale_of(column) for key, column in texts.items()}
    objectives = np.array([run.objective for run in runs], dtype=float)
    low, high = limits(objectives.tolist())
    heights = np.clip((objectives - low) / ((high - low) or 1.0), 0, 1)
    mode = mode_of(runs)
    goodness = 1 - heights if mode == "min" else heights
    lines = np.stack([*(scales[key].shares(texts[key]) for key in keys), heights])
    order = np.argsort(goodness, kind="stable")
    colored = order if len(runs) <= _LINES else order[-_LINES:] if mode is not None else order[:0]
    if len(colored) < len(runs):
        axes.plot(lines[:, order[: len(runs) - len(colored)]], color="0.6", alpha=0.2, linewidth=0.5)
    floor = float(goodness[colored].min()) if len(colored) else 0.0
    for index in colored:
        share = (float(goodness[index]) - floor) / ((1 - floor) or 1.0)
        color = "C0" if mode is None else matplotlib.colormaps["viridis_r"](0.05 + 0.95 * share)
        axes.plot(lines[:, index], color=color, alpha=0.8, linewidth=1.1)
    for place, key in enumerate(keys):
        for value, label in scales[key].names():
            _mark(axes, place, float(scales[key].shares([value])[0]), label)
        axes.axvline(place, color="0.8", linewidth=0.8, zorder=0)
    for height, end in ((0.0, low), (1.0, high)):
        _mark(axes, len(keys), height, number_text(end))
    axes.axvline(len(keys), color="0.8", linewidth=0.8, zorder=0)
    names = [short(key, 18) + ("\n(log)" if scales[key].kind == "log" else "") for key in keys]
    axes.set_xticks(range(len(keys) + 1), [*names, short(metric, 18)], fontsize=8)
    axes.set(yticks=[], xlim=(-0.2, len(keys) + 0.5))
    axes.spines[:].set_visible(False)
    return figure


def _mark(axes: Axes, place: float, height: float, label: str) -> None:
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
    axes.text(place + 0.03, height, label, fontsize=8, va="center", bbox=box)
