"""`null` and `~` said as Hydra has to be told: the option `none` of a group, or null for a value."""

from collections.abc import Sequence
from pathlib import Path

from strobe.config.rules import RULES

_NULL_ALREADY = ("experiment", "debug")  # groups of which no option is chosen unless one is typed
_OTHER_CONFIGS = ("--config-name", "-cn", "--config-path", "-cp")  # in which one may be
_CLASSES = ("data", "model", "optimizer", "scheduler", "loss", "task", "callbacks", "logger", "metrics")
_MAY_BE_NULL = ("trainer.max_time", "trainer.plugins", "trainer.profiler", "trainer.default_root_dir")


def said_plainly(arguments: Sequence[str], conf: Path) -> list[str]:
    """A command line with ``scheduler=none`` for ``scheduler=null`` and ``~scheduler``, and so on.

    What nothing can be said for is left as it is: it is refused later, in words.

    Args:
        arguments: As typed.
        conf: The shipped configs.
    """
    others = any(argument.partition("=")[0] in _OTHER_CONFIGS for argument in arguments)
    said: list[str] = []
    for argument in arguments:
        key = argument.removesuffix("=null").removeprefix("~")
        deletes = argument == f"~{key}"
        if not deletes and argument != f"{key}=null":
            said.append(argument)
        elif key in _NULL_ALREADY and not others:
            said = [other for other in said if not other.startswith(f"{key}=")]
        elif key.isidentifier() and (conf / key / "none.yaml").is_file():
            said.append(f"{key}=none")
        elif deletes and _may_be_null(key):
            said.append(f"{key}=null")
        else:
            said.append(argument)
    return said


def _may_be_null(key: str) -> bool:
    # A class of a person's own may not know what ours are given; there, ~ takes an argument away.
    is_argument = key.partition(".")[0] in _CLASSES
    is_read = key == "trainer.precision"  # null there is a precision, too
    return key in _MAY_BE_NULL or (key in RULES and not is_read and not is_argument and RULES[key].holds(None))
