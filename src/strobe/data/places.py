"""Where what is made of a person's data is kept: below the data root, or where else this process may write."""

import errno
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR

from filelock import FileLock, Timeout

from strobe.data.root import default_root
from strobe.errors import ConfigError, DatasetError

log = logging.getLogger(__name__)

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_QUIET_S = 1.0  # a wait that is not worth a word


def places(root: Path) -> list[Path]:
    """The data root, the per-user cache and a directory for temporary files, the best first."""
    found = [root]
    with suppress(ConfigError):  # a user without a home
        found.append(default_root())
    if (temporary := _temporary()) is not None:
        found.append(temporary)
    return list(dict.fromkeys(found))


@contextmanager
def locked(directories: Sequence[Path]) -> Iterator[Path]:
    """Keep other processes from the first of some directories that can be written to; it is made where it is missing.

    Raises:
        DatasetError: If there is none.
    """
    reasons = []
    for directory in directories:
        try:
            _make(directory)
            lock = _taken(directory)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            reasons.append(f"{directory}: {error.strerror}")
            continue
        try:
            if reasons:
                log.warning("Can't write to %s. Using %s instead", "; ".join(reasons), directory)
            yield directory
        finally:
            lock.release()
        return
    raise DatasetError(f"can't write to {'; '.join(reasons)}. Choose another data.root=<dir>")


def _make(directory: Path) -> None:
    if (temporary := _temporary()) is not None and directory.is_relative_to(temporary):
        temporary.mkdir(mode=0o700, exist_ok=True)
        if _temporary() is None:  # another was faster
            raise PermissionError(errno.EACCES, "it is another user's")
    directory.mkdir(parents=True, exist_ok=True)


def _taken(directory: Path) -> FileLock:
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=_QUIET_S)
    except Timeout:
        log.info("Another process works in %s, waiting for it", directory)
        lock.acquire()
    return lock


def _temporary() -> Path | None:
    """A directory that is, or is to be, this user's alone; None where another has taken its name."""
    directory = Path(tempfile.gettempdir()) / f"strobe-{os.getuid() if hasattr(os, 'getuid') else 'data'}"
    try:
        stat = directory.lstat()
    except OSError:
        return directory
    return directory if not hasattr(os, "getuid") or _is_private(stat) else None


def _is_private(stat: os.stat_result) -> bool:
    return S_ISDIR(stat.st_mode) and stat.st_uid == os.getuid() and not stat.st_mode & 0o77
