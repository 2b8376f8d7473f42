"""Images per second while training: one process and two, or this framework and a hand-written loop."""

import csv
import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from strobe.benchmark.child import STROBE, run, surroundings
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved
from strobe.benchmark.work import TRAIN_SIZE, VAL_SIZE

_IMAGES = TRAIN_SIZE + VAL_SIZE
_BATCH_SIZE = 64  # of scaling
_EPOCHS = 4  # of which the first warms up
_QUICK_IMAGES = 6_400
_TARGETS = {("simple_nn", 64, "32"): 1.35, ("simple_nn", 512, "32"): 1.12, ("cnn", 64, "32"): 1.05}


def scaling(place: Place, batches: int | None = None) -> Result:
    """One process and two, of one thread each, with the same batch in each process.

    Args:
        place: Where.
        batches: Of each epoch and process; None: 150, in a quick look 20.
    """
    count = batches or place.effort.of(150, 20)
    settings = ["model=cnn", f"data.batch_size={_BATCH_SIZE}", "trainer=ddp_cpu"]

    def speed(processes: int) -> Callable[[], float]:
        overrides = [*settings, f"trainer.devices={processes}"]
        return lambda: trained(place, overrides, _BATCH_SIZE * processes, count, {"OMP_NUM_THREADS": "1"})

    one, two = "1 process", "2 processes"
    found = interleaved({one: speed(1), two: speed(2)}, place.effort)
    gain = [double / single for single, double in zip(found[one], found[two], strict=True)]
    title = f"CNN on MNIST, batches of {_BATCH_SIZE} in each process, one thread each"
    figures = [Figure(name, "images/s", values, more=True) for name, values in found.items()]
    return Result("ddp", title, [*figures, Figure("images/s of 2 processes / of 1", "x", gain, more=True)])


def steps(place: Place, models: Sequence[str], batch_sizes: Sequence[int], precisions: Sequence[str]) -> Result:
    """This framework, a hand-written loop, and Lightning alone, over the same net, data in the memory of the device."""
    speeds: list[Figure] = []
    ratios: list[Figure] = []
    for model in models:
        for precision in precisions:
            for batch_size in batch_sizes:
                name = f"{model}, {precision}, {batch_size}"
                batches = -(-place.effort.of(_IMAGES, min(_IMAGES, max(_QUICK_IMAGES, batch_size))) // batch_size)
                chosen = ["trainer.devices=1", f"model={model}", f"trainer.precision={precision}"]
                overrides = [*chosen, f"data.batch_size={batch_size}"]
                found = interleaved(
                    {
                        f"{name} by hand": partial(_by_script, place, "loop", model, batch_size, precision, batches),
                        f"{name} Lightning alone": partial(
                            _by_script, place, "bare_lightning", model, batch_size, precision, batches
                        ),
                        f"{name} strobe": partial(trained, place, overrides, batch_size, batches),
                    },
                    place.effort,
                )
                speeds += [Figure(key, "images/s", values, more=True) for key, values in found.items()]
                hand, lightning, ours = found.values()
                target = None if place.effort.quick else _TARGETS.get((model, batch_size, precision))
                ratios.append(Figure(f"{name}: a step / by hand", "x", _times(hand, ours), target))
                ratios.append(Figure(f"{name}: a step / Lightning", "x", _times(lightning, ours)))
    title = "Images per second on MNIST (net, precision, batch), on the best device there is"
    return Result("steps", title, [*speeds, *ratios])


def trained(
    place: Place, overrides: Sequence[str], batch_size: int, batches: int, variables: dict[str, str] | None = None
) -> float:
    """Images per second of a run of `strobe train` without validation, median over epochs after the first.

    Args:
        place: Where.
        overrides: Of the run.
        batch_size: Over all processes.
        batches: Of an epoch, for each process.
        variables: Of the environment.

    Raises:
        SubjectError: If the run fails.
    """
    directory = place.new() / "run"
    size = min(_IMAGES, batches * batch_size)
    fixed = [f"data.root={place.root}", "data.val_size=0", f"trainer.max_epochs={_EPOCHS}", "test=false"]
    limit = [] if size == _IMAGES else [f"trainer.limit_train_batches={batches}"]
    command = [*STROBE, "train", *fixed, *limit, *overrides, f"hydra.run.dir={directory}"]
    run(command, place.new(), surroundings(gpus=True) | (variables or {}))
    with Path(directory, "metrics.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return size / statistics.median(seconds[1:])


def _times(others: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times as long a step takes here, of images per second."""
    return [other / own for other, own in zip(others, ours, strict=True)]


def _by_script(place: Place, subject: str, model: str, batch_size: int, precision: str, batches: int) -> float:
    done = place.script(
        subject, str(place.root), model, str(batch_size), precision, str(_EPOCHS), str(batches), gpus=True
    )
    seconds: list[float] = json.loads(done.output.splitlines()[-1])
    return min(_IMAGES, batches * batch_size) / statistics.median(seconds[1:])
