"""The connected parts of what stands out in a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_GRID = 96  # cells along the longer side; parts that are nearer to one another than a cell are one
_SLIVER = 0.12  # of the picture's side: what is narrower, and lies along a border, is no drawing's stroke


@dataclass(frozen=True)
class Component:
    """One of them.

    Attributes:
        label: Its number.
        mass: Sum of what stands out.
        along_border: Whether it is a sliver at the picture's border, as the edge of a sheet is.
        rows: The first that it has, and the one after its last; in pixels, to a cell.
        columns: Likewise.
    """

    label: int
    mass: float
    along_border: bool
    rows: tuple[int, int]
    columns: tuple[int, int]


def components(
    levels: np.ndarray, faint: float, sure: float
) -> tuple[list[Component], Callable[[Sequence[Component]], np.ndarray]]:
    """Connect what is above ``faint``; a part without anything above ``sure`` is none.

    Args:
        levels: ``(H, W)`` float.
        faint: Least level of what belongs to a part.
        sure: Level that some of it must reach.

    Returns:
        The parts, and what maps some of them to the mask ``(H, W)`` bool of their pixels and those close around.
    """
    cell = max(1, -(-max(levels.shape) // _GRID))
    height, width = levels.shape
    padded = np.pad(levels, ((0, -height % cell), (0, -width % cell)), constant_values=-np.inf)
    cells = padded.reshape(padded.shape[0] // cell, cell, padded.shape[1] // cell, cell)
    peaks = cells.max(axis=(1, 3))
    masses = np.where(cells > faint, cells, 0).sum(axis=(1, 3))
    labels = _labels(peaks > faint)
    found = []
    for label in np.unique(labels[peaks > sure]):
        own = labels == label
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        spans = [(int(cells[0]) * cell, (int(cells[-1]) + 1) * cell) for cells in (rows, columns)]
        found.append(Component(int(label), float(masses[own].sum()), _along_border(rows, columns, own.shape), *spans))

    def pixels_of(parts: Sequence[Component]) -> np.ndarray:
        own = np.isin(labels, [part.label for part in parts])
        mask = _neighbourhood(own) & (own | (labels == 0))
        return np.repeat(np.repeat(mask, cell, axis=0), cell, axis=1)[:height, :width]

    return found, pixels_of


def _labels(mask: np.ndarray) -> np.ndarray:
    """Numbers from 1, the same for cells that touch, if only at a corner; 0 outside of ``mask``."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        grown = np.where(mask, _neighbourhood(labels), 0)
        grown = np.where(mask, grown.ravel()[grown - 1], 0)  # the number of the cell that it is the number of
        if (grown == labels).all():
            return labels
        labels = grown


def _neighbourhood(values: np.ndarray) -> np.ndarray:
    """The largest value of a cell and its eight neighbours."""
    padded = np.pad(values, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    largest: np.ndarray = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return largest


def _along_border(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> bool:
    for cells, side in ((rows, shape[0]), (columns, shape[1])):
        narrow = cells[-1] - cells[0] + 1 <= _SLIVER * side
        if narrow and (cells[0] == 0 or cells[-1] == side - 1):
            return True
    return False
