"""What `predict` does to a picture before it asks the net, as operations on tensors, which an exported file can hold.

Numbers are not those of `strobe.data.ink` to the last digit: it works at a picture's own size, and this on one canvas
for all, so that every shape but the picture's own is known when the net is exported.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strobe.data.ink import SURE
from strobe.run.exported.batched import (
    cut,
    dilated,
    length,
    masked_median,
    products,
    quantile,
    resized,
    solved,
    span,
    up,
)

_CANVAS = 288  # pixels of its sides; a digit of an eighth of the picture has more than the 20 that it will have
_CELLS = 72  # along a side, for what is wide: the paper, and what is connected
_CELL = _CANVAS // _CELLS
_PAPER_WINDOW = 33  # cells: what is wider than 0.45 of a side is paper
_HOPS = 16  # in each, parts that are connected grow together further: with 10, some strokes were cut
_EDGE = 12  # pixels of the border that shows the light on the paper
_FINE = 100  # pixels of the box in which strokes are measured: five to one of MNIST's
_PENS = 6  # the widest, in such pixels
_SIDE, _BOX = 28, 20


class CentredDigit(nn.Module):
    """MNIST's preparation: see `strobe.data.preparation.centred_digit`. A picture that shows nothing becomes black."""

    border: Tensor
    terms: Tensor

    def __init__(self) -> None:
        super().__init__()
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, _CANVAS)] * 2, indexing="ij")
        border = torch.ones(_CANVAS, _CANVAS, dtype=torch.bool)
        border[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
        self.register_buffer("border", border.flatten().nonzero()[:, 0], persistent=False)
        self.register_buffer("terms", torch.stack([torch.ones_like(x), x, y], dim=-1).flatten(0, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map gray pictures ``(B, 1, H, W)`` float32 of 0 to 255 to ``(B, 1, 28, 28)``, light on dark."""
        levels = images[:, 0]
        height, width = length(levels, 1), length(levels, 2)
        own, as_published = _as_published(levels, height, width)
        ink = self._ink(resized(levels, _CANVAS, _CANVAS))
        drawn = _centred(_of_even_width(ink, height / _CANVAS, width / _CANVAS))
        return torch.where(as_published[:, None, None], own, drawn)[:, None]

    def _ink(self, levels: Tensor) -> Tensor:
        """How much ink is where, of ``(B, S, S)``, in [0, 1]."""
        residual = levels - self._plane(levels)
        dark, light = (half.square().sum(dim=(1, 2)) for half in (residual.clamp(max=0), residual.clamp(min=0)))
        residual = torch.where(up(dark > light), -residual, residual)
        above = residual - _paper(residual)
        above = above - up(quantile(above[:, ::2, ::2].flatten(1), 0.3))
        noise = up(quantile((above[:, ::2, 1:] - above[:, ::2, :-1]).abs().flatten(1), 0.5) / (0.6745 * 2**0.5))
        level = up(quantile(above.flatten(1).topk(_CANVAS**2 // 1000).values, 0.5))
        found = level >= (5 * noise).clamp(min=16)
        faint = torch.maximum(0.3 * level, 3 * noise)
        kept = _strokes(above, faint, SURE * level)
        level = up(masked_median(above.flatten(1), (kept & (above > SURE * level)).flatten(1)))
        low = torch.maximum(0.12 * level, torch.minimum(2 * noise, 0.4 * level))
        ink = ((above - low) / (0.85 * level - low).clamp(min=1e-3)).clamp(0, 1)
        return torch.where(kept & found, ink, 0.0)

    def _plane(self, levels: Tensor) -> Tensor:
        """The light that falls on the border, continued over all of it."""
        values, terms = levels.flatten(1)[:, self.border], self.terms[self.border]
        factors = F.pad(quantile(values, 0.5)[:, None], (0, 2))
        for _ in range(4):
            far = (values - factors @ terms.T).abs()
            near = (far <= (2.5 * quantile(far, 0.5)).clamp(min=2)[:, None]).to(values.dtype)
            factors = solved((near @ products(terms)).view(-1, 3, 3), (near * values) @ terms)
        return (factors @ self.terms.T).view(-1, _CANVAS, _CANVAS)


def _as_published(levels: Tensor, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures as 28 x 28, light on dark, and which of them are images of MNIST, or like one."""
    image = resized(levels, _SIDE, _SIDE)
    border = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1)
    image = torch.where(up(quantile(border, 0.5) > 127), 255 - image, image)
    mass = image.sum(dim=(1, 2))
    known = (height == _SIDE) & (width == _SIDE) & (mass > 0)
    longest = torch.zeros_like(mass)
    middles = torch.arange(_SIDE, dtype=image.dtype) + 0.5
    for axis in (1, 2):
        first, last = span((image > 0).any(dim=3 - axis))
        longest = torch.maximum(longest, last - first)
        centre = (image.sum(dim=3 - axis) @ middles) / mass.clamp(min=1)
        known = known & ((centre - _SIDE / 2).abs() <= 1.5)
    return image, known & (longest >= _BOX - 2) & (longest <= _BOX)


def _paper(levels: Tensor) -> Tensor:
    """The background of light strokes: what is left when all that is narrow and light is taken off."""
    coarse = F.avg_pool2d(levels.clamp(-128, 127)[:, None], _CELL)
    half = _PAPER_WINDOW // 2
    for sign in (-1, 1):
        coarse = sign * F.max_pool2d(sign * coarse, (_PAPER_WINDOW, 1), 1, (half, 0))
        coarse = sign * F.max_pool2d(sign * coarse, (1, _PAPER_WINDOW), 1, (0, half))
    taps = torch.tensor([math.exp(-(at**2) / 2) for at in (-2, -1, 0, 1, 2)])
    taps = taps / taps.sum()
    coarse = F.conv2d(F.pad(coarse, (0, 0, 2, 2), mode="replicate"), taps.view(1, 1, 5, 1))
    coarse = F.conv2d(F.pad(coarse, (2, 2, 0, 0), mode="replicate"), taps.view(1, 1, 1, 5))
    return F.interpolate(coarse, (_CANVAS, _CANVAS), mode="bilinear")[:, 0]


def _strokes(above: Tensor, faint: Tensor, sure: Tensor) -> Tensor:
    """Which pixels belong to what is drawn: no specks, no edge of the sheet; see `strobe.data.components`."""
    cells = _CELLS * _CELLS
    peaks = F.max_pool2d(above[:, None], _CELL)[:, 0]
    masses = F.avg_pool2d(torch.where(above > faint, above, 0.0)[:, None], _CELL).flatten(1)
    mask = peaks > faint
    numbers = torch.arange(1, cells + 1, dtype=above.dtype).view(1, _CELLS, _CELLS)
    labels = torch.where(mask, numbers, 0.0)
    for _ in range(_HOPS):
        labels = torch.where(mask, dilated(labels), 0.0)
        named = (labels.flatten(1) - 1).clamp(min=0).long()  # the cell that has this number
        labels = torch.where(mask, labels.flatten(1).gather(1, named).view(-1, _CELLS, _CELLS), 0.0)
    where = labels.flatten(1).long()
    none = F.pad(torch.zeros_like(masses), (1, 0))
    mass = none.scatter_add(1, where, masses)
    valid = none.scatter_add(1, where, (peaks > sure).flatten(1).to(masses.dtype)) > 0
    valid = valid & (torch.arange(cells + 1) > 0)
    along = torch.zeros_like(valid)
    at = torch.arange(cells, dtype=above.dtype)
    for position in (torch.floor(at / _CELLS), at % _CELLS):
        spread = position.expand_as(masses)
        first = (none + _CELLS).scatter_reduce(1, where, spread, "amin")
        last = (none - 1).scatter_reduce(1, where, spread, "amax")
        along = along | ((last - first + 1 <= 0.12 * _CELLS) & ((first == 0) | (last == _CELLS - 1)))
    rival = torch.where(valid & ~along, mass, 0.0).amax(dim=1, keepdim=True)
    valid = valid & ~(along & (rival > 0.2 * mass))
    valid = valid & (mass >= 0.06 * torch.where(valid, mass, 0.0).amax(dim=1, keepdim=True))
    own = valid.to(above.dtype).gather(1, where).view(-1, _CELLS, _CELLS)
    kept = (dilated(own) > 0) & ((own > 0) | (labels == 0))
    return kept[:, :, None, :, None].expand(-1, -1, _CELL, -1, _CELL).reshape(above.shape)


def _of_even_width(ink: Tensor, tall: Tensor, wide: Tensor) -> Tensor:
    """The ink in a box of its own, with a wider pen where its strokes would vanish at MNIST's size.

    Args:
        ink: ``(B, S, S)`` in [0, 1].
        tall: Height of its pixels, in those of the picture.
        wide: Their width.
    """
    (top, bottom), (left, right) = (span(ink.amax(dim=axis) >= SURE) for axis in (2, 1))
    height, width = (bottom - top) * tall, (right - left) * wide
    long = torch.maximum(height, width)
    fine = cut(ink, (top, bottom), (left, right), height / long * _FINE, width / long * _FINE, _FINE)
    fine = F.pad(fine, [2 * _PENS] * 4)
    solid = (fine >= SURE).to(fine.dtype)
    edges = sum((solid.diff(dim=axis).abs().sum(dim=(1, 2)) for axis in (1, 2)), torch.zeros_like(long))
    unit = _FINE / _BOX
    thick = 2 * fine.sum(dim=(1, 2)) / (edges * (math.pi / 4)).clamp(min=1)
    pen = torch.round((2.2 * unit - thick) / 2).clamp(1, _PENS)
    pen = torch.where((thick >= 1.7 * unit) | (long <= _BOX), 0.0, pen)
    for size in range(1, _PENS + 1):
        fine = torch.where(up(pen >= size), dilated(fine), fine)
    return fine


def _centred(ink: Tensor) -> Tensor:
    """The ink in a box of 20 pixels, its centre of mass in the middle of 28, of 0 to 255."""
    rows, columns = (span(ink.amax(dim=axis) >= SURE) for axis in (2, 1))
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    scale = _BOX / torch.maximum(height, width)
    sizes = [torch.round(side * scale).clamp(min=1) for side in (height, width)]
    small = cut(ink, rows, columns, sizes[0], sizes[1], _SIDE)
    at = torch.arange(_SIDE, dtype=ink.dtype)
    shifts = []
    for axis, size in ((1, sizes[0]), (2, sizes[1])):
        sums = small.sum(dim=3 - axis)
        centre = (sums @ (at + 0.5)) / sums.sum(dim=1).clamp(min=1e-6)
        start = torch.minimum(torch.round(_SIDE / 2 - centre).clamp(min=0), _SIDE - size)
        shifts.append((at[:, None] - at == up(start)).to(ink.dtype))
    image = shifts[0] @ small @ shifts[1].mT
    return torch.round(image / up(small.amax(dim=(1, 2)).clamp(min=1e-6)) * 255)
