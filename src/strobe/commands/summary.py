"""Parameters, operations and shapes: `python -m src.summary [model=<name>] [data=<name>] [--config-dir <dir>]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.arguments import flag_values, parts_of
from strobe.commands.parser import as_typed
from strobe.commands.surroundings import importing, settle
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
        return answer(as_typed(__doc__))
    try:
        own = next(iter(flag_values(overrides, "--config-dir")), None)
        _, of_hydra, others = parts_of(overrides)
        overrides = of_hydra + others if own is not None else overrides
        if any(override.startswith(("model=", "experiment=")) for override in overrides):
            cfg = composed(overrides, own)
            with importing():  # not for --help or a wrong override
                from strobe.run.summary import details

            return answer(details(cfg))
        places = [CONF] if own is None else [CONF, Path(own)]
        names = sorted({path.stem for place in places for path in (place / "model").glob("*.yaml")})
        configs = {name: composed([f"model={name}", *overrides], own) for name in names}
        with importing():  # likewise
            from strobe.run.summary import overview

        return answer(overview(configs))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
