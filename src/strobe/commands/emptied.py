"""What is left of a sweep whose jobs are gone: its own files, by their names, and nothing else."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from strobe.errors import ConfigError
from strobe.record.layout import STUDY, TOKEN

_LOCKS = ".locks"
_OWN = {TOKEN, ".lock", ".ask.lock", ".study.lock", _LOCKS, "multirun.yaml", STUDY}
_OF_A_REPORT = {"summary.csv", "summary.md", "report.html"}


def is_emptied(sweep: Path, gone: Iterable[Path] = ()) -> bool:
    """Whether a directory is that of a sweep, and holds nothing but the sweep's own files.

    Args:
        sweep: The directory.
        gone: Runs that are about to be removed.
    """
    if sweep.is_symlink() or not (sweep / TOKEN).is_file() or Path.cwd().is_relative_to(sweep.resolve()):
        return False
    jobs = {run.name for run in gone if run.parent == sweep}
    entries = [entry for entry in sweep.iterdir() if entry.name not in jobs]
    return all(_is_own(entry) for entry in entries)


def remove_emptied(sweep: Path) -> None:
    """Remove the files by their names, while no process can begin to sweep there.

    Raises:
        ConfigError: If one does, or the directory is no longer what the person has been shown.
        OSError: If something can't be removed.
    """
    if not is_emptied(sweep):
        raise ConfigError(f"{sweep} holds more than an empty sweep by now")
    locks = [*sweep.glob(".*lock"), *(sweep / _LOCKS).glob("*.lock")]
    with ExitStack() as held:
        for path in locks:
            try:
                held.enter_context(FileLock(path).acquire(timeout=0))
            except Timeout:
                raise ConfigError(f"{sweep}: another process works on this sweep") from None
        for path in [*locks, *(entry for entry in sweep.iterdir() if not entry.is_dir())]:
            path.unlink(missing_ok=True)
        if (sweep / _LOCKS).is_dir():
            (sweep / _LOCKS).rmdir()
        sweep.rmdir()


def _is_own(entry: Path) -> bool:
    if entry.is_symlink() or entry.name not in _OWN | _OF_A_REPORT:
        return False
    if entry.name == _LOCKS:
        return entry.is_dir() and all(lock.suffix == ".lock" and lock.is_file() for lock in entry.iterdir())
    return entry.is_file()
