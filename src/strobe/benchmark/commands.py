"""Whole commands side by side: the default one, a hand-written loop, the classic script, Lightning as usual."""

from collections.abc import Callable

from strobe.benchmark.child import Done
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved, ratio
from strobe.benchmark.work import BATCHES, EPOCHS

OURS = "strobe train"
_TARGETS = {
    "hand-written loop": 1.25,
    "classic script": 0.30,
    "plain Lightning": 0.45,
    "Lightning + Hydra template": None,
}
_QUICK_BATCHES = 100


def subjects(place: Place) -> dict[str, Callable[[], Done]]:
    """The commands, each doing the same work; how many epochs and batches is the effort's."""
    epochs = place.effort.of(EPOCHS, 1)
    batches = place.effort.of(BATCHES, _QUICK_BATCHES)
    given = (str(place.root), str(epochs), str(batches))
    limits = (f"trainer.max_epochs={epochs}", f"trainer.limit_train_batches={batches}")
    ours = [f"data.root={place.root}", *(limits if place.effort.quick else ())]
    theirs = (f"root={place.root}", f"epochs={epochs}", f"batches={batches}")
    found: dict[str, Callable[[], Done]] = {
        "hand-written loop": lambda: place.script("floor", *given),
        "classic script": lambda: place.script("classic", *given),
        "plain Lightning": lambda: place.script("plain_lightning", *given),
        "Lightning + Hydra template": lambda: place.script("template", *theirs),
        OURS: lambda: place.train(ours),
    }
    if place.beside is not None:
        found[f"{OURS} of {place.beside.name}"] = lambda: place.train(ours, other=True)
    return found


def compare(place: Place) -> Result:
    """Seconds, and the cores' seconds, of each, and how many times as long this framework takes."""
    found = interleaved(subjects(place), place.effort)
    seconds = {name: [done.seconds for done in values] for name, values in found.items()}
    work = {name: [done.cpu_s for done in values] for name, values in found.items()}
    others = [name for name in found if name != OURS]
    epochs = place.effort.of(EPOCHS, 1)
    what = f"{epochs} epochs of SimpleNN on MNIST" if epochs > 1 else f"{_QUICK_BATCHES} steps of SimpleNN on MNIST"
    return Result(
        "commands",
        f"Whole commands: {what}, and the test",
        [
            *(Figure(name, "s", values) for name, values in seconds.items()),
            *(Figure(f"{name}, cores' time", "s", values) for name, values in work.items()),
            *(ratio(OURS, name, seconds, None if place.effort.quick else _TARGETS.get(name)) for name in others),
        ],
    )
