"""Losses; torch's own but for what YAML can't say."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Cross-entropy with label smoothing and class weights, for labels or probabilities as targets.

    Args:
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        class_weights: One weight per class, for unbalanced sets; None weighs all alike.

    Raises:
        ValueError: If a weight is negative or the smoothing lies outside its range.
    """

    class_weights: Tensor | None

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing={label_smoothing!r}: must lie in [0, 1)")
        if class_weights is not None and not min(class_weights, default=-1) >= 0:
            raise ValueError(f"loss.class_weights={list(class_weights)!r}: must not be negative")
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)  # the config has it; keep checkpoints clean

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``(B, classes)`` and targets ``(B,)`` int64 or ``(B, classes)`` to a scalar mean."""
        return F.cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing)


class Brier(nn.Module):
    """Squared distance between predicted and true probabilities, summed over classes: in [0, 2], 0 is perfect.

    A proper score like cross-entropy, but bounded: a single mislabelled image can't dominate a batch.

    Source: Brier: Verification of forecasts expressed in terms of probability, 1950.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``(B, classes)`` and targets ``(B,)`` int64 or ``(B, classes)`` to a scalar mean."""
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return (logits.softmax(dim=1) - targets).square().sum(dim=1).mean()


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of each label by itself: for labels that don't exclude each other, and for yes or no.

    Args:
        positive_weights: One weight per label for the examples that have it, for labels that are rare.

    Raises:
        ValueError: If a weight is negative.
    """

    several_labels = True
    positive_weights: Tensor | None

    def __init__(self, *, positive_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if positive_weights is not None and not min(positive_weights, default=-1) >= 0:
            raise ValueError(f"loss.positive_weights={list(positive_weights)!r}: must not be negative")
        weights = None if positive_weights is None else torch.tensor(positive_weights, dtype=torch.float32)
        self.register_buffer("positive_weights", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``(B, labels)`` and targets, ``(B, labels)`` of 0 and 1 or classes ``(B,)`` int64, to a mean."""
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[1])
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), pos_weight=self.positive_weights)
