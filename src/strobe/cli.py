"""The console script: `strobe <command> ...`, in any directory."""

import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from strobe.commands.names import COMMANDS as COMMANDS
from strobe.commands.names import ELSEWHERE
from strobe.machine.leaving import leave
from strobe.machine.streams import settle_streams
from strobe.machine.terminal import tell
from strobe.machine.text import printable


def script() -> NoReturn:
    """The command, as the program of its own that it is."""
    leave(main)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in COMMANDS:
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # a person's own models, as with `python -m`
        sys.argv = [f"strobe {command}", *rest]
        # A command imports what it needs, and no other command does.
        exit_code: int = import_module(f"strobe.commands.{command}").main()
        return exit_code
    settle_streams()
    # rich and Hydra: where one of them is missing, `doctor` is to say so.
    from strobe.commands.versions import versions
    from strobe.config.spelling import nearest
    from strobe.machine.table import aligned

    if command in ("-h", "--help"):
        print(f"usage: strobe <command> [arguments]\n\n{aligned(COMMANDS.items(), indent=2)}\n")
        print("strobe <command> --help tells more of each; strobe --version, what is installed.")
        return 0
    if command in ("-V", "--version"):
        print(versions())
        return 0
    if command.startswith("-") or "=" in command:  # what belongs to a command, and to this one most of all
        meant = shlex.join(["strobe", "train", command, *rest])
        tell(printable(f"strobe {command}: the command comes first; did you mean {meant}?"))
        return 2
    guess = ELSEWHERE.get(command.lower()) or nearest(command, COMMANDS)
    if command.lower() == "help" and rest and rest[0] in COMMANDS:
        guess = f"{rest[0]} --help"
    hint = f"did you mean strobe {guess}? There" if guess else "there"
    tell(printable(f"strobe {command}: no such command; {hint} are: {', '.join(COMMANDS)}"))
    return 2
