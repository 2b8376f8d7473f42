"""What a preparation does to pictures, for a batch of them and as operations that every format of an export has."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cut(
    levels: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], tall: Tensor, wide: Tensor, side: int
) -> Tensor:
    """A part of each picture, ``(B, side, side)``: in the upper left corner, of so many pixels, as Pillow scales it."""
    rows_of = _weights(levels.shape[1], *rows, tall, side)
    return rows_of @ levels @ _weights(levels.shape[2], *columns, wide, side).mT


def resized(levels: Tensor, height: int, width: int) -> Tensor:
    """Pictures ``(B, H, W)`` of another size, as Pillow scales them: with antialiasing."""
    zero = levels.new_zeros(1)
    rows, columns = (
        _weights(levels.shape[axis], zero, zero + length(levels, axis), zero + size, size)
        for axis, size in ((1, height), (2, width))
    )
    return rows @ levels @ columns.mT


def _weights(size: int, start: Tensor, end: Tensor, count: Tensor, most: int) -> Tensor:
    """The share that each of ``size`` pixels has in each of ``count`` between ``start`` and ``end``.

    Returns:
        ``(B, most, size)``; those from ``count`` on get nothing.
    """
    at = torch.arange(most, dtype=start.dtype)
    scale = (end - start) / count
    centres = start[:, None] + (at + 0.5) * scale[:, None]
    distance = (torch.arange(size, dtype=start.dtype) + 0.5 - centres[:, :, None]).abs()
    shares = (1 - distance / up(scale.clamp(min=1))).clamp(min=0)
    shares = shares / shares.sum(dim=2, keepdim=True).clamp(min=1e-6)
    return shares * (at < count[:, None])[:, :, None]


def length(levels: Tensor, axis: int) -> Tensor:
    """A side of a picture, as a tensor, which stays a variable of the exported graph."""
    return torch.ones(levels.shape[axis], dtype=levels.dtype).sum()


def span(there: Tensor) -> tuple[Tensor, Tensor]:
    """The first that is there, of ``(B, N)``, and the one after the last; all, where none is."""
    at = torch.arange(there.shape[1], dtype=torch.float32)
    some = there.any(dim=1, keepdim=True)
    first = torch.where(there | ~some, at, at + there.shape[1]).amin(dim=1)
    last = torch.where(there | ~some, at, torch.zeros_like(at)).amax(dim=1)
    return first, last + 1


def dilated(values: Tensor) -> Tensor:
    """The largest value of a pixel and its eight neighbours."""
    return F.max_pool2d(values[:, None], 3, 1, 1)[:, 0]


def up(values: Tensor) -> Tensor:
    """``(B,)`` as ``(B, 1, 1)``."""
    return values[:, None, None]


def quantile(values: Tensor, share: float) -> Tensor:
    """Of ``(B, N)``, the one that this share is below."""
    return values.sort(dim=1).values[:, int(share * (values.shape[1] - 1))]


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """The median of those in the mask; what it is where the mask is empty means nothing."""
    ordered = torch.where(mask, values, values.new_full((), torch.inf)).sort(dim=1).values
    middle = ((mask.sum(dim=1, keepdim=True) - 1) // 2).clamp(min=0)
    return ordered.gather(1, middle)[:, 0].clamp(max=255)


def products(terms: Tensor) -> Tensor:
    """Of each two of ``(N, 3)``, ``(N, 9)``."""
    return (terms[:, :, None] * terms[:, None, :]).flatten(1)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solutions ``(B, 3)`` of three equations each, by Cramer's rule: ONNX has no operation for it."""
    a, b, c = matrix.unbind(dim=1)
    cofactors = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=1)
    determinant = (a * cofactors[:, 0]).sum(dim=1, keepdim=True)
    return (cofactors * right[:, :, None]).sum(dim=1) / determinant


def _cross(a: Tensor, b: Tensor) -> Tensor:
    (a0, a1, a2), (b0, b1, b2) = a.unbind(dim=1), b.unbind(dim=1)
    return torch.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim=1)
