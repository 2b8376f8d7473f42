"""A search's study on the disk, in its sweep's directory: opened by the driver, by its trials, by the report."""

from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import JournalStorage

from strobe.record.journal import Journal
from strobe.record.layout import STUDY

PrunerName = Literal["median", "hyperband", "none"]
NAME = "strobe"

optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_storage(directory: Path) -> JournalStorage:
    """Optuna's storage in a sweep's directory; several processes may use it."""
    return JournalStorage(Journal(directory / STUDY))


def open_study(directory: Path) -> optuna.Study:
    """The study that lies in a sweep's directory.

    Raises:
        KeyError: If there is none.
    """
    return optuna.load_study(study_name=NAME, storage=study_storage(directory))


def open_trial(directory: Path, number: int) -> optuna.Trial:
    """A trial of the study in a directory, whose study has the pruner that the search was started with."""
    storage = study_storage(directory)
    study = optuna.load_study(study_name=NAME, storage=storage)
    study.pruner = make_pruner(study.user_attrs.get("pruner", "none"))
    study_id = storage.get_study_id_from_name(NAME)
    return optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def make_pruner(name: PrunerName) -> optuna.pruners.BasePruner:
    """A pruner by name; both look at a trial from its first epoch on."""
    match name:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1)
        case "none":
            return optuna.pruners.NopPruner()
