"""Words of a command that no config has, found before Hydra composes one in vain."""

import re
from collections.abc import Sequence
from pathlib import Path

from strobe.config.overrides import mistakes_of

_SETS = re.compile(r"(?P<key>[\w-]+(?:\.[\w-]+)*)=(?P<value>.*)", re.DOTALL)
_OPTION = re.compile(r"(?!null$)[\w-]+")
_NAME = re.compile(r"[\w-]+(?=\s*:)")
_ELSEWHERE = ("-", "+", "~", "hydra", "resume=", "sweep=")
"""What may bring in configs from elsewhere, add keys, or make a sweep of several."""


def unheard_of(arguments: Sequence[str], conf: Path) -> list[str]:
    """What is wrong with the command of a single run in which a key or an option is named that no config has.

    Args:
        arguments: The command line without the program.
        conf: The config directory.

    Returns:
        Every mistake of the command, one line each; nothing where each word is heard of, which may still be wrong in
        its place, and where it may have come from elsewhere.
    """
    if any(text.startswith(_ELSEWHERE) for text in arguments):
        return []
    set_here = [found.group("key", "value") for text in arguments if (found := _SETS.fullmatch(text))]
    if not set_here:
        return []
    try:
        names = _names(conf)
        heard_of = "searchpath" in names or all(_is_known(key, value, names, conf) for key, value in set_here)
    except (OSError, ValueError):  # a file that nobody chooses may be anything
        return []
    return [] if heard_of else mistakes_of(arguments, conf)


def _is_known(key: str, value: str, names: set[str], conf: Path) -> bool:
    """Whether a group has the one option that is chosen, or each part of a key is the name of something."""
    if (conf / key).is_dir():
        return not _OPTION.fullmatch(value) or (conf / key / f"{value}.yaml").is_file()
    return names.issuperset(key.split("."))


def _names(conf: Path) -> set[str]:
    """Whatever is in front of a colon in a config, and the groups.

    Raises:
        OSError: If a file can't be read.
        ValueError: If one is no text.
    """
    files = [path.read_text(encoding="utf-8") for path in conf.rglob("*.yaml")]
    return {*_NAME.findall("\n".join(files)), *(path.name for path in conf.iterdir())}
