"""Where datasets are kept unless a person says otherwise; needs no torch."""

import os
from pathlib import Path


def default_root() -> Path:
    """The per-user cache: ``$XDG_CACHE_HOME/strobe``, by default ``~/.cache/strobe``."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "strobe"
