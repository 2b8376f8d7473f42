"""Name the class of pictures: `python -m src.predict <run dir> <pictures...> [--top 3]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_with_weights
from strobe.commands.surroundings import importing
from strobe.commands.trust import add_flag
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code, tell
from strobe.machine.text import printable
from strobe.record.layout import BEST
from strobe.record.settings import strict


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a picture could not be read, after predicting the rest."""
    parser = Parser("predict", description=__doc__)
    parser.add_argument("run", type=run_with_weights, help="a run directory, or latest")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures of any size, directories, '**/*.png'")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--top", type=int, metavar="K", help="name the K likeliest classes (default: 1)")
    parser.add_argument(
        "--as-is", action="store_true", help="scale pictures alone: don't prepare them as the training images were"
    )
    parser.add_argument("--invert", action="store_true", help="swap dark and light, where pictures are not prepared")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON list of file, class, probability, top")
    form.add_argument("--csv", action="store_true", help="print a CSV table of file, class, probability")
    options = parser.parse_args(arguments)
    log_to_terminal()
    try:
        require_run(options.run, "predict", options.pictures)
        with importing():  # not for --help or a wrong flag
            from strobe.run.prediction import as_csv, pictures, predict, table
            from strobe.run.saved import saved_net

        net = saved_net(options.run, options.checkpoint, options.trust)
        net.require_pictures()
        files = pictures(options.pictures)
        predictions = predict(net, files, invert=options.invert, as_is=options.as_is, top=options.top)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if predictions.prepared and predictions.pictures:
        tell(f"{predictions.prepared}; --as-is turns it off")
    if predictions.dark_on_light * 2 > len(predictions.pictures):
        way_out = "leave out --as-is, or add --invert" if options.as_is else "try --invert"
        tell(f"These pictures are dark on light, the training images light on dark: {way_out}")
    if several := predictions.of_several:
        which = str(several[0]) if len(several) == 1 else f"{several[0]} and {len(several) - 1} more pictures"
        tell(printable(f"{which}: several digits, it seems, and one answer for each picture: cut them apart"))
    for file, reason in predictions.refused:
        tell(printable(f"{file}: {reason}"))
    code = 0
    if options.json:
        code = answer(json.dumps(strict(predictions.pictures)))
    elif options.csv:
        code = answer(as_csv(predictions, options.top))
    elif predictions.pictures:
        code = answer(table(predictions))
    return 1 if predictions.refused else code
