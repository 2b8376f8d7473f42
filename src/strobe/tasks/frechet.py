"""How far two sets of images are apart, without a trained net to look at them."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from strobe.tasks.means import WIDEST

_FEATURES = 1024  # at most: the time goes with the third power


class Moments:
    """Count, sum and sum of products of vectors, which add up over batches and ranks.

    Attributes:
        sums: ``(features + 1, features)``, the products and below them the sum; None before the first batch.
    """

    def __init__(self, count: int = 0, sums: Tensor | None = None) -> None:
        self.count = count
        self.sums = sums

    def add(self, pixels: Tensor) -> None:
        """Add images ``(B, C, H, W)``."""
        vectors = _vectors(pixels).to(WIDEST)
        sums = torch.cat([vectors.T @ vectors, vectors.sum(dim=0, keepdim=True)])
        self.sums = sums if self.sums is None else self.sums.to(sums.device) + sums
        self.count += len(vectors)

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """``(features,)`` and ``(features, features)``, float64 on the CPU."""
        assert self.sums is not None, "there has been a batch"
        moments = self.sums.cpu().double() / self.count
        mean = moments[-1]
        return mean, moments[:-1] - torch.outer(mean, mean)


def frechet_distance(first: Moments, second: Moments) -> float:
    """The squared Fréchet distance between the normal distributions that have these moments; NaN of NaN.

    Source: Dowson and Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X.
    """
    (mean, covariance), (other_mean, other_covariance) = first.mean_and_covariance(), second.mean_and_covariance()
    if not all(bool(tensor.isfinite().all()) for tensor in (covariance, other_covariance)):
        return math.nan
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # The trace of the root of the product, by a symmetric matrix of the same eigenvalues.
    overlap = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    distance = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * overlap
    return max(0.0, float(distance))


def _vectors(pixels: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` as ``(B, features)``; large ones averaged over squares of pixels first."""
    channels, height, width = pixels.shape[1:]
    side = 1
    while channels * math.ceil(height / side) * math.ceil(width / side) > _FEATURES and side < max(height, width):
        side += 1
    return (F.avg_pool2d(pixels, side, ceil_mode=True) if side > 1 else pixels).flatten(1)
