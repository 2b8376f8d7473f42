"""Files that are whole or not there, whenever the process or the machine ends; and those of others, read with care."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEFTOVERS = ".*.tmp"
"""Pattern of what a process that was killed in the middle of `replacing` leaves."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of file systems that have no hard links


class NotRegularError(OSError):
    """There is something else than a file with a content."""


@contextmanager
def replacing(path: Path, *, ending: str = "") -> Iterator[Path]:
    """Give a path to write to, beside ``path``; what is there when the block is left takes its place.

    A reader, or a process killed in between, sees the old or the new content whole. After an error the old remains.

    Args:
        path: The file to replace.
        ending: Of the temporary name, for writers that look at it.

    Raises:
        OSError: If it can't be written; the error names ``path``.
    """
    temporary = _temporary(path, ending)
    try:
        with named_errors(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Have an OSError say which file it is about: a full disk is met in a write or a flush, which know of no name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def create(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Make a file that must not be there: whole from the first moment, and of several at once one makes it.

    Args:
        path: The file.
        text: Its content.
        mode: Its permissions, less what the process's umask takes away.

    Raises:
        FileExistsError: If it is there.
    """
    made = _temporary(path)
    try:
        with open(made, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)  # a rename would replace what is there
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            path.touch(exist_ok=False)
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def regular_file(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of a file that may be anyone's, opened without waiting for whoever is at its other end.

    Args:
        path: A file.
        flags: As `os.open` takes them.

    Raises:
        NotRegularError: If it is a pipe, a device, a directory, or such.
        OSError: If it can't be opened.
    """
    # O_NONBLOCK: to open a pipe would wait. O_NOCTTY: a terminal must not become this process's. Not on Windows.
    further = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
    descriptor = os.open(path, flags | further, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file that may be anyone's.

    Args:
        path: A file.
        limit: The most bytes that it may have.

    Raises:
        OSError: If it can't be read, or is a directory, a pipe or a device.
        ValueError: If it is larger.
    """
    content = b""
    with regular_file(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size <= limit:
            with open(descriptor, "rb", closefd=False) as file:  # no path, a descriptor
                content = file.read(limit + 1)
    if max(size, len(content)) > limit:
        raise ValueError(f"it is larger than {limit / 1e6:g} MB")
    return content


def _temporary(path: Path, ending: str = "") -> Path:
    # At random, too: a process on another machine that shares the directory may have the same number.
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp{ending}")


def sweep_leftovers(directory: Path, *, older_than_s: float = 0.0) -> None:
    """Delete what killed processes have left in a directory.

    Args:
        directory: The directory.
        older_than_s: Seconds; above 0 where other processes may be writing.
    """
    leftovers = list(directory.glob(LEFTOVERS))
    now = clock_of(directory) if leftovers and older_than_s else None
    for leftover in leftovers:
        with suppress(FileNotFoundError):
            if now is None or now - leftover.stat().st_mtime >= older_than_s:
                leftover.unlink()


def clock_of(directory: Path) -> float:
    """The time by which a directory's files are stamped: on NFS that of the server, which need not be this machine's.

    Raises:
        OSError: If no file can be made there.
    """
    # Has no name, or one that `sweep_leftovers` knows for an instant, so nothing of it is left.
    with tempfile.TemporaryFile(dir=directory, prefix=".clock-", suffix=".tmp", buffering=0) as probe:
        if os.utime in os.supports_fd:
            os.utime(probe.fileno())  # to the time of whoever keeps the file, by NFS's protocol
        return os.fstat(probe.fileno()).st_mtime
