"""Learning curves: of the best settings in colour, of runs that did not complete as thin broken lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strobe.record.epochs import read_epochs
from strobe.record.layout import FAILED
from strobe.report.collect import Run, repetitions_in_words
from strobe.report.drawing import canvas, drawable, legend, limits, short, spans_decades
from strobe.report.metrics import curve_metric, losses_of
from strobe.report.stats import Group

_SETTINGS = 8  # in colour
_REPETITIONS = 20  # of each
_UNFINISHED = 30  # runs that did not complete
_STYLES = {"val": "-", "train": ":"}

Table = Sequence[Mapping[str, str]]


def curves(groups: Sequence[Group], unfinished: Sequence[Run], metric: str | None) -> dict[str, Figure]:
    """Title -> picture, of the metric and of the loss by epoch; none where there are no epochs.

    Args:
        groups: Settings, best first.
        unfinished: Runs of the same metric that did not complete.
        metric: What they are compared by.
    """
    best = groups[:_SETTINGS]
    done = [run for group in best for run in group.runs[:_REPETITIONS]]
    tables: dict[Path, Table] = {run.directory: read_epochs(run.directory) for run in done}
    others = [(run, read_epochs(run.directory)) for run in unfinished[:_UNFINISHED]]
    known = [*tables.values(), *(table for _, table in others)]
    shown = curve_metric([*done, *unfinished], known, metric)
    if shown is None:
        return {}
    losses = losses_of(known)
    drawn = {}
    if shown not in losses.values():
        drawn[_title("Learning curves", best, others)] = _picture(best, tables, others, {"val": shown})
    if losses:
        named = "Loss" if drawn else "Learning curves"
        title = _title(named, best, others)
        drawn[title + (" (dotted: in training)" if len(losses) > 1 else "")] = _picture(best, tables, others, losses)
    return {title: figure for title, figure in drawn.items() if figure is not None}


def _title(what: str, best: Sequence[Group], others: Sequence[tuple[Run, Table]]) -> str:
    if not best:
        return f"{what} of {len(others)} that did not complete"
    number = len(best)
    which = f"the best {number}" if all(group.mode is not None for group in best) else _settings(number)
    runs = [run for group in best for run in group.runs]
    repeated = f", mean and range of their {repetitions_in_words(runs)}" if len(runs) > number else ""
    return f"{what} of {which}{repeated}"


def _settings(number: int) -> str:
    return "1 setting" if number == 1 else f"{number} settings"


def _picture(
    best: Sequence[Group], tables: Mapping[Path, Table], others: Sequence[tuple[Run, Table]], names: Mapping[str, str]
) -> Figure | None:
    """One metric of one split, or of two: the mean of the repetitions as a line, their range as a band."""
    figure, axes = canvas()
    heights: list[float] = []
    for number, group in enumerate(best):
        label: str | None = short(group.brief, 56) + (f"  n={len(group.runs)}" if len(group.runs) > 1 else "")
        for split, name in names.items():
            runs = [curve for run in group.runs[:_REPETITIONS] if (curve := _curve(tables[run.directory], name))]
            epochs = sorted(set(runs[0]).intersection(*runs[1:])) if runs else []
            if not epochs:
                continue
            values = np.array([[curve[epoch] for epoch in epochs] for curve in runs])
            places = np.array(epochs) + 1
            style = _STYLES[split]
            marker = "o" if split == "val" else ""
            axes.plot(places, values.mean(0), style, marker=marker, markersize=2.5, color=f"C{number}", label=label)
            if len(values) > 1:
                axes.fill_between(places, values.min(0), values.max(0), color=f"C{number}", alpha=0.15, linewidth=0)
            heights += values.ravel().tolist()
            label = None
    stopped, failed = _unfinished(axes, others, names.get("val") or names["train"])
    if not (heights := heights or stopped or failed):
        return None
    # The best are seen whole; what was stopped as far as it is near them, and what diverged doesn't squeeze them.
    ends = limits([*heights, *stopped])
    low, high = min(*ends, *heights), max(*ends, *heights)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    if spans_decades(heights) and max(heights) > 100 * min(heights):
        axes.set_yscale("log")
    else:
        axes.set_ylim(low - margin, high + margin)
    axes.set(xlabel="epoch", ylabel=short(" and ".join(names.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure)
    return figure


def _unfinished(axes: Axes, others: Sequence[tuple[Run, Table]], name: str) -> tuple[list[float], list[float]]:
    """Draw what runs logged before they ended; returns the values of those that were stopped, and of the failed."""
    found = [(run.status, curve) for run, table in others if (curve := _curve(table, name))]
    counts = Counter(status for status, _ in found)
    for status, curve in found:
        color = "C3" if status in FAILED else "0.45"
        number = counts.pop(status, 0)
        label = f"{status}: {number} run{'s' if number > 1 else ''}" if number else None
        look: dict[str, Any] = {"color": color, "linewidth": 0.7, "alpha": 0.7, "zorder": 1.5, "label": label}
        axes.plot(np.array(list(curve)) + 1, list(curve.values()), "--", marker=".", markersize=3.5, **look)
    stopped, failed = (
        [value for status, curve in found for value in curve.values() if (status in FAILED) == is_failed]
        for is_failed in (False, True)
    )
    return stopped, failed


def _curve(table: Table, name: str) -> dict[int, float]:
    """Epoch -> value, where it was measured and has a place on an axis."""
    found = {int(row["epoch"]): float(row[name]) for row in table if row.get(name)}
    return {epoch: value for epoch, value in found.items() if drawable(value)}
