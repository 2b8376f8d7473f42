"""Whether a run's config is as this user has written it: signed with a key that no one else can read.

A config names classes, and a class is code: only the user's own is run without asking.
"""

import hashlib
import hmac
import logging
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from strobe.record.files import create, sweep_leftovers

log = logging.getLogger(__name__)

_KEY_CHARACTERS = 64  # hexadecimal
_PURPOSE = b"strobe config 1\n"  # the key may come to sign other things too
_LINE = re.compile(r"# signature: ([0-9a-f]{64})\n\Z")


class NoKeyError(Exception):
    """There is no key, and none can be made; says why."""


def signed(text: str) -> str:
    """The text with a last line that proves who wrote it; as it is where there is no key.

    One file, not two: a process that is killed leaves a signed config or none.
    """
    try:
        key = user_key()
    except NoKeyError as error:
        # A user without a home has none, and hears of it when it matters; a key that can't be used is to be mended.
        log.log(logging.WARNING if _is_there() else logging.DEBUG, "The run's config is not signed: %s", error)
        return text
    return f"{text}# signature: {_digest(key, text)}\n"


def is_signed(text: str) -> bool:
    """Whether the text is unchanged since this user has written it."""
    line = _LINE.search(text)
    if line is None:
        return False
    try:
        key = user_key(make=False)
    except NoKeyError:
        return False
    return hmac.compare_digest(line[1], _digest(key, text[: line.start()]))


def without_signature(text: str) -> str:
    """The text that was signed, or could be."""
    return _LINE.sub("", text)


def key_path() -> Path:
    """Where the key is: ``$XDG_STATE_HOME/strobe/key``, by default ``~/.local/state/strobe/key``.

    Raises:
        NoKeyError: If the user has no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if Path(state).is_absolute():  # the XDG base directory specification: a relative path is to be ignored
        return Path(state) / "strobe" / "key"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise NoKeyError(str(error)) from None
    if not home.is_dir():
        raise NoKeyError(f"there is no home directory {home}")
    return home / ".local" / "state" / "strobe" / "key"


def user_key(*, make: bool = True) -> bytes:
    """The key of this user.

    Args:
        make: Whether one is made where there is none.

    Raises:
        NoKeyError: If there is none, or others can read or replace it.
    """
    path = key_path()
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            if not make:
                raise
        _create(path)
        return _read(path)
    except OSError as error:
        raise NoKeyError(f"{path}: {error.strerror or error}") from None


def _is_there() -> bool:
    try:
        return key_path().exists()
    except (NoKeyError, OSError):
        return False


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, _PURPOSE + text.encode(), hashlib.sha256).hexdigest()


def _read(path: Path) -> bytes:
    """The key, if nobody else can have read it or put it there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts, around = os.fstat(descriptor), path.parent.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or around.st_uid != os.geteuid():
            raise NoKeyError(f"{path} is not a file of this user's in a directory of this user's")
        if facts.st_mode & 0o077 or around.st_mode & 0o022:
            raise NoKeyError(f"{path} can be read or replaced by others: chmod 700 {path.parent}; rm {path}")
        key = os.read(descriptor, _KEY_CHARACTERS + 1)
    finally:
        os.close(descriptor)
    if len(key) != _KEY_CHARACTERS:
        raise NoKeyError(f"{path} is damaged: rm {path}")
    if facts.st_nlink > 1:  # made by a process that was killed before it took its temporary name away
        sweep_leftovers(path.parent)
    return key


def _create(path: Path) -> None:
    """Make a key; of several processes that do so at once, all get the first one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError, FileNotFoundError):  # another was first, and may have swept up
        create(path, os.urandom(_KEY_CHARACTERS // 2).hex(), mode=0o600)
    sweep_leftovers(path.parent)
