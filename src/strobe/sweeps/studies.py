"""A search's study, opened: healed if its journal is damaged, and told what only the runs of its trials know."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from strobe.errors import ConfigError
from strobe.record.journal import heal
from strobe.record.layout import STUDY
from strobe.record.report import Report
from strobe.record.study import NAME, PrunerName, make_pruner, study_storage
from strobe.sweeps.jobs import runs_in

_OTHER = {"objective": "another objective", "space": "another space", "settings": "other settings"}
LOCKS = ".locks"
_NUMBER = re.compile(r"(\d{3,9})(_|$)")


@dataclass(frozen=True)
class OpenStudy:
    """A study and where it is kept.

    Attributes:
        study: As Optuna gives it.
        storage: Where it is kept.
    """

    study: optuna.Study
    storage: BaseStorage

    def trials(self) -> list[FrozenTrial]:
        """Its trials, in order of their numbers; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def trial_id(self, number: int) -> int:
        """What the storage calls a trial."""
        study_id = self.storage.get_study_id_from_name(NAME)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def open_or_create(
    directory: Path, about: Mapping[str, dict[str, Any]], pruner: PrunerName, *, alone: bool
) -> tuple[OpenStudy, list[str]]:
    """The study in a sweep's directory.

    Args:
        directory: Of the sweep.
        about: What the study is about.
        pruner: How its trials are given up early.
        alone: Whether no other process works on it.

    Returns:
        The study, and what had to be mended, in lines.

    Raises:
        ConfigError: If it is about something else, or can't be mended.
        OSError: If it can't be read or written.
    """
    modes = about["objective"].values()
    directions: list[Literal["minimize", "maximize"]] = ["maximize" if mode == "max" else "minimize" for mode in modes]
    mended = heal(directory / STUDY, NAME, [int(StudyDirection[name.upper()]) for name in directions], alone=alone)
    storage = study_storage(directory)
    if NAME in {summary.study_name for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}:
        study = optuna.load_study(study_name=NAME, storage=storage, pruner=make_pruner(pruner))
        _require_same(study.user_attrs, about, directory)
    else:
        study = optuna.create_study(
            study_name=NAME, storage=storage, pruner=make_pruner(pruner), directions=directions, load_if_exists=True
        )
    known = study.user_attrs
    for name, value in {**about, "pruner": pruner}.items():
        if known.get(name) != value:
            study.set_user_attr(name, value)
    return OpenStudy(study, storage), mended


def runs_by_number(directory: Path) -> dict[int, tuple[Path, Report]]:
    """Number of a trial -> directory and report of its run, of those that lie in a sweep's directory."""
    numbered = ((_NUMBER.match(path.name), path, report) for path, report in runs_in(directory))
    return {int(found[1]): (path, report) for found, path, report in numbered if found is not None}


class AtWork:
    """The processes that work on a search; each holds a lock while it does.

    Args:
        directory: Of the sweep.
    """

    def __init__(self, directory: Path) -> None:
        self._locks = directory / LOCKS
        self._own: Path | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of them.

        Raises:
            OSError: If there can be no lock.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        for number in count():
            own = FileLock(self._locks / f"driver{number}.lock")
            with suppress(Timeout):
                own.acquire(timeout=0)
                break
        self._own = Path(own.lock_file)
        try:
            yield
        finally:
            own.release()

    def is_alone(self) -> bool:
        """Whether this process is the only one."""
        for path in self._locks.glob("driver*.lock"):
            if path != self._own:
                try:
                    with FileLock(path, timeout=0):
                        pass
                except Timeout:
                    return False
        return True


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
