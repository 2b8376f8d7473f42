"""The most memory that a command holds at a time: the default one, the classic script, plain Lightning."""

from strobe.benchmark.commands import OURS, subjects
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved, ratio

_SUBJECTS = ("classic script", "plain Lightning", OURS)
_TARGET = 1.1


def peaks(place: Place) -> Result:
    """Resident memory at its peak, in MB."""
    made = subjects(place)
    found = interleaved({name: run for name, run in made.items() if name.startswith(_SUBJECTS)}, place.effort)
    peak = {name: [done.peak_mb for done in values] for name, values in found.items()}
    targets = {"classic script": _TARGET}
    return Result(
        "memory",
        "Peak of resident memory, whole commands",
        [
            *(Figure(name, "MB", values) for name, values in peak.items()),
            *(ratio(OURS, name, peak, targets.get(name)) for name in peak if name != OURS),
        ],
    )
