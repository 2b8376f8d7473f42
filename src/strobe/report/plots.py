"""Pictures of a comparison, as PNG."""

import io
import warnings
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strobe.machine.text import printable
from strobe.record.report import read_epochs
from strobe.report.cells import number_text
from strobe.report.collect import Run, metrics_of, mode_of
from strobe.report.metrics import curve_metric
from strobe.report.stats import Group

_SIZE = (7.0, 4.2)  # inches
_CURVES = 8  # settings in the picture of learning curves
_LARGEST = 1e60  # a number on an axis
_MANY = 2000  # runs above which points are thinned


def pictures(runs: Sequence[Run], groups: Sequence[Group]) -> dict[str, bytes]:
    """Title -> PNG, for whatever the runs give reason to draw, metric after metric."""
    drawn: dict[str, bytes] = {}
    metrics = metrics_of(runs)
    for metric in metrics:
        done = [run for run in runs if run.objective is not None and run.metric == metric]
        by = f" by {metric}" if len(metrics) > 1 else ""
        drawn |= _of_metric(done, [setting for setting in groups if setting.metric == metric], metric, by)
    if others := [setting for setting in groups if setting.metric is None]:
        by = " without an objective" if metrics else ""
        figure = _curves(others, None)
        drawn |= {} if figure is None else {f"{_curves_title(others)}{by}": _png(figure)}
    return drawn


def _of_metric(done: Sequence[Run], groups: Sequence[Group], metric: str, by: str) -> dict[str, bytes]:
    drawn: dict[str, Figure | None] = {f"{_curves_title(groups)}{by}": _curves(groups, metric)}
    keys = [
        key for key in done[0].settings if key not in done[0].repeats and len({run.settings[key] for run in done}) > 1
    ]
    for key in keys:
        drawn[f"{metric} against {key}"] = _against(done, key, metric)
    if len(keys) == 2:
        drawn[f"{metric} by {keys[0]} and {keys[1]}"] = _heat_map(groups, keys, metric)
    if len(keys) > 2:
        drawn[f"{metric} over all settings"] = _parallel(done, keys, metric)
    return {title: _png(figure) for title, figure in drawn.items() if figure is not None}


def _curves_title(groups: Sequence[Group]) -> str:
    drawn = groups[:_CURVES]
    which = "the best " if all(group.mode is not None for group in drawn) else ""
    return f"Learning curves of {which}{len(drawn)}{'' if which else ' settings' if len(drawn) > 1 else ' setting'}"


def _curves(groups: Sequence[Group], metric: str | None) -> Figure | None:
    """A metric by epoch: the mean of the repetitions as a line, their range as a band."""
    figure, axes = plt.subplots(figsize=_SIZE)
    tables = {run.directory: read_epochs(run.directory) for group in groups[:_CURVES] for run in group.runs[:20]}
    drawn = [run for group in groups for run in group.runs if run.directory in tables]
    shown = curve_metric(drawn, list(tables.values()), metric) or ""
    lines = 0
    for group in groups[:_CURVES]:
        curves = [
            _numbers([row[shown] for row in tables[run.directory] if row.get(shown)]) or [] for run in group.runs[:20]
        ]
        curves = [curve for curve in curves if curve]  # of a damaged file, none
        length = min((len(curve) for curve in curves), default=0)
        if length == 0:
            continue
        values = np.array([curve[:length] for curve in curves])
        epochs = np.arange(1, length + 1)
        (line,) = axes.plot(epochs, values.mean(0), marker="o", markersize=3, label=_short(group.label))
        if len(values) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        lines += 1
    if lines == 0:
        plt.close(figure)
        return None
    axes.set(xlabel="epoch", ylabel=_short(shown))
    locator = axes.xaxis.get_major_locator()
    assert isinstance(locator, MaxNLocator), "matplotlib's own choice for a linear axis"
    locator.set_params(integer=True)
    axes.legend(fontsize=8)
    return figure


