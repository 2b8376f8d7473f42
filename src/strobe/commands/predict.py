"""Name the class of pictures: `python -m src.predict <run dir> <pictures...> [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.trust import add_flag
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code, tell
from strobe.machine.text import printable
from strobe.record.layout import BEST


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a picture could not be read, after predicting the rest."""
    parser = Parser("predict", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures of any size, or directories of them")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--invert", action="store_true", help="swap dark and light, for ink on paper and MNIST")
    parser.add_argument("--json", action="store_true", help="print one JSON list of file, class, probability")
    options = parser.parse_args(arguments)
    log_to_terminal()
    try:
        # torch: not for --help or a wrong flag
        from strobe.run.prediction import pictures, predict, table
        from strobe.run.saved import saved_net

        net = saved_net(options.run, options.checkpoint, options.trust)
        net.require_pictures()
        files = pictures(options.pictures)
        predictions = predict(net, files, invert=options.invert)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if predictions.dark_on_light * 2 > len(predictions.pictures):
        tell("These pictures are dark on light, the training images light on dark: try --invert")
    for file, reason in predictions.refused:
        tell(printable(f"{file}: {reason}"))
    code = 0
    if options.json or predictions.pictures:
        code = answer(json.dumps(predictions.pictures) if options.json else table(predictions))
    return 1 if predictions.refused else code
