"""Whole commands side by side: the default one, a hand-written loop, the classic script."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


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


def compare(root: Path, rounds: int) -> str:
    """The table that `python -m src.benchmark` prints."""
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = f"hydra.run.dir={scratch}/${{now:%H-%M-%S-%f}}"
        python = [sys.executable, "-m"]
        commands = {
            "hand-written loop": [*python, "strobe.benchmark.floor", str(root)],
            "classic script": [*python, "strobe.benchmark.classic", str(root)],
            "strobe train": [*python, "strobe", "train", f"data.root={root}", run_dir],
        }
        seconds = measure(commands, rounds)
    ours = seconds["strobe train"]
    lines = [f"Five epochs of SimpleNN on MNIST and its test, whole commands, median of {rounds}:", ""]
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(ours, values, strict=True))
        low, high = min(values), max(values)
        lines.append(
            f"  {name:<20} {statistics.median(values):6.2f} s  ({low:.2f} to {high:.2f})   "
            f"strobe train takes {ratio:.2f} x this"
        )
    return "\n".join(lines)
