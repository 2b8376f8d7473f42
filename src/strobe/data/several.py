"""Whether a picture that is to be of one digit shows several: parts of a size, beside or below one another."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from strobe.data.components import Component, components

_FAINT, _SURE = 0.3, 0.5  # of the ink's level: what belongs to a part, what makes one
_MASS, _HEIGHT = 0.12, 0.55  # of one part's to another's, for both to be digits
_APART, _LINE_APART = 0.1, 0.25  # of their height: between digits, between lines of them


def shows_several(ink: np.ndarray) -> bool:
    """Whether ink ``(H, W)`` in [0, 1] is of more than one digit, as far as can be told from its shape.

    A digit may have parts that don't touch, such as the bar of a five; these differ in height, or are close.
    """
    parts, _ = components(ink, _FAINT, _SURE)
    return any(_are_two(one, other) for one, other in combinations(parts, 2))


def _are_two(one: Component, other: Component) -> bool:
    heights = [_length(part.rows) for part in (one, other)]
    if min(heights) < _HEIGHT * max(heights) or min(one.mass, other.mass) < _MASS * max(one.mass, other.mass):
        return False
    beside, above = _gap(one.columns, other.columns), _gap(one.rows, other.rows)
    return beside >= _APART * max(heights) or above >= _LINE_APART * max(heights)


def _length(span: Sequence[int]) -> int:
    return span[1] - span[0]


def _gap(one: Sequence[int], other: Sequence[int]) -> int:
    """Between two spans; negative where they overlap."""
    return max(one[0], other[0]) - min(one[1], other[1])
