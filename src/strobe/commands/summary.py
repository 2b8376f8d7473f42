"""Parameters, operations and shapes of models: `python -m src.summary [model=<name>] [data=<name>] [overrides]`."""

import sys
from collections.abc import Sequence

from strobe.commands.surroundings import settle
from strobe.config.compose import CONF, composed
from strobe.machine.secrets import learn_typed
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    overrides = list(sys.argv[1:] if arguments is None else arguments)
    settle()
    learn_typed(overrides)
    if {"-h", "--help"} & set(overrides):
        return answer(__doc__)
    try:
        from strobe.run.summary import details, overview  # torch: not for --help

        if any(override.startswith("model=") for override in overrides):
            return answer(details(composed(overrides)))
        names = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
        return answer(overview({name: composed([f"model={name}", *overrides]) for name in names}))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
