"""Sweeps: 16 jobs beside 16 scripts, what is left of a sweep without its jobs, and jobs with nothing to do."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from strobe.benchmark.child import PYTHON, surroundings
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved, ratio
from strobe.benchmark.side_by_side import side_by_side
from strobe.benchmark.tiny import write
from strobe.benchmark.work import BATCHES
from strobe.machine.devices import available_cpus
from strobe.record.layout import REPORT

_SLOTS = 2
_SCRIPTS, _SINGLE = "classic scripts", "classic scripts, a thread each"
_SWEEP, _TINY = "jobs of a sweep", "tiny jobs"
_TYPED = 4  # scripts as they are typed: side by side they are in each other's way, and a round of 16 takes minutes
_TARGET, _REST_TARGET = 12.0, 2.0  # times as many a minute; seconds


@dataclass(frozen=True)
class Took:
    """What a sweep, or a number of scripts, took.

    Attributes:
        per_min: Jobs.
        rest_s: In which no job ran.
    """

    per_min: float
    rest_s: float = 0.0


def sweep(place: Place) -> Result:
    """Jobs per minute of each on two slots."""
    effort = place.effort
    jobs, tiny_jobs, batches = effort.of(16, 4), effort.of(60, 6), effort.of(BATCHES, 100)
    tiny = write(place.new() / "tiny.csv")
    whole = [f"data.root={place.root}", *([f"trainer.limit_train_batches={batches}"] if effort.quick else [])]

    def scripts(count: int, threads: dict[str, str]) -> Took:
        command = [PYTHON, "-m", "strobe.benchmark.classic", str(place.root), "1", str(batches)]
        return Took(60 * count / side_by_side([command] * count, _SLOTS, place.new(), surroundings() | threads))

    def swept(overrides: list[str], count: int, *, other: bool = False) -> Callable[[], Took]:
        def measured() -> Took:
            directory = place.new() / "sweep"
            axes = ["-m", f"seed=range(0,{count})", "trainer.max_epochs=1", f"hydra.launcher.slots={_SLOTS}"]
            done = place.train([*axes, *overrides, f"hydra.sweep.dir={directory}"], other=other)
            return Took(60 * count / done.seconds, done.seconds - busy_s(map(lived, directory.glob(f"*/{REPORT}"))))

        return measured

    as_in_a_sweep = {"OMP_NUM_THREADS": str(max(1, available_cpus() // _SLOTS))}
    subjects: dict[str, Callable[[], Took]] = {
        _SCRIPTS: partial(scripts, min(jobs, _TYPED), {}),
        _SINGLE: partial(scripts, jobs, as_in_a_sweep),
        _SWEEP: swept(whole, jobs),
        _TINY: swept(tiny, tiny_jobs),
    }
    if place.beside is not None:
        subjects[f"{_SWEEP} of {place.beside.name}"] = swept(whole, jobs, other=True)
        subjects[f"{_TINY} of {place.beside.name}"] = swept(tiny, tiny_jobs, other=True)
    found = interleaved(subjects, effort)
    speed = {name: [took.per_min for took in values] for name, values in found.items()}
    rest = {name: [took.rest_s for took in values] for name, values in found.items() if not name.startswith(_SCRIPTS)}
    against = [ratio(name, f"{name} of {place.beside.name}", speed) for name in (_SWEEP, _TINY) if place.beside]
    throughput = [ratio(_SWEEP, _SCRIPTS, speed, None if effort.quick else _TARGET), ratio(_SWEEP, _SINGLE, speed)]
    return Result(
        "sweep",
        f"{jobs} jobs of an epoch of SimpleNN, {tiny_jobs} tiny ones, on {_SLOTS} slots",
        [
            *(Figure(name, "/min", values) for name, values in speed.items()),
            *(
                Figure(
                    f"{name}: all but jobs", "s", values, _REST_TARGET if name == _SWEEP and not effort.quick else None
                )
                for name, values in rest.items()
            ),
            *(replace(figure, more=True) for figure in throughput + against),
        ],
    )


def lived(report: Path) -> tuple[float, float]:
    """When a run began and ended, by its report."""
    content = json.loads(report.read_text(encoding="utf-8"))
    ended = datetime.fromisoformat(content["ended"]).timestamp()
    return ended - content["timing"]["total_s"], ended


def busy_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one of some spans of time lasts."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
