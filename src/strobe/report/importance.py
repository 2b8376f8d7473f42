"""What only a search knows: how much each of its parameters mattered."""

import logging
from collections.abc import Sequence
from pathlib import Path

import optuna

from strobe.errors import first_line
from strobe.machine.text import printable
from strobe.record.study import has_study, open_study
from strobe.report.plots import importance_picture

log = logging.getLogger(__name__)

_ENOUGH = 8  # completed trials below which an importance says nothing


def importance_pictures(directories: Sequence[Path]) -> dict[str, bytes]:
    """Title -> PNG of Optuna's parameter importance, for each directory that holds a search."""
    drawn: dict[str, bytes] = {}
    for directory in directories:
        try:
            if not has_study(directory):
                continue
            if importances := _importances(directory):
                drawn[f"Importance of the parameters ({directory.name})"] = importance_picture(importances)
        except Exception as error:  # an odd space (one value, no variation) is no reason to lose the report
            log.warning("No importance for %s: %s", printable(str(directory)), printable(first_line(error)))
    return drawn


def _importances(directory: Path) -> dict[str, float]:
    study = open_study(directory)
    completed = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(completed) < _ENOUGH or len(study.directions) > 1:
        return {}
    return dict(optuna.importance.get_param_importances(study))
