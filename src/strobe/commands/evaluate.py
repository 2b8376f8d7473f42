"""Test a run's best checkpoint again: `python -m src.evaluate <run dir> [--json] [overrides]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.trust import add_flag
from strobe.machine.logs import log_to_terminal
from strobe.machine.secrets import learn_typed
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.record.layout import BEST


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("overrides", nargs="*", help="changes to the run's config, as in trainer.accelerator=cpu")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)
    log_to_terminal()
    learn_typed(options.overrides)
    try:
        from strobe.run.evaluation import evaluate  # torch: not for --help or a wrong flag

        metrics = evaluate(options.run, options.overrides, options.checkpoint, options.trust)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    lines = [f"{name}  {value!r}" for name, value in sorted(metrics.items())]
    return answer(json.dumps(metrics) if options.json else "\n".join(lines))
