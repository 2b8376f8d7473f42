"""The command lines of the commands that are not Hydra's."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from strobe.commands.surroundings import settle
from strobe.commands.versions import Version
from strobe.config.spelling import nearest
from strobe.machine.program import typed
from strobe.machine.terminal import tell
from strobe.machine.text import printable

_LACKS = re.compile(r"the following arguments are required: .+")
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<typed>.+)")
_CHOICE = re.compile(r"(?P<what>argument .+: invalid choice: '(?P<typed>.*)') \(choose from (?P<known>.+)\)")
_EXAMPLES = {"run": "outputs/train/<date>/<time>", "pictures": "picture.png", "name": "my_project"}
_IN_A_CHECKOUT = re.compile(r"python -m src\.(\w+)")


def as_typed(text: str) -> str:
    """A text with its commands as they are typed where this one was: in a checkout, or by the installed program."""
    return _IN_A_CHECKOUT.sub(lambda found: " ".join(typed(found[1])), text)


class Parser(argparse.ArgumentParser):
    """Python's own, under the name that the command is typed with; what it refuses is told without steering a terminal.

    Args:
        command: Its name.
        settings: Of `argparse.ArgumentParser`.
    """

    def __init__(self, command: str, **settings: Any) -> None:
        settle()
        described = as_typed(settings.pop("description", None) or "")
        super().__init__(prog=" ".join(typed(command)), description=described, **settings)
        self.add_argument("--version", action=Version, help="what is installed")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What was typed, where no flag is typed as an override is, ``top=3``."""
        words = [str(word) for word in (sys.argv[1:] if args is None else args)]
        for before, word in zip(["", *words], words, strict=False):
            key, separator, value = word.partition("=")
            flag = f"--{key.strip().lower().replace('_', '-')}"
            action = next((action for action in self._actions if flag in action.option_strings), None)
            if separator and action is not None and not before.startswith("-") and not Path(word).exists():
                given = f"{flag} {value}" if action.nargs != 0 else flag
                self.error(f"{word}: is a flag of this command; did you mean {given.strip()}?")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse a command line, in a line."""
        tell(printable(f"{self.prog}: {self._in_words(message)}"))
        raise SystemExit(2)

    def _in_words(self, message: str) -> str:
        if _LACKS.fullmatch(message):
            message = message.removesuffix(", overrides")  # of which there may be none
            shown = " ".join(_EXAMPLES[name] for name in _EXAMPLES if name in self._takes())
            return f"{message}, as in {self.prog} {shown}" if shown else message
        if unknown := _UNKNOWN.fullmatch(message):
            flag = unknown["typed"].split()[0].partition("=")[0]
            guess = nearest(flag, self._flags()) if flag.startswith("-") else None
            also = " and overrides, key=value without dashes" if "overrides" in self._takes() else ""
            return f"{message}; did you mean {guess}?" if guess else f"{message}; {self._known()}{also}"
        if choice := _CHOICE.fullmatch(message):
            guess = nearest(choice["typed"], re.findall(r"'([^']*)'", choice["known"]))
            hint = f"did you mean {guess}? " if guess else ""
            return f"{choice['what']}; {hint}There are: {choice['known'].replace(chr(39), '')}"
        return message

    def _takes(self) -> Sequence[str]:
        return [action.dest for action in self._actions if not action.option_strings]

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]

    def _known(self) -> str:
        return f"there are {', '.join(self._flags())}"
