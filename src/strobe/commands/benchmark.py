"""Measure speed, side by side with something to compare: `python -m src.benchmark [commands | ddp | steps]`."""

from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.errors import RunError
from strobe.machine.terminal import exit_code
from strobe.machine.transient import doing


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("benchmark", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("commands", "ddp", "steps"),
        default="commands",
        help="commands: the default command whole, a hand-written loop, the classic script (this is the default). "
        "ddp: one process and two. steps: images per second beside a hand-written loop, on a GPU if there is one",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--root", type=Path, help="where datasets are kept (default: the per-user cache)")
    parser.add_argument("--models", nargs="+", default=["simple_nn", "cnn", "resnet"], help="of steps")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 512, 4096], help="of steps")
    parser.add_argument("--precisions", nargs="+", default=["32", "16-mixed"], help="of steps")
    options = parser.parse_args(arguments)
    # torch: not for --help or a wrong flag
    from strobe.benchmark.commands import compare
    from strobe.benchmark.throughput import scaling, steps
    from strobe.data.idx import MNIST
    from strobe.data.root import default_root

    try:
        root = options.root or default_root()
        MNIST().prepare(root, download=True)
    except RunError as error:
        return exit_code(error)
    with doing("measuring"):
        match options.what:
            case "commands":
                text = compare(root, options.rounds)
            case "ddp":
                text = scaling(root, options.rounds)
            case _:
                text = steps(root, options.rounds, options.models, options.batch_sizes, options.precisions)
    print(text)
    return 0
