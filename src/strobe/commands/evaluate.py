"""Test a run's best checkpoint again: `python -m src.evaluate <run dir> [--details] [--json] [overrides]`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_with_weights
from strobe.commands.surroundings import importing
from strobe.commands.trust import add_flag
from strobe.errors import ConfigError
from strobe.machine.disk import disk_error
from strobe.machine.logs import log_to_terminal
from strobe.machine.secrets import learn_typed
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.machine.text import printable
from strobe.machine.transient import doing
from strobe.record.details import FOLDER
from strobe.record.layout import BEST
from strobe.record.settings import strict


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("evaluate", description=__doc__)
    parser.add_argument("run", type=run_with_weights, help="a run directory, or latest")
    parser.add_argument("overrides", nargs="*", help="changes to the run's config, as in trainer.accelerator=cpu")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument(
        "--details",
        action="store_true",
        help="per class: precision, recall, F1; confusions, calibration, the surest mistakes; of a regression its "
        "errors; writes predictions.csv, details.json and pictures",
    )
    parser.add_argument("--out", type=Path, help=f"where --details writes (default: <run dir>/{FOLDER})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)
    if options.out is not None and not options.details:
        parser.error("--out says where --details writes: add --details")
    log_to_terminal()
    learn_typed(options.overrides)
    out = options.out or options.run / FOLDER
    try:
        require_run(options.run, "evaluate", map(Path, options.overrides))
        if options.details:
            return answer(
                _in_detail(options.run, options.overrides, options.checkpoint, options.trust, out, options.json)
            )
        with importing():  # not for --help or a wrong flag
            from strobe.run.evaluation import evaluate

        with doing("testing"):
            metrics = evaluate(options.run, options.overrides, options.checkpoint, options.trust)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    return answer(json.dumps(strict(metrics)) if options.json else _lines(metrics))


def _in_detail(
    directory: Path, overrides: Sequence[str], checkpoint: str, trust: Sequence[str], out: Path, as_json: bool
) -> str:
    """Test, write what was seen, and tell it."""
    there = next((path for path in (out, *out.parents) if os.path.lexists(path)), Path())
    if not there.is_dir():  # told now, and not after the test
        raise ConfigError(f"{there} is no directory; say where to write with --out DIR")
    if out == directory / FOLDER and not out.resolve().is_relative_to(directory.resolve()):
        raise ConfigError(f"{out} leads out of the run directory; say where to write with --out DIR")
    with importing():
        from strobe.record.details import as_plain
        from strobe.report.details import in_words, write_details  # matplotlib: not for a test alone
        from strobe.run.details import evaluate_in_detail

    with doing("testing"):
        tested = evaluate_in_detail(directory, overrides, checkpoint, trust)
    try:
        with doing("drawing what was seen"):
            names = write_details(tested.details, tested.predictions, out)
    except OSError as error:
        raise disk_error(error, out) from error
    if as_json:
        return json.dumps(strict({**tested.metrics, "details": as_plain(tested.details, pictures=False)}))
    written = f"written: {printable(str(out))}/{', '.join(names)}"
    return f"{_lines(tested.metrics)}\n\n{in_words(tested.details)}\n\n{written}"


def _lines(metrics: dict[str, float]) -> str:
    return "\n".join(f"{name}  {value!r}" for name, value in sorted(metrics.items()))
