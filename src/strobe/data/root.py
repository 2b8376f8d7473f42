"""Where datasets are kept unless a person says otherwise; needs no torch."""

import os
from pathlib import Path

from strobe.errors import ConfigError


def default_root() -> Path:
    """The per-user cache: ``$XDG_CACHE_HOME/strobe``, by default ``~/.cache/strobe``.

    Raises:
        ConfigError: If the user has no home.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(cache) if Path(cache).is_absolute() else expanded("~/.cache", "data.root")
    return base / "strobe"


def expanded(path: str, key: str) -> Path:
    """A path with the user's home in the place of ``~``.

    Args:
        path: What was typed.
        key: The setting that it is the value of.

    Raises:
        ConfigError: If there is no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{key}: {path} can't be found, there is no such home directory; give {key}=<dir>") from None
