"""The beginning and the end of commands, beside the imports that they can't do without."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from strobe.benchmark.child import PYTHON, STROBE, run
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved, ratio

_TORCH, _HYDRA = "import torch", "import hydra"
_FIRST, _END = "to the first step", "from the last line to the end"
_END_TARGET = 0.15  # seconds
_SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=20")
_TARGETS = {
    _FIRST: (_TORCH, 2.0),
    "evaluate": (_TORCH, 2.2),
    "predict, one picture": (_TORCH, 2.2),
    "--cfg job": (_HYDRA, 1.6),
    "--help": (_HYDRA, 1.6),
    "completion": (_HYDRA, 1.6),
    "a wrong word": (_HYDRA, 2.2),
}


def start(place: Place) -> Result:
    """Seconds of each, and their ratios to the imports of torch, or of Hydra where no torch is needed."""
    trained, picture = place.new() / "run", place.new() / "picture.png"
    data = f"data.root={place.root}"
    place.train([data, *_SHORT, f"hydra.run.dir={trained}"])
    digit = Image.new("L", (28, 28))
    digit.paste(255, (13, 5, 16, 23))  # a one
    digit.save(picture)
    ends: list[float] = []

    def seconds(command: Sequence[str], code: int = 0) -> Callable[[], float]:
        return lambda: run(command, place.new(), code=code).seconds

    def first_step() -> float:
        """Of a run as it is shipped, but short: a callback of a user's notes when its first step begins."""
        mark = place.new() / "mark"
        noted = ["+callbacks.mark._target_=strobe.benchmark.marks.FirstStep", f"+callbacks.mark.path={mark}"]
        done = place.train([data, *_SHORT, *noted], shown=True)
        ends.append(done.quiet_s)
        return float(Path(mark).read_text()) - done.began

    found = interleaved(
        {
            _TORCH: seconds([PYTHON, "-c", "import torch"]),
            _HYDRA: seconds([PYTHON, "-c", "import hydra"]),
            _FIRST: first_step,
            "evaluate": seconds([*STROBE, "evaluate", str(trained)]),
            "predict, one picture": seconds([*STROBE, "predict", str(trained), str(picture)]),
            "--cfg job": seconds([*STROBE, "train", "--cfg", "job"]),
            "--help": seconds([*STROBE, "train", "--help"]),
            "completion": seconds([*STROBE, "completion", "--answer", "--line", "strobe train mod"]),
            "a wrong word": seconds([*STROBE, "train", "modle=mlp"], code=2),
        },
        place.effort,
    )
    return Result(
        "start",
        "Beginning and end of commands",
        [
            *(Figure(name, "s", values) for name, values in found.items()),
            Figure(_END, "s", ends[-place.effort.rounds :], _END_TARGET),
            *(ratio(name, to, found, target) for name, (to, target) in _TARGETS.items()),
        ],
    )
