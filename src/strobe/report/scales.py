"""Where the values of a setting stand on an axis: numbers to scale, anything else at a place of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from strobe.report.drawing import numbers, short, spans_decades
from strobe.report.stats import rounded

_FEW = 8  # distinct numbers that are named on their axis
_NAMES = 12  # labels that an axis has room for
_APART = 0.08  # of the axis between two labels, at least
_WIDTH = 0.019  # of the axis that a character of a label takes, where there is a bar of colours beside it


@dataclass(frozen=True)
class Scale:
    """An axis for the values of a setting.

    Attributes:
        kind: ``linear`` and ``log`` for numbers; ``positions`` for all else, a place for each value.
        values: The distinct values as text, in their order.
    """

    kind: Literal["linear", "log", "positions"]
    values: list[str]

    @property
    def is_continuous(self) -> bool:
        """Whether there are more values than could be named."""
        return self.kind != "positions" and len(self.values) > _NAMES

    def places(self, texts: Sequence[str]) -> np.ndarray:
        """Where values stand, in units of the axis."""
        if self.kind == "positions":
            index = {value: place for place, value in enumerate(self.values)}
            return np.array([index[text] for text in texts], dtype=float)
        return np.array([float(text) for text in texts])

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """Where values stand between the lowest, 0, and the highest, 1."""
        ends, places = (self._evenly(self.places(part)) for part in ([self.values[0], self.values[-1]], texts))
        spread = float(ends[1] - ends[0]) or 1.0
        return np.asarray((places - ends[0]) / spread)

    def names(self) -> list[tuple[str, str]]:
        """Values with their labels, no more than there is room for."""
        if self.is_continuous:
            return [(value, _label(value)) for value in (self.values[0], self.values[-1])]
        step = -(-len(self.values) // _NAMES)
        return [(value, _label(value)) for value in self.values[::step]]

    def dress(self, axes: Axes, side: Literal["x", "y"]) -> None:
        """Scale an axis, and label it so that no label lies upon another."""
        axis = axes.xaxis if side == "x" else axes.yaxis
        if self.kind == "log":
            (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        if self.kind != "positions" and not self._has_room(side):
            return
        named = self.names()
        labels = [label for _, label in named]
        tilted = side == "x" and sum(map(len, labels)) > 40
        axis.set_ticks(list(self.places([value for value, _ in named])), labels, fontsize=8)
        if tilted:
            axis.set_tick_params(labelrotation=30)
            for tick in axis.get_ticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        if self.kind == "log":
            axis.set_minor_formatter(NullFormatter())

    def _has_room(self, side: Literal["x", "y"]) -> bool:
        """Whether each number can be named where it stands."""
        if len(self.values) > _FEW:
            return False
        widths = np.array([len(_label(value)) * _WIDTH for value in self.values])
        apart = np.maximum(_APART, (widths[1:] + widths[:-1]) / 2) if side == "x" else _APART
        return bool((np.diff(self.shares(self.values)) >= apart).all())

    def _evenly(self, places: np.ndarray) -> np.ndarray:
        return np.log10(places) if self.kind == "log" else places


def scale_of(texts: Sequence[str]) -> Scale:
    """The axis on which some values of a setting are best told apart."""
    distinct = sorted(set(texts), key=_order)
    found = numbers(distinct)
    if found is None:
        return Scale("positions", distinct)
    once = list(dict(zip(found, distinct, strict=True)).values())  # 1 is 1.0
    if spans_decades(found):
        return Scale("log", once)
    above = [number for number in found if number > 0]
    if min(found) == 0 and len(above) > 1 and len(found) <= _NAMES and max(above) / min(above) >= 10:
        return Scale("positions", distinct)  # a zero among decades, as of a weight decay
    return Scale("linear", once)


def _order(text: str) -> tuple[int, float, str]:
    return (0, float(text), text) if numbers([text]) else (1, 0.0, text)


def _label(text: str) -> str:
    if numbers([text]) is not None and len(text) > 6:
        return f"{float(text):.4g}"
    return short(rounded(text), 14)
