"""One process at a time trains in a run directory."""

import errno
import os
import socket
import sys
from pathlib import Path

from strobe.errors import ConfigError
from strobe.record.report import Report, read_report

if sys.platform != "win32":
    import fcntl

_HELD = (errno.EAGAIN, errno.EACCES)  # the latter where locks are emulated

_held: set[int] = set()  # file descriptors


class RunLock:
    """Holds a run directory until it is released or this process ends, however it ends.

    The lock is the system's, on the directory itself: it leaves nothing behind, and the processes that this one forks
    have no part in it. Between machines that don't share locks, and where a file system has none, a report that says
    ``running`` and whose process is not known to be gone keeps others away.

    Args:
        directory: Of the run; it exists.

    Raises:
        ConfigError: If another process trains in it.
    """

    def __init__(self, directory: Path) -> None:
        self._file = _locked(directory)
        try:
            self.require_alone(directory)
        except ConfigError:
            self.release()
            raise

    def require_alone(self, directory: Path) -> None:
        """Refuse if a process on a machine that shares no locks with this one trains there.

        Args:
            directory: The one that is locked.

        Raises:
            ConfigError: If one does.
        """
        running = _running(directory)
        # A copy of a running run says so too; on this machine the lock knows better.
        if running is not None and (self._file is None or running.get("host") != socket.gethostname()):
            raise ConfigError(_is_trained(directory, running))

    def release(self) -> None:
        """Let others train here."""
        _let_go(self._file)
        self._file = None


def require_idle(directory: Path) -> None:
    """Refuse a run directory in which a process trains, on this machine or another.

    Raises:
        ConfigError: If one does.
    """
    RunLock(directory).release()


def is_held(directory: Path) -> bool | None:
    """Whether a process trains in a directory, as the system's locks have it; None where these can't be asked.

    Whoever trains holds the lock before its report says ``running``, and until its end is written down. A process on
    a machine that does not share locks with this one is not seen.
    """
    try:
        file = _locked(directory)
    except FileNotFoundError:
        return False
    except ConfigError:
        return True
    except OSError:
        return None
    _let_go(file)
    return None if file is None else False


def being_trained(running: Report | None) -> str:
    """Who is training a run, in words: as a report that says ``running`` has it; None where there is none."""
    by = "another process" if running is None else f"process {running.get('pid')} on {running.get('host')}"
    return f"is being trained by {by}"


def _locked(directory: Path) -> int | None:
    """A file descriptor that holds the lock; None where the file system has no locks.

    Raises:
        ConfigError: If another process holds it.
    """
    if sys.platform == "win32":  # no locks on directories there
        return None
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in _HELD:
            raise ConfigError(_is_trained(directory, _running(directory))) from None
        return None  # ENOLCK, ENOSYS, EOPNOTSUPP, EBADF, ...: a network's file system has many words for it
    _held.add(file)
    return file


def _running(directory: Path) -> Report | None:
    """The report of a run whose process is not known to be gone."""
    try:
        report = read_report(directory)
    except ConfigError:  # no run, or none that can be read: whoever asks is told elsewhere
        return None
    return report if report["status"] == "running" else None


def _is_trained(directory: Path, running: Report | None) -> str:
    return f"{directory} {being_trained(running)}: wait until it has ended, or stop it"


def _let_go(file: int | None) -> None:
    if file in _held:  # else it has been forgotten in a fork
        _held.remove(file)
        os.close(file)


def _forget() -> None:
    while _held:
        os.close(_held.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
