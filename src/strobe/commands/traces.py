"""The directory that a command makes, and how it is taken back where the command turns out to be wrong."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.rank import process_rank
from strobe.record.layout import CHANGES, CHECKPOINTS, CONFIG, EPOCHS, PACKAGES, REPORT

_OURS = (REPORT, CONFIG, PACKAGES, CHANGES, ".hydra", "tensorboard")


@dataclass(frozen=True)
class _Made:
    directory: Path
    folders: Sequence[Path]  # that were not there before, the innermost first
    before: frozenset[str]  # what it held
    ours: tuple[str, ...]


_made: _Made | None = None


def make_directory(directory: Path, log: str, *, new: bool) -> None:
    """Make a run's directory; `take_back` undoes it.

    Args:
        directory: Of the run.
        log: Name of its log file.
        new: Whether the run begins, and is not resumed.

    Raises:
        ConfigError: If it can't be made or written to.
    """
    global _made
    directory = directory.absolute()
    folders = _make(directory, "hydra.run.dir")
    before = frozenset(path.name for path in directory.iterdir())
    _made = _Made(directory, folders, before, (*_OURS, log) if new else (log,))


def require_writable(directory: Path) -> None:
    """Refuse a sweep's directory that can't be made or written to; it is made later.

    Raises:
        ConfigError: If it can't be.
    """
    _remove(_make(directory.absolute(), "hydra.sweep.dir"))


def take_back() -> None:
    """Remove what a refused command has made: a new directory, and in one that was there what has come of it.

    Nothing is removed where something was trained, or another process trains. A job of a sweep keeps what it has:
    there, being refused is a result.
    """
    if _made is None or process_rank() > 0 or multiprocessing.parent_process() is not None:
        return
    directory = _made.directory
    if not directory.is_dir() or any((directory / name).exists() for name in (CHECKPOINTS, EPOCHS)):
        return
    if _holds_anothers_run(directory):
        return
    for path in list(directory.iterdir()):
        if path.name in _made.before:
            continue
        if path.name in _made.ours or path.match("train_rank_*.log"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    _remove(_made.folders)


def _make(directory: Path, key: str) -> Sequence[Path]:
    """Make a directory and those above it; returns the ones that were not there, the innermost first."""
    folders: list[Path] = []
    try:
        str(directory).encode()
        folders += [folder for folder in (directory, *directory.parents) if not folder.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except (FileExistsError, NotADirectoryError):
        reason = "there is something that is no directory"
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeEncodeError:
        reason = "its name is no text in UTF-8"
    else:
        return folders
    _remove(folders)
    raise ConfigError(f"{key}={str(directory)!r:.300}: can't be written to: {reason}; choose another with {key}=<dir>")


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # something else has begun to use it
            folder.rmdir()


def _holds_anothers_run(directory: Path) -> bool:
    from strobe.record.lock import require_idle  # what a command that is refused early has no use for
    from strobe.record.report import read_report

    try:
        require_idle(directory)
        return (directory / REPORT).exists() and read_report(directory).get("pid") != os.getpid()
    except (OSError, ConfigError):
        return True
