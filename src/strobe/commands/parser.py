"""The command lines of the commands that are not Hydra's."""

import argparse
from typing import Any, NoReturn

from strobe.commands.surroundings import settle
from strobe.machine.program import typed
from strobe.machine.text import printable


class Parser(argparse.ArgumentParser):
    """Python's own, under the name that the command is typed with; what it refuses is told without steering a terminal.

    Args:
        command: Its name.
        settings: Of `argparse.ArgumentParser`.
    """

    def __init__(self, command: str, **settings: Any) -> None:
        settle()
        super().__init__(prog=" ".join(typed(command)), **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        super().error(printable(message))
