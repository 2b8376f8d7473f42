"""What `Run.evaluate(details=True)` gives: the numbers of a test, and what it showed beyond them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

from strobe.api.picture import Picture
from strobe.api.table import Table
from strobe.record.details import ClassDetails, Details, Mistake
from strobe.report.details import class_rows, in_words, number_rows


@dataclass(frozen=True)
class Evaluation:
    """A test, looked at example by example.

    Attributes:
        metrics: What the task logs, such as `test/acc`.
        predictions: A row for each example of the test split: its index, true class, predicted class, probability.
        details: What was seen, as `details.json` keeps it.
        classes: Names of the classes; empty for a regression.
    """

    metrics: dict[str, float]
    predictions: Table
    details: Details = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for a regression."""
        return () if self.details.classes is None else self.details.classes.classes

    @property
    def confusion(self) -> list[list[int]]:
        """How often an example of the class of a row was taken for that of a column; empty for a regression."""
        if (found := self.details.classes) is None:
            return []
        size = range(len(found.classes))
        return [[found.confusion.get((true, predicted), 0) for predicted in size] for true in size]

    @property
    def mistakes(self) -> Table:
        """The surest mistakes, the surest first: index, true class, predicted class, probability."""
        found = self.details.classes
        return Table(
            [] if found is None else [_row(found, mistake) for mistake in found.mistakes],
            ("index", "true", "predicted", "probability"),
        )

    @property
    def per_class(self) -> Table:
        """Precision, recall and F1 of each class; of a regression, the errors of each number."""
        if self.details.classes is not None:
            head, *rows = class_rows(self.details.classes)
        elif self.details.numbers is not None:
            head, *rows = number_rows(self.details.numbers)
        return Table((dict(zip(head, row, strict=False)) for row in rows), head)

    @cached_property
    def pictures(self) -> Mapping[str, Picture]:
        """The figures of `strobe evaluate --details`: confusion, calibration, mistakes, by name."""
        from strobe.report.details_plots import pictures  # matplotlib: for who wants to see them

        drawn = pictures(self.details, alone=True)
        return {name.removesuffix(".png"): Picture(png) for name, png in drawn.items()}

    def __repr__(self) -> str:
        return "\n".join(f"{name}  {value!r}" for name, value in sorted(self.metrics.items()))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"{Table([self.metrics])._repr_html_()}<pre>{escape(in_words(self.details))}</pre>"


def _row(classes: ClassDetails, mistake: Mistake) -> dict[str, Any]:
    names = classes.classes
    return {
        "index": mistake.index,
        "true": names[mistake.true],
        "predicted": names[mistake.predicted],
        "probability": mistake.probability,
    }
