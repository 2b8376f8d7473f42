"""What only a search knows: its objectives, how its best value grew, and how much each of its parameters mattered."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from strobe.errors import first_line
from strobe.machine.text import printable
from strobe.record.find import has_study
from strobe.record.layout import Mode
from strobe.record.study import open_study
from strobe.report.drawing import HEIGHT, WIDTH, canvas, drawable, legend, limits, png, short

log = logging.getLogger(__name__)

_ENOUGH = 8  # completed trials below which an importance says nothing
_MOST = 300  # completed trials that it is computed from: its time grows with them
_BARS = 15  # parameters


def studies_in(directories: Sequence[Path]) -> dict[Path, optuna.Study]:
    """The studies of those directories that hold a search; one that can't be read is passed over with a notice."""
    found = {}
    for directory in directories:
        try:
            if has_study(directory):
                found[directory] = open_study(directory)
        except Exception as error:  # whatever has happened to its journal is no reason to lose the report
            _passed_over(directory, error)
    return found


def objectives_of(studies: Mapping[Path, optuna.Study]) -> dict[str, Mode]:
    """Metric -> direction, of the searches for several objectives."""
    found: dict[str, Mode] = {}
    for directory, study in studies.items():
        try:
            if len(study.directions) > 1:
                recorded = study.user_attrs.get("objective")
                pairs = recorded.items() if isinstance(recorded, dict) else ()
                found |= {str(name): mode for name, mode in pairs if mode in ("min", "max")}
        except Exception as error:  # as above
            _passed_over(directory, error)
    return found


def search_pictures(studies: Mapping[Path, optuna.Study]) -> dict[str, bytes]:
    """Title -> PNG, for each search: its history, or the front of several objectives; what mattered."""
    drawn: dict[str, bytes] = {}
    for directory, study in studies.items():
        try:
            trials = study.get_trials(deepcopy=False)
            several = len(study.directions) > 1
            figures = {"Best value after each trial": None if several else _history(study, trials)}
            figures["Two objectives, the front in orange"] = _front(study, trials) if several else None
            if importances := _importances(study, trials):
                figures["Importance of the parameters"] = _bars(importances)
            drawn |= {f"{title} ({directory.name})": png(figure) for title, figure in figures.items() if figure}
        except Exception as error:  # an odd space (one value, no variation) is no reason either
            _passed_over(directory, error)
    return drawn


def _passed_over(directory: Path, error: Exception) -> None:
    log.warning("No pictures of the search in %s: %s", printable(str(directory)), printable(first_line(error)))


def _completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    done = (trial for trial in trials if trial.state == TrialState.COMPLETE and trial.values)
    return [trial for trial in done if all(map(drawable, trial.values))]


def _names(study: optuna.Study) -> list[str]:
    recorded = study.user_attrs.get("objective")
    names = [str(name) for name in recorded] if isinstance(recorded, dict) else []
    return names if len(names) == len(study.directions) else [f"objective {i}" for i in range(len(study.directions))]


def _history(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Figure | None:
    """A dot per trial, and the best so far; those that were pruned stand at the last value they had."""
    done = _completed(trials)
    if not done:
        return None
    figure, axes = canvas()
    values = [trial.values[0] for trial in done]
    places = [trial.number + 1 for trial in done]
    is_min = study.direction == optuna.study.StudyDirection.MINIMIZE
    best = (np.minimum if is_min else np.maximum).accumulate(values)
    size = 14 if len(trials) <= 300 else 5
    axes.scatter(places, values, s=size, alpha=0.6, linewidths=0, label=f"completed: {len(done)}")
    last = max(places[-1], len(trials))
    axes.step([*places, last], [*best, best[-1]], where="post", color="C1", label="best so far")
    low, high = limits(values)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    if pruned:
        ends = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned if _has_end(trial)]
        numbers = [trial.number + 1 for trial in pruned if _has_end(trial)]
        axes.scatter(numbers, ends, s=size, marker="x", color="0.45", linewidths=0.8, label=f"pruned: {len(pruned)}")
        low, high = min([low, *ends]), max([high, *ends])
    if failed := [trial.number + 1 for trial in trials if trial.state == TrialState.FAIL]:
        look: dict[str, Any] = {"marker": "|", "color": "C3", "s": 30, "linewidths": 1, "clip_on": False}
        bottom = [0.0] * len(failed)
        axes.scatter(failed, bottom, transform=axes.get_xaxis_transform(), label=f"failed: {len(failed)}", **look)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set(xlabel="trial", ylabel=short(_names(study)[0]))
    legend(figure, columns=2)
    return figure


def _has_end(trial: FrozenTrial) -> bool:
    """Whether a trial that was pruned had a value before."""
    values = trial.intermediate_values
    return bool(values) and drawable(values[max(values)])


def _front(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Figure | None:
    """A dot per trial at its first two objectives; those in which no other trial is better are joined."""
    done = _completed(trials)
    if not done:
        return None
    signs = [1 if way == optuna.study.StudyDirection.MINIMIZE else -1 for way in study.directions[:2]]
    values = np.array([trial.values[:2] for trial in done])
    order = np.lexsort((signs[1] * values[:, 1], signs[0] * values[:, 0]))
    front, reached = [], math.inf
    for index in order:
        if signs[1] * values[index, 1] < reached:
            reached = signs[1] * values[index, 1]
            front.append(index)
    figure, axes = canvas()
    axes.scatter(values[:, 0], values[:, 1], s=14, alpha=0.5, linewidths=0, label=f"completed: {len(done)}")
    axes.plot(*values[front].T, color="C1", marker="o", markersize=4, linewidth=1, label=f"front: {len(front)}")
    names = _names(study)
    axes.set(xlabel=short(names[0]), ylabel=short(names[1]))
    legend(figure, columns=2)
    return figure


def _importances(study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Optuna's estimate of the share of the variation that each parameter explains; empty if there is none."""
    done = _completed(trials)
    if len(done) < _ENOUGH or len(study.directions) > 1:
        return {}
    if len(done) > _MOST:
        evenly = np.linspace(0, len(done) - 1, _MOST).astype(int)
        study = optuna.create_study(direction=study.direction)
        study.add_trials([done[index] for index in evenly])
    return dict(optuna.importance.get_param_importances(study))


def _bars(importances: dict[str, float]) -> Figure:
    ordered = sorted(importances.items(), key=lambda item: item[1])[-_BARS:]
    figure, axes = canvas(WIDTH, max(HEIGHT / 2, 0.8 + 0.25 * len(ordered)))
    axes.barh(range(len(ordered)), [value for _, value in ordered])
    axes.set_yticks(range(len(ordered)), [short(name, 30) for name, _ in ordered], fontsize=8)
    axes.set(xlabel="importance (share of the variation)")
    return figure
