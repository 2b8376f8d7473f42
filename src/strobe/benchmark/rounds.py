"""Measurements in turn, A B C, A B C: a machine that slows down slows all of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from strobe.machine.transient import doing

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often each subject is.
        quick: Whether to look only: less work in each round.
        warm_up: Whether a round is made before, for the caches of files and pages, and not counted.
    """

    rounds: int = 3
    quick: bool = False
    warm_up: bool = True

    def of(self, whole: int, quick: int) -> int:
        """An amount of work: all of it, or as much as goes into a quick look."""
        return quick if self.quick else whole

    @property
    def in_words(self) -> str:
        """For a title."""
        rounds = f"{self.rounds} round{'s' if self.rounds > 1 else ''}"
        first = ", after one to warm up" if self.warm_up else ""
        return f"{rounds}{first}{': quick, a look with less work and not a measurement' if self.quick else ''}"


def interleaved(subjects: Mapping[str, Callable[[], T]], effort: Effort) -> dict[str, list[T]]:
    """What each subject gives, by round; those of a round that warms up caches and pages are thrown away."""
    found: dict[str, list[T]] = {name: [] for name in subjects}
    for turn in range(0 if effort.warm_up else 1, effort.rounds + 1):
        for name, subject in subjects.items():
            with doing(f"round {turn} of {effort.rounds}: {name}" if turn else f"warming up: {name}"):
                value = subject()
            if turn:
                found[name].append(value)
    return found


@dataclass(frozen=True)
class Figure:
    """Something measured, once in each round.

    Attributes:
        name: What.
        unit: Of the values: ``s``, ``MB``, ``/min``, ...; ``x`` of a ratio.
        values: By round.
        target: The worst value that is good; None where there is none.
        more: Whether more is better.
    """

    name: str
    unit: str
    values: Sequence[float]
    target: float | None = None
    more: bool = False

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.median >= self.target if self.more else self.median <= self.target


@dataclass(frozen=True)
class Result:
    """What a comparison has found.

    Attributes:
        what: Its name on the command line.
        title: What was done, in a line.
        figures: The measurements, then their ratios.
    """

    what: str
    title: str
    figures: Sequence[Figure]


def ratio(of: str, to: str, found: Mapping[str, Sequence[float]], target: float | None = None) -> Figure:
    """One subject's values by another's, each by that of its round: what disturbs a round disturbs both."""
    values = [mine / theirs for mine, theirs in zip(found[of], found[to], strict=True)]
    return Figure(f"{of} / {to}", "x", values, target)
