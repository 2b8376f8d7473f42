"""A search's study, opened or made: healed if its journal is damaged, bound to its directory if it is elsewhere."""

import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from strobe.errors import ConfigError
from strobe.record.database import KEY, Database
from strobe.record.database import reopen as reopen_in
from strobe.record.journal import heal, reopen
from strobe.record.layout import PLACE, STUDY
from strobe.record.report import Report
from strobe.record.study import (
    NAME,
    SWEEP,
    Place,
    PrunerName,
    make_pruner,
    read_place,
    study_storage,
    write_place,
)
from strobe.record.token import sweep_token
from strobe.sweeps.jobs import runs_in

_OTHER = {"objective": "another objective", "space": "another space", "settings": "other settings"}
_PATIENCE_S = 5.0  # for another process to say whose a study is that it has just made
_NUMBER = re.compile(r"(\d{3,9})(_|$)")


@dataclass(frozen=True)
class OpenStudy:
    """A study and where it is kept.

    Attributes:
        study: As Optuna gives it.
        storage: Where it is kept.
        database: The one that keeps it; None where it is in the sweep's directory.
    """

    study: optuna.Study
    storage: BaseStorage
    database: Database | None = None

    def trials(self) -> list[FrozenTrial]:
        """Its trials, in order of their numbers; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def trial_id(self, number: int) -> int:
        """What the storage calls a trial."""
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)

    @property
    def study_id(self) -> int:
        """What the storage calls the study."""
        return self.storage.get_study_id_from_name(self.study.study_name)

    def reached(self) -> AbstractContextManager[None]:
        """Within the block, what goes wrong with a database is raised as a `DatabaseError`, which is an OSError."""
        return nullcontext() if self.database is None else self.database.reached()

    def reopen(self, directory: Path, numbers: set[int]) -> None:
        """Make trials unfinished that have finished; the study has to be opened anew.

        Args:
            directory: Of the sweep.
            numbers: Of the trials, with which no other process works.

        Raises:
            ConfigError: If the database can't do that.
            OSError: If it can't be written.
        """
        if self.database is None:
            reopen(directory / STUDY, numbers)
        else:
            reopen_in(self.database, [self.trial_id(number) for number in numbers])


def open_or_create(
    directory: Path,
    about: Mapping[str, dict[str, Any]],
    pruner: PrunerName,
    *,
    alone: bool,
    database: Database | None = None,
) -> tuple[OpenStudy, list[str]]:
    """The study of a sweep.

    Args:
        directory: Of the sweep.
        about: What the study is about.
        pruner: How its trials are given up early.
        alone: Whether no other process works on it.
        database: Keeps it; None keeps it in the directory. One that has been there moves into the database.

    Returns:
        The study, and what had to be mended, in lines.

    Raises:
        ConfigError: If it is about something else, belongs to another directory, or can't be mended.
        OSError: If it can't be read or written.
    """
    place = _same_place(directory, database)
    if database is None:
        return _in_journal(directory, about, pruner, alone=alone)
    said: list[str] = []
    before: OpenStudy | None = None
    if place is None and (directory / STUDY).exists():
        if not alone:
            raise ConfigError(f"{KEY}: another process works on {directory} without a database; wait for its end")
        before, said = _in_journal(directory, about, pruner, alone=True)
    with database.reached():
        opened = _in_database(database, directory, place, about)
        _tell(opened.study, about, pruner)
        if before is not None:
            earlier = before.trials()
            for trial in earlier[len(opened.trials()) :]:
                opened.storage.create_new_trial(opened.study_id, template_trial=trial)
            said.append(f"the study moves from {STUDY} to {database.shown}, with its {len(earlier)} trials")
    if place is None:
        write_place(directory, database, opened.study.study_name)
        with suppress(FileNotFoundError):
            (directory / STUDY).replace(directory / f"{STUDY}.moved")
    opened.study.pruner = make_pruner(pruner)
    return opened, said


def _same_place(directory: Path, database: Database | None) -> Place | None:
    """Where the directory says its study is.

    Raises:
        ConfigError: If the command says nothing of a database.
    """
    place = read_place(directory)
    if place is not None and database is None:
        raise ConfigError(
            f"the study of {directory} is in a database: give {KEY}={place.storage} too, with its password if it "
            f"needs one; or remove {PLACE} there, and the study is made anew from the reports"
        )
    return place


def _in_database(
    database: Database, directory: Path, place: Place | None, about: Mapping[str, dict[str, Any]]
) -> OpenStudy:
    """The study in a database, which no other directory has.

    Raises:
        ConfigError: If one of that name is another directory's or about something else, or ours is somewhere else.
    """
    storage, token = database.storage(), sweep_token(directory)
    name = directory.name if place is None else place.name
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        deadline = time.monotonic() + _PATIENCE_S
        while SWEEP not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.2)  # whoever has just made it will say whose it is, unless it was killed
    except KeyError:
        if place is not None and place.storage != database.shown:
            raise ConfigError(
                f"{KEY}: the study of {directory} is in {place.storage}, not in {database.shown}: give that one, or "
                f"remove {PLACE} there, and the study is made anew from the reports"
            ) from None
        with suppress(optuna.exceptions.DuplicatedStudyError):
            optuna.create_study(study_name=name, storage=storage, directions=_directions(about))
        study = optuna.load_study(study_name=name, storage=storage)
    attributes = study.user_attrs
    if SWEEP not in attributes and not study.get_trials(deepcopy=False):
        study.set_user_attr(SWEEP, token)
        study.set_user_attr("directory", str(directory))
    elif attributes.get(SWEEP) != token:
        owner = attributes.get("directory")
        raise ConfigError(
            f"{database.shown} has a study {name!r} of another sweep{f' ({owner})' if owner else ''}: choose another "
            "sweep.name"
        )
    _require_same(attributes, about, directory)
    return OpenStudy(study, storage, database)


def _directions(about: Mapping[str, dict[str, Any]]) -> list[Literal["minimize", "maximize"]]:
    return ["maximize" if mode == "max" else "minimize" for mode in about["objective"].values()]


def _tell(study: optuna.Study, about: Mapping[str, dict[str, Any]], pruner: PrunerName) -> None:
    known = study.user_attrs
    for name, value in {**about, "pruner": pruner}.items():
        if known.get(name) != value:
            study.set_user_attr(name, value)


def _in_journal(
    directory: Path, about: Mapping[str, dict[str, Any]], pruner: PrunerName, *, alone: bool
) -> tuple[OpenStudy, list[str]]:
    """The study in the sweep's directory, and what had to be mended."""
    directions = _directions(about)
    mended = heal(directory / STUDY, NAME, [int(StudyDirection[name.upper()]) for name in directions], alone=alone)
    storage = study_storage(directory)
    if NAME in {summary.study_name for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}:
        study = optuna.load_study(study_name=NAME, storage=storage, pruner=make_pruner(pruner))
        _require_same(study.user_attrs, about, directory)
    else:
        study = optuna.create_study(
            study_name=NAME, storage=storage, pruner=make_pruner(pruner), directions=directions, load_if_exists=True
        )
    _tell(study, about, pruner)
    return OpenStudy(study, storage), mended


def runs_by_number(directory: Path) -> dict[int, tuple[Path, Report]]:
    """Number of a trial -> directory and report of its run, of those that lie in a sweep's directory."""
    numbered = ((_NUMBER.match(path.name), path, report) for path, report in runs_in(directory))
    return {int(found[1]): (path, report) for found, path, report in numbered if found is not None}


def _require_same(previous: Mapping[str, Any], about: Mapping[str, dict[str, Any]], directory: Path) -> None:
    """Refuse to go on with a study that is about something else.

    Raises:
        ConfigError: If it is.
    """
    differing = []
    for name, now in about.items():
        before = previous.get(name)
        if not isinstance(before, dict) or before == now:
            continue
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        told = ", ".join(f"{key}: {before.get(key)} there, {now.get(key)} here" for key in keys)
        differing.append(f"{_OTHER[name]} ({told})")
    if differing:
        raise ConfigError(
            f"{directory} holds a search with {' and '.join(differing)}: its trials can't be compared "
            "with these. Choose another sweep.name, or the settings it had"
        )
