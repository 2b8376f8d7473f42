"""Others' code, run so that it can write no file and reach no network: what would is told that it may not."""

import os
import sys
import threading
from typing import Any, Self

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FORBIDDEN = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "urllib.Request"),
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("shutil.", "tempfile.", "sqlite3.connect"),
)
"""Beginnings of the names under which Python announces what it is about to do."""


class LeftSeclusionError(PermissionError):
    """Raised in place of a write or a connection; an OSError, as a full disk or a dead network would be."""


class Seclusion:
    """A context in which this thread can't write a file, start a process or open a connection.

    Python's own caches of compiled modules are left unwritten without a word: an import goes on.

    Attributes:
        was_left: Whether anything was refused.
    """

    def __init__(self) -> None:
        self.was_left = False

    def __enter__(self) -> Self:
        """Begin to refuse."""
        _install()
        _here.within = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        """Refuse nothing any more."""
        _here.within = None
        return None


class _Here(threading.local):
    within: Seclusion | None = None


_here = _Here()
_installed: list[bool] = []


def _install() -> None:
    """Ask to be told what Python is about to do; once, because Python never stops telling."""
    if not _installed:
        sys.addaudithook(_refuse)
        _installed.append(True)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    within = _here.within
    if within is None:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES and arguments[0] != os.devnull
    if not (writes or event.startswith(_FORBIDDEN)):
        return
    caches = event in ("open", "os.mkdir", "os.rename") and "__pycache__" in str(arguments[0])
    within.was_left = within.was_left or not caches
    raise LeftSeclusionError(f"{event} is refused while a config is only tried")
