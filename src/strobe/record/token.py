"""What tells one sweep's directory from another, on every machine that sees it: a random name in a file."""

import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from strobe.errors import ConfigError
from strobe.record.files import create, read_bounded
from strobe.record.layout import TOKEN

_PATIENCE_S = 5.0  # for another process to end its writing, where a file system has no hard links
_FORM = re.compile(r"[0-9a-f]{32}\n")


def sweep_token(directory: Path, *, make: bool = True) -> str:
    """The token of a sweep's directory; of several processes that ask at once, all get the first one's.

    Args:
        directory: Of the sweep; exists.
        make: Whether one is made where there is none.

    Raises:
        ConfigError: If it is damaged.
        OSError: If it can't be read or written; `FileNotFoundError` if there is none, and none is to be made.
    """
    path = directory / TOKEN
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(FileExistsError):
            if make and not path.exists():
                create(path, f"{secrets.token_hex(16)}\n")
        try:
            text = read_bounded(path, 1000).decode(errors="replace")
        except FileNotFoundError:
            if not make or time.monotonic() > deadline:
                raise
            continue
        except ValueError:
            text = ""
        if _FORM.fullmatch(text):
            return text.strip()
        if text or time.monotonic() > deadline:
            raise ConfigError(f"{path} is damaged: if no other process works on this sweep, remove it")
        time.sleep(0.05)
