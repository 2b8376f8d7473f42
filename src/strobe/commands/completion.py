"""What makes Tab complete commands, groups, keys, values and runs: `eval "$(strobe completion bash)"`; zsh, fish too.

The shell's function asks `strobe completion --answer`, or in a checkout `python -m src.completion --answer`, which
reads the config files itself: Hydra's own completion composes first, and knows only commands that are files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.candidates import candidates, words_of
from strobe.commands.parser import Parser
from strobe.commands.surroundings import settle
from strobe.machine.streams import answer
from strobe.machine.text import printable

_SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--answer"]:  # no parser: it would take a millisecond, and the words for its own
        words = words_of(given[2]) if given[1:2] == ["--line"] and len(given) == 3 else given[1:]
        settle()
        # A name that ends a line or steers the terminal can't be offered in one.
        found = [(word, printable(about)) for word, about in candidates(words) if printable(word) == word]
        lines = [f"{word}\t{about}" if about else word for word, about in found]
        return answer("\n".join(lines)) if lines else 0
    parser = Parser("completion", description=__doc__)
    parser.add_argument("shell", choices=_SHELLS, help="the shell that is to complete")
    options = parser.parse_args(given)
    return answer((Path(__file__).parent / "shells" / f"strobe.{options.shell}").read_text(encoding="utf-8").rstrip())
