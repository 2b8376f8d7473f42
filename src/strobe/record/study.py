"""A search's study, in its sweep's directory or in a database: opened by the driver, by its trials, by the report."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage

from strobe.errors import ConfigError
from strobe.record.database import KEY, Database
from strobe.record.files import read_bounded, write_atomically
from strobe.record.journal import Journal
from strobe.record.layout import PLACE, STORAGE_VARIABLE, STUDY
from strobe.record.signature import is_signed, signed, without_signature
from strobe.record.token import sweep_token

PrunerName = Literal["median", "hyperband", "none"]
NAME = "strobe"
"""Of a study in a journal, which has one; in a database it has its sweep's name."""

SWEEP = "sweep"  # user attribute of a study in a database: the token of its sweep's directory
_LIMIT = 10_000  # bytes of a place

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Place:
    """Where a study is that does not lie in its sweep's directory, as a file there says.

    Attributes:
        storage: The URL of the database, without a password.
        name: Of the study.
        is_own: Whether this user has written the file: what another's says, is not connected to.
    """

    storage: str
    name: str
    is_own: bool


def study_storage(directory: Path) -> JournalStorage:
    """Optuna's storage in a sweep's directory; several processes may use it."""
    return JournalStorage(Journal(directory / STUDY))


def open_study(directory: Path) -> optuna.Study:
    """The study of the search in a directory.

    Raises:
        KeyError: If there is none.
        ConfigError: If it is in a database that this process is not told of.
        DatabaseError: If its database can't be reached.
    """
    return _opened(directory)[0]


def open_trial(directory: Path, number: int) -> optuna.Trial:
    """A trial of the study of a directory, whose study has the pruner that the search was started with.

    Raises:
        KeyError: If there is none.
        ConfigError: If it is in a database that this process is not told of.
        DatabaseError: If its database can't be reached.
    """
    study, storage = _opened(directory)
    study.pruner = make_pruner(study.user_attrs.get("pruner", "none"))
    study_id = storage.get_study_id_from_name(study.study_name)
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


def read_place(directory: Path) -> Place | None:
    """Where the study of a search is; None where it is in the directory itself.

    Raises:
        ConfigError: If the file that says it is damaged.
        OSError: If it can't be read.
    """
    path = directory / PLACE
    try:
        text = read_bounded(path, _LIMIT).decode()
        found = json.loads(without_signature(text))
        storage, name = found["storage"], found["study"]
        if not isinstance(storage, str) or not isinstance(name, str):
            raise TypeError
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError(f"{path} is damaged: remove it, and give {KEY}=<the database of this search>") from None
    return Place(storage, name, is_signed(text))


def write_place(directory: Path, database: Database, name: str) -> None:
    """Say in a sweep's directory where its study is; no password is written.

    Raises:
        OSError: If it can't be written.
    """
    write_atomically(directory / PLACE, signed(json.dumps({"storage": database.shown, "study": name}) + "\n"))


def _opened(directory: Path) -> tuple[optuna.Study, BaseStorage]:
    """The study, for a process that is not the search's driver, and where it is kept.

    A database's URL is that of the environment, which a trial has from its driver, else that of the directory's file if
    this user has written it: a directory that comes from elsewhere must not name what is connected to.
    """
    place = read_place(directory)
    if place is None:
        storage = study_storage(directory)
        return optuna.load_study(study_name=NAME, storage=storage), storage
    told = os.environ.get(STORAGE_VARIABLE)
    if told is None and not place.is_own:
        raise ConfigError(
            f"the study of {directory} is in a database: set {STORAGE_VARIABLE} to its URL, if you trust it"
        )
    database = Database(told or place.storage)
    with database.reached():
        kept = database.brief_storage()
        study = optuna.load_study(study_name=place.name, storage=kept)
        if study.user_attrs.get(SWEEP) != sweep_token(directory, make=False):
            raise KeyError(f"the study {place.name!r} in {database.shown} is not that of {directory}")
    return study, kept
