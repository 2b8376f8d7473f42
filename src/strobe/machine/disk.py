"""What a person is told when a file can't be written."""

import errno
import shutil
from pathlib import Path

from strobe.errors import ConfigError, RunError
from strobe.machine.text import printable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_THE_DISK = (*_FULL, errno.EIO)


def trouble(error: OSError, path: Path) -> str:
    """An error of the file system in a line that names the file and says how much room there is.

    Args:
        error: What was raised.
        path: What was being written, for an error that doesn't say it.
    """
    named = Path(error.filename) if isinstance(error.filename, str) else path
    reason = error.strerror or str(error) or type(error).__name__
    return printable(f"can't write {named}: {reason}{_room(named)}")


def disk_error(error: OSError, path: Path) -> RunError:
    """What ends a command that can't write; see `trouble`. A full disk is no mistake of the command."""
    kind = RunError if error.errno in _OF_THE_DISK else ConfigError
    return kind(trouble(error, path))


def full_disk(error: BaseException) -> OSError | None:
    """The error that says that nothing more can be written: this one, or what it was raised from."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:  # it can lead back to itself
        chain.append(following)
        following = following.__cause__ or following.__context__
    return next((each for each in chain if isinstance(each, OSError) and each.errno in _FULL), None)


def _room(path: Path) -> str:
    """How much is free where a file lies; empty where that can't be told."""
    for folder in (path, *path.parents):
        try:
            free = shutil.disk_usage(folder).free
        except (OSError, ValueError):
            continue
        unit, size = ("GB", 1e9) if free >= 1e9 else ("MB", 1e6)
        return f" ({free / size:.1f} {unit} are free there)"
    return ""
