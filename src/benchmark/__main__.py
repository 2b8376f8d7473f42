"""Measure speed, side by side with something to compare: `python -m src.benchmark [commands | ddp | steps]`."""

import argparse
from pathlib import Path

from src.benchmark.commands import compare
from src.benchmark.throughput import scaling, steps
from src.data.dataset import default_root
from src.data.idx import MNIST


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m src.benchmark", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("commands", "ddp", "steps"),
        default="commands",
        help="commands: the default command whole, a hand-written loop, the classic script (this is the default). "
        "ddp: one process and two. steps: images per second beside a hand-written loop, on a GPU if there is one",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=default_root(), help="where datasets are kept")
    parser.add_argument("--models", nargs="+", default=["simple_nn", "cnn", "resnet"], help="of steps")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 512, 4096], help="of steps")
    parser.add_argument("--precisions", nargs="+", default=["32", "16-mixed"], help="of steps")
    options = parser.parse_args()
    MNIST().prepare(options.root, download=True)
    match options.what:
        case "commands":
            print(compare(options.root, options.rounds))
        case "ddp":
            print(scaling(options.root, options.rounds))
        case "steps":
            print(steps(options.root, options.rounds, options.models, options.batch_sizes, options.precisions))


if __name__ == "__main__":
    main()
