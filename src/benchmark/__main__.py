"""Measure whole commands side by side: `python -m src.benchmark [--rounds n]`."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from src.data.dataset import default_root
from src.data.idx import MNIST


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each command, run in turn so that a machine that slows down slows all of them.

    Raises:
        subprocess.CalledProcessError: If a command fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn > 0:  # the first turn warms the file cache
                seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m src.benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measured runs of each command (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=default_root(), help="where datasets are kept")
    options = parser.parse_args()
    MNIST().prepare(options.root, download=True)
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = f"hydra.run.dir={scratch}/${{now:%H-%M-%S-%f}}"
        python = [sys.executable, "-m"]
        commands = {
            "hand-written loop": [*python, "src.benchmark.floor", str(options.root)],
            "classic script": [*python, "src.benchmark.classic", str(options.root)],
            "python -m src.train": [*python, "src.train", f"data.root={options.root}", run_dir],
        }
        seconds = measure(commands, options.rounds)
    ours = seconds["python -m src.train"]
    print(f"Five epochs of SimpleNN on MNIST and its test, whole commands, median of {options.rounds}:\n")
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(ours, values, strict=True))
        low, high = min(values), max(values)
        print(
            f"  {name:<20} {statistics.median(values):6.2f} s  ({low:.2f} to {high:.2f})   "
            f"src.train takes {ratio:.2f} x this"
        )


if __name__ == "__main__":
    main()
