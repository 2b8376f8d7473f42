"""Test a run's best checkpoint again: `python -m src.evaluate <run dir> [--json] [overrides]`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.trust import add_flag
from strobe.errors import exit_code
from strobe.machine.program import typed
from strobe.record.layout import BEST


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog=" ".join(typed("evaluate")), description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("overrides", nargs="*", help="changes to the run's config, as in trainer.accelerator=cpu")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)
    try:
        from strobe.run.evaluation import evaluate  # torch: not for --help or a wrong flag

        metrics = evaluate(options.run, options.overrides, options.checkpoint, options.trust)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if options.json:
        print(json.dumps(metrics))
    else:
        for name, value in sorted(metrics.items()):
            print(f"{name}  {value!r}")
    return 0
