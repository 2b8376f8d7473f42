"""Images per second while training: one process and two, or this framework and a hand-written loop."""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from strobe.data.idx import MNIST

_IMAGES = MNIST.sizes["train"]
_BATCH_SIZE = 64  # of scaling
_EPOCHS = 4  # of which the first warms up


def scaling(root: Path, rounds: int, batches: int = 150) -> str:
    """One process and two, of one thread each, with the same batch in each process."""
    settings = ["model=cnn", f"data.batch_size={_BATCH_SIZE}", f"trainer.limit_train_batches={batches}"]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for processes, speed in speeds.items():
            trainer = ["trainer=ddp_cpu", f"trainer.devices={processes}"]
            speed.append(trained(root, [*settings, *trainer], batches * _BATCH_SIZE * processes, OMP_NUM_THREADS="1"))
    ratio = statistics.median(two / one for one, two in zip(speeds[1], speeds[2], strict=True))
    lines = [f"CNN on MNIST, batches of {_BATCH_SIZE} per process, one thread per process, median of {rounds}:", ""]
    lines += [
        f"  {count} process{'es' if count > 1 else '  '}  {statistics.median(speed):8,.0f} images/s"
        for count, speed in speeds.items()
    ]
    return "\n".join([*lines, "", f"  two processes train {ratio:.2f} times as fast as one"])


def steps(root: Path, rounds: int, models: Sequence[str], batch_sizes: Sequence[int], precisions: Sequence[str]) -> str:
    """This framework and a hand-written loop over the same net, data in the memory of the device for both."""
    lines = [f"Images per second on MNIST, on the best device there is, median of {rounds}:", ""]
    lines.append(f"  {'model':<10} {'precision':<10} {'batch':>6} {'hand-written':>13} {'strobe':>10}   step takes")
    for model in models:
        for precision in precisions:
            for batch_size in batch_sizes:
                ours, theirs = [], []
                for _ in range(rounds):
                    theirs.append(_hand_written(root, model, batch_size, precision))
                    settings = [
                        "trainer.devices=1",
                        f"model={model}",
                        f"data.batch_size={batch_size}",
                        f"trainer.precision={precision}",
                    ]
                    ours.append(trained(root, settings, _IMAGES))
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                lines.append(
                    f"  {model:<10} {precision:<10} {batch_size:>6} {statistics.median(theirs):>13,.0f} "
                    f"{statistics.median(ours):>10,.0f}   {ratio:.2f} x"
                )
    return "\n".join(lines)


def trained(root: Path, overrides: Sequence[str], images_per_epoch: int, **environment: str) -> float:
    """Images per second of a run of `strobe train` without validation, median over epochs after the first.

    Raises:
        subprocess.CalledProcessError: If the run fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fixed = [f"data.root={root}", "data.val_size=0", f"trainer.max_epochs={_EPOCHS}", "test=false"]
        _run("strobe", "train", *fixed, *overrides, f"hydra.run.dir={scratch}/run", **environment)
        with Path(scratch, "run", "metrics.csv").open() as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return images_per_epoch / statistics.median(seconds[1:])


def _hand_written(root: Path, model: str, batch_size: int, precision: str) -> float:
    output = _run("strobe.benchmark.loop", str(root), model, str(batch_size), precision, str(_EPOCHS))
    seconds: list[float] = json.loads(output)
    return _IMAGES / statistics.median(seconds[1:])


def _run(module: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return done.stdout