def _against(runs: Sequence[Run], key: str, metric: str) -> Figure:
    """One point per run, and the mean at each value."""
    figure, axes = plt.subplots(figsize=_SIZE)
    numbers = _numbers([run.settings[key] for run in runs])
    labels = sorted({run.settings[key] for run in runs})
    if numbers is None:
        places = {label: index for index, label in enumerate(labels)}
        numbers = [float(places[run.settings[key]]) for run in runs]
        axes.set_xticks(
            range(len(labels)), [_short(label, 16) for label in labels], rotation=30 if len(labels) > 4 else 0
        )
    elif _is_log(numbers):
        axes.set_xscale("log")
    objectives = np.array([run.objective for run in runs], dtype=float)
    positions = np.array(numbers)
    step = max(1, len(runs) // _MANY)
    axes.scatter(positions[::step], objectives[::step], s=18, alpha=0.5)
    unique = np.unique(positions)
    if len(unique) < len(positions):
        axes.plot(unique, [objectives[positions == place].mean() for place in unique], color="C1", label="mean")
        axes.legend(fontsize=8)
    axes.set(xlabel=_short(key), ylabel=_short(metric))
    return figure


def _heat_map(groups: Sequence[Group], keys: Sequence[str], metric: str) -> Figure | None:
    """The mean objective for every pair of values."""
    rows, columns = (_ordered({dict(group.setting)[key] for group in groups}) for key in keys)
    if len(rows) > 30 or len(columns) > 30:
        return None
    values = np.full((len(rows), len(columns)), np.nan)
    sums: dict[tuple[int, int], list[float]] = {}
    for group in groups:
        setting = dict(group.setting)
        sums.setdefault((rows.index(setting[keys[0]]), columns.index(setting[keys[1]])), []).append(group.mean)
    for place, means in sums.items():
        values[place] = sum(means) / len(means)
    figure, axes = plt.subplots(figsize=_SIZE)
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(columns)), [_short(label, 12) for label in columns])
    axes.set_yticks(range(len(rows)), [_short(label, 12) for label in rows])
    axes.set(xlabel=_short(keys[1]), ylabel=_short(keys[0]))
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    if values.size <= 100:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "black" if value > middle else "white"
                axes.text(column, row, number_text(value), ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, label=_short(metric))
    return figure


def _parallel(runs: Sequence[Run], keys: Sequence[str], metric: str) -> Figure:
    """One line per run across an axis per setting, the best lines last and brightest where there are any."""
    figure, axes = plt.subplots(figsize=(max(_SIZE[0], 1.6 * (len(keys) + 1)), _SIZE[1]))
    columns = [_scaled([run.settings[key] for run in runs]) for key in keys]
    objectives = np.array([run.objective for run in runs], dtype=float)
    spread = np.ptp(objectives) or 1.0
    heights = (objectives - objectives.min()) / spread
    mode = mode_of(runs)
    goodness = 1 - heights if mode == "min" else heights
    for index in np.argsort(goodness)[-_MANY:]:
        line = [column[0][index] for column in columns] + [heights[index]]
        color = "C0" if mode is None else matplotlib.colormaps["viridis"](goodness[index])
        axes.plot(range(len(line)), line, color=color, alpha=0.7, linewidth=1)
    for place, (_, ticks) in enumerate(columns):
        for height, label in ticks:
            axes.text(place, height, f" {_short(label, 12)}", fontsize=7, va="center")
        axes.axvline(place, color="0.8", linewidth=0.8, zorder=0)
    for height, value in ((0.0, objectives.min()), (1.0, objectives.max())):
        axes.text(len(keys), height, f" {number_text(value)}", fontsize=7, va="center")
    axes.axvline(len(keys), color="0.8", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(keys) + 1), [*(_short(key, 18) for key in keys), _short(metric)], fontsize=8)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure


def importance_picture(importances: dict[str, float]) -> bytes:
    """How much each parameter of a search mattered, as bars."""
    figure, axes = plt.subplots(figsize=_SIZE)
    ordered = sorted(importances.items(), key=lambda item: item[1])
    axes.barh([_short(name, 30) for name, _ in ordered], [value for _, value in ordered])
    axes.set(xlabel="importance (share of the variation)")
    return _png(figure)


def _scaled(texts: Sequence[str]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Places in [0, 1], and a few labelled ones."""
    numbers = _numbers(texts)
    if numbers is None:
        labels = sorted(set(texts))
        top = max(1, len(labels) - 1)
        return np.array([labels.index(text) / top for text in texts]), [
            (i / top, label) for i, label in enumerate(labels)
        ]
    values = np.log10(numbers) if _is_log(numbers) else np.array(numbers)
    low, spread = values.min(), np.ptp(values) or 1.0
    ends = [(0.0, f"{min(numbers):g}"), (1.0, f"{max(numbers):g}")]
    return (values - low) / spread, ends


def _numbers(texts: Sequence[str]) -> list[float] | None:
    """The texts as numbers; None where one is none, or has no place on an axis."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(abs(number) < _LARGEST for number in numbers) else None


def _is_log(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 10


def _ordered(texts: set[str]) -> list[str]:
    return sorted(texts, key=lambda text: (0, float(text), "") if _numbers([text]) else (1, 0.0, text))


def _short(text: str, limit: int = 48) -> str:
    """A label as matplotlib takes it, no longer than ``limit`` characters."""
    text = printable(text)
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return short.replace("$", r"\$")  # to matplotlib, a pair of $ encloses a formula


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # then it is a box
        figure.tight_layout()
        figure.savefig(buffer, dpi=110)
    plt.close(figure)
    return buffer.getvalue()
