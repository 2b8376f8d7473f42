"""Where the shipped configs are; for those that ask without Hydra."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent

CONF = next(place for place in (_PACKAGE / "conf", _PACKAGE.parent.parent / "conf") if place.is_dir())
"""The shipped configs: within the installed package, or in a checkout beside `src`."""
