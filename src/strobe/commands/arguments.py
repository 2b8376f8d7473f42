"""What a typed command is rewritten to before Hydra sees it; without torch."""

import re
from collections.abc import Sequence
from pathlib import Path

from strobe.config.slips import in_full, takes
from strobe.errors import ConfigError

_GLUED = re.compile("(-c)(job|hydra|all)")
_OF_HYDRA = re.compile(r"[+~]*hydra[./@=]")


def flag_first(arguments: Sequence[str]) -> list[str]:
    """Hydra takes overrides only in one piece, so flags between them have to move."""
    flags: list[str] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        argument = words.pop(0)
        takes_next = takes(argument, words[0] if words else None) and bool(words)
        (flags if argument.startswith("-") else others).append(argument)
        flags += [words.pop(0)] if takes_next else []
    return [*flags, *others]


def unglued(arguments: Sequence[str]) -> list[str]:
    """A command in which ``-cjob`` is ``-c job``."""
    parts = [(argument, _GLUED.fullmatch(argument)) for argument in arguments]
    return [word for argument, glued in parts for word in (glued.groups() if glued else [argument])]


def with_absolute_path(arguments: Sequence[str]) -> list[str]:
    """Have ``--config-path`` mean what a person means by a path; to Hydra, a relative one is relative to our source."""
    rewritten = list(arguments)
    for index, argument in enumerate(rewritten):
        name, separator, value = argument.partition("=")
        if in_full(name) != "--config-path":
            continue
        if separator:
            rewritten[index] = f"{name}={Path(value).expanduser().resolve()}"
        elif index + 1 < len(rewritten):
            rewritten[index + 1] = str(Path(rewritten[index + 1]).expanduser().resolve())
    return rewritten


def refuse_unpickling(arguments: Sequence[str]) -> None:
    """Refuse Hydra's flag that loads a pickled config, which is a program, from a run directory.

    Raises:
        ConfigError: If it is given, also in short.
    """
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--e") and "--experimental-rerun".startswith(name):
            raise ConfigError(f"{argument}: refused, because a pickled config may run anything; use resume=<run dir>")


def without_trust(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command without ``--trust <package>``, which is not Hydra's, and the packages.

    Raises:
        ConfigError: If none is named.
    """
    rest: list[str] = []
    packages = []
    given = iter(arguments)
    for argument in given:
        name, separator, value = argument.partition("=")
        if name != "--trust":
            rest.append(argument)
            continue
        package = value if separator else next(given, "")
        if not package:
            raise ConfigError("--trust: name a package, for example --trust my_models")
        packages.append(package)
    return rest, packages


def flag_values(arguments: Sequence[str], *names: str) -> list[str]:
    """What was given to flags with a value, however they are written."""
    values = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, separator, value = argument.partition("=")
        if in_full(name) in names:
            values.append(value if separator else following)
    return values


def parts_of(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """A command's flags with their values, the overrides that are Hydra's own, and all other overrides."""
    flags: list[str] = []
    of_hydra: list[str] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        argument = words.pop(0)
        if takes(argument, words[0] if words else None):
            flags += [argument, *words[:1]]
            del words[:1]
        elif argument.startswith("-"):
            flags.append(argument)
        else:
            (of_hydra if _OF_HYDRA.match(argument) else others).append(argument)
    return flags, of_hydra, others
