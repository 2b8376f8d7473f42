"""Which pictures a comparison gives reason to draw, and those of one setting; each as PNG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strobe.report.collect import Run, metrics_of, mode_of, repetitions_in_words
from strobe.report.curves import curves
from strobe.report.drawing import HEIGHT, WIDTH, canvas, legend, png, points, short, spans_decades
from strobe.report.scales import scale_of
from strobe.report.spaces import by_two, over_all, widest
from strobe.report.stats import Group

_MANY = 2000  # runs above which points are thinned
_KEYS = 8  # settings with a picture of their own
_STRIPS = 12  # settings whose repetitions are shown
_CROWD = 10  # dots at one value that hide each other
_GOLDEN = 0.618034  # multiples of it, without their whole part, fill an interval evenly


def pictures(runs: Sequence[Run], groups: Sequence[Group]) -> dict[str, bytes]:
    """Title -> PNG, for whatever the runs give reason to draw, metric after metric."""
    drawn: dict[str, Figure] = {}
    metrics = metrics_of(runs)
    unfinished = [run for run in runs if run.status != "completed"]
    for metric in metrics:
        by = f" by {metric}" if len(metrics) > 1 else ""
        done = [run for run in runs if run.objective is not None and run.metric == metric]
        settings = [group for group in groups if group.metric == metric]
        others = [run for run in unfinished if run.metric == metric]
        drawn |= {f"{title}{by}": figure for title, figure in curves(settings, others, metric).items()}
        drawn |= _of_metric(done, settings, metric)
    rest = [group for group in groups if group.metric is None]
    others = [run for run in unfinished if run.metric not in metrics]
    if rest or others:
        by = " without an objective" if metrics else ""
        drawn |= {f"{title}{by}": figure for title, figure in curves(rest, others, None).items()}
    return {title: png(figure) for title, figure in drawn.items()}


def _of_metric(done: Sequence[Run], groups: Sequence[Group], metric: str) -> dict[str, Figure]:
    drawn: dict[str, Figure] = {}
    keys = [
        key for key in done[0].settings if key not in done[0].repeats and len({run.settings[key] for run in done}) > 1
    ]
    if any(len(group.runs) > 1 for group in groups):
        words = repetitions_in_words(done)
        which = f"the best {_STRIPS}" if len(groups) > _STRIPS else "every setting" if len(groups) > 1 else "the runs"
        drawn[f"The {words} of {which}, {metric}"] = _repetitions(groups[:_STRIPS], metric)
    for key in keys[:_KEYS]:
        drawn[f"{metric} against {key}"] = _against(done, key, metric)
    if len(keys) >= 2:
        first, second = widest(done, keys)
        drawn[f"{metric} by {first} and {second}"] = by_two(done, (first, second), metric)
    if len(keys) > 2:
        which = "all settings" if len(keys) <= _KEYS else f"{_KEYS} of {len(keys)} settings"
        dark = " (the best: dark)" if mode_of(done) is not None else ""
        drawn[f"{metric} over {which}{dark}"] = over_all(done, keys[:_KEYS], metric)
    return drawn


def _repetitions(groups: Sequence[Group], metric: str) -> Figure:
    """A row per setting, best on top: a dot per run, its mean, and the 95 % interval of that."""
    figure, axes = canvas(WIDTH, max(HEIGHT / 2, 0.9 + 0.26 * len(groups)))
    for row, group in enumerate(groups):
        axes.scatter(group.values, [row] * len(group.values), s=16, alpha=0.55, color="C0", linewidths=0)
        interval = [[group.interval]] * 2 if group.interval is not None else None
        look: dict[str, Any] = {"fmt": "|", "markersize": 11, "color": "C1", "capsize": 2, "linewidth": 1}
        axes.errorbar([group.mean], [row], xerr=interval, label="" if row else "mean, 95 % interval", **look)
    names = [f"{short(group.brief, 34)}  n={len(group.runs)}" for group in groups]
    axes.set_yticks(range(len(groups)), names, fontsize=points(names))
    axes.xaxis.set_major_locator(MaxNLocator(5))  # the names take room from the numbers
    axes.set(xlabel=short(metric), ylim=(len(groups) - 0.5, -0.5))
    legend(figure)
    return figure


def _against(runs: Sequence[Run], key: str, metric: str) -> Figure:
    """A dot per run, and where values were repeated the mean at each."""
    figure, axes = canvas()
    texts = [run.settings[key] for run in runs]
    scale = scale_of(texts)
    positions = scale.places(texts)
    objectives = np.array([run.objective for run in runs], dtype=float)
    step = -(-len(runs) // _MANY)
    shown = positions
    if scale.kind == "positions" and len(runs) > _CROWD * len(scale.values):  # side by side, so that each is seen
        shown = positions + 0.5 * (np.arange(len(runs)) * _GOLDEN % 1 - 0.5)
    axes.scatter(shown[::step], objectives[::step], s=16, alpha=0.5, linewidths=0)
    places, counts = np.unique(positions, return_counts=True)
    if 2 * len(places) <= len(positions) and not scale.is_continuous:
        n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        means = [objectives[positions == place].mean() for place in places]
        line = "none" if scale.kind == "positions" else "-"  # between categories there is nothing
        look: dict[str, Any] = {"linestyle": line, "marker": "_", "markersize": 16, "markeredgewidth": 2}
        axes.plot(places, means, color="C1", label=f"mean of n = {n}", **look)
        legend(figure)
    scale.dress(axes, "x")
    if spans_decades(objectives.tolist()) and objectives.max() >= 100 * objectives.min():
        axes.set_yscale("log")
    axes.set(xlabel=short(key), ylabel=short(metric))
    return figure
