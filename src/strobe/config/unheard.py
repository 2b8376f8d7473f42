"""Words of a command that no config has, found before Hydra composes one in vain."""

import re
from collections.abc import Sequence
from pathlib import Path

from strobe.config.overrides import mistakes_of

_SETS = re.compile(r"(?!hydra\b)(?P<key>[\w-]+(?:\.[\w-]+)*)=(?P<value>.*)", re.DOTALL)
_OPTION = re.compile(r"(?!null$)[\w-]+")
_NAME = re.compile(r"[\w-]+(?=\s*:)")


def unheard_of(arguments: Sequence[str], conf: Path) -> list[str]:
    """What is wrong with a command in which a key or an option is named that no config has.

    Args:
        arguments: The command line without the program.
        conf: The config directory.

    Returns:
        Every mistake of the command, one line each; nothing where each word is heard of, which may still be wrong in
        its place, or where configs are looked for elsewhere too, in a run that is resumed for example.
    """
    if any(text.startswith(("-c", "--c", "hydra.searchpath", "resume=")) for text in arguments):
        return []
    set_here = [found.group("key", "value") for text in arguments if (found := _SETS.fullmatch(text))]
    options = [conf / key / value for key, value in set_here if (conf / key).is_dir() and _OPTION.fullmatch(value)]
    keys = [key for key, _ in set_here if not (conf / key).is_dir()]
    wrong = not all(option.with_suffix(".yaml").is_file() for option in options)
    if wrong or (keys and not _names(conf).issuperset(".".join(keys).split("."))):
        return mistakes_of(arguments, conf)
    return []


def _names(conf: Path) -> set[str]:
    """Whatever is in front of a colon in a config, and the groups."""
    files = [path.read_text(encoding="utf-8") for path in conf.rglob("*.yaml")]
    return {*_NAME.findall("\n".join(files)), *(path.name for path in conf.iterdir())}
