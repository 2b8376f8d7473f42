"""Name the class of pictures: `python -m src.predict <run dir> <pictures...> [--json]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.trust import add_flag
from strobe.errors import exit_code
from strobe.machine.program import typed
from strobe.record.layout import BEST


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a picture could not be read, after predicting the rest."""
    parser = argparse.ArgumentParser(prog=" ".join(typed("predict")), description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures of any size, or directories of them")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--invert", action="store_true", help="swap dark and light, for ink on paper and MNIST")
    parser.add_argument("--json", action="store_true", help="print one JSON list of file, class, probability")
    options = parser.parse_args(arguments)
    try:
        # torch: not for --help or a wrong flag
        from strobe.run.prediction import pictures, predict, table
        from strobe.run.saved import saved_net

        net = saved_net(options.run, options.checkpoint, options.trust)
        files = pictures(options.pictures)
        predictions = predict(net, files, invert=options.invert)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if predictions.dark_on_light * 2 > len(predictions.pictures):
        print("These pictures are dark on light, the training images light on dark: try --invert", file=sys.stderr)
    for file, reason in predictions.refused:
        print(f"{file}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(predictions.pictures))
    elif predictions.pictures:
        print(table(predictions))
    return 1 if predictions.refused else 0
