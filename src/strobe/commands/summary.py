"""Parameters, operations and shapes of models: `python -m src.summary [model=<name>] [data=<name>] [overrides]`."""

import sys
from collections.abc import Sequence

from strobe.config.compose import CONF, composed
from strobe.errors import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    overrides = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(overrides):
        print(__doc__)
        return 0
    try:
        from strobe.run.summary import details, overview  # torch: not for --help

        if any(override.startswith("model=") for override in overrides):
            print(details(composed(overrides)))
        else:
            names = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
            print(overview({name: composed([f"model={name}", *overrides]) for name in names}))
    except Exception as error:
        return exit_code(error)
    return 0
