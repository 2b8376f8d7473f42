"""What a classifier makes of examples: the class it takes each for, how sure it is, and its surest mistakes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from strobe.record.details import Mistake
from strobe.tasks.means import WIDEST

_MISTAKES = 25
_SIDE = 128  # pixels of the longer side that a page needs at most


@dataclass(frozen=True)
class Named:
    """The classes that a batch was taken for.

    Attributes:
        true: ``(B,)`` int64, the labels.
        predicted: ``(B,)`` int64.
        sure: ``(B,)`` the probability of the predicted class.
        of_true: ``(B,)`` that of the true class; of no meaning where it is not known.
        known: ``(B,)`` bool, whether the label is one of the classes: a loss may leave out one such as -100.
    """

    true: Tensor
    predicted: Tensor
    sure: Tensor
    of_true: Tensor
    known: Tensor


def named(logits: Tensor, labels: Tensor, *, independent: bool) -> Named:
    """What a batch was taken for.

    Args:
        logits: ``(B, num_classes)``.
        labels: ``(B,)`` int64.
        independent: Whether each class has a probability of its own, as the binary cross-entropy has it.
    """
    predicted = logits.argmax(dim=1)  # as the accuracy has it: of equal ones, the same
    wide, labels = logits.to(WIDEST), labels.long()
    probabilities = wide.sigmoid() if independent else wide.softmax(dim=1)
    within = labels.clamp(0, logits.shape[1] - 1)
    sure, of_true = (probabilities.gather(1, of[:, None])[:, 0] for of in (predicted, within))
    return Named(labels, predicted, sure, of_true, labels == within)


def confusion(true: Tensor, predicted: Tensor, classes: int) -> dict[tuple[int, int], int]:
    """How often a class was taken for which: ``(true, predicted) -> count``, without those that are 0.

    Args:
        true: ``(N,)`` int64, all of them classes.
        predicted: ``(N,)`` int64.
        classes: How many there are; a matrix of them would have the square of that.
    """
    pairs, counts = torch.unique(true * classes + predicted, return_counts=True)
    return {divmod(pair, classes): count for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)}


class Surest:
    """The mistakes that a net was surest of, gathered batch by batch.

    Attributes:
        found: Surest first, each with its input, a small ``(C, H, W)``, or None where the inputs are no images.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Mistake, Tensor | None]] = []

    def add(self, batch: Any, outcome: Named, first: int) -> None:
        """Look at a batch.

        Args:
            batch: Begins with the inputs ``(B, ...)``, if it is a tuple or a list.
            outcome: What the net made of it.
            first: The number of its first example.
        """
        inputs = batch[0] if isinstance(batch, list | tuple) and batch else None
        images = inputs if isinstance(inputs, Tensor) and inputs.ndim == 4 else None
        if images is not None and len(images) != len(outcome.true):
            images = None
        true, predicted, sure = outcome.true.cpu(), outcome.predicted.cpu(), outcome.sure.cpu()
        wrong = ((predicted != true) & outcome.known.cpu()).nonzero()[:, 0]
        order = sure[wrong].nan_to_num(-1.0).argsort(descending=True, stable=True)
        least = _sureness(self.found[-1][0]) if len(self.found) == _MISTAKES else -math.inf
        for place in wrong[order[:_MISTAKES]].tolist():
            mistake = Mistake(first + place, int(true[place]), int(predicted[place]), float(sure[place]), picture=None)
            if _sureness(mistake) <= least:
                break
            self.found.append((mistake, None if images is None else small(images[place]).cpu().clone()))
        self._sort()

    def join(self, others: "Surest") -> None:
        """Take in what another rank has gathered."""
        self.found += others.found
        self._sort()

    def _sort(self) -> None:
        self.found.sort(key=lambda each: (-_sureness(each[0]), each[0].index))
        del self.found[_MISTAKES:]


def small(images: Tensor) -> Tensor:
    """Images ``(..., C, H, W)`` as they are, or shrunk to what a page needs at most."""
    height, width = images.shape[-2:]
    if max(height, width) <= _SIDE:
        return images
    size = [max(1, round(side * _SIDE / max(height, width))) for side in (height, width)]
    flat = images.detach().float().reshape(-1, *images.shape[-3:])
    return F.interpolate(flat, size, mode="area").view(*images.shape[:-2], *size)


def pixels(images: Tensor, facts: Mapping[str, Any]) -> Tensor:
    """Images ``(..., C, H, W)`` as they were before their normalization: float64 in [0, 1], on the CPU.

    Args:
        images: As the net gets them.
        facts: Of the data. Without a ``mean`` and ``std`` that fit, the values are spread over what can be shown.
    """
    values = images.detach().cpu().double()
    mean, std = (_by_channel(facts.get(name), values.shape[-3]) for name in ("mean", "std"))
    if mean is not None and std is not None:
        values = values * std + mean
    else:
        finite = values[values.isfinite()]
        low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 1.0)
        values = (values - low) / (high - low if high > low else 1.0)
    return values.nan_to_num(0.0).clamp(0, 1)


def class_names(facts: Mapping[str, Any], count: int) -> list[str]:
    """The names of the classes as the data has them; their numbers where it has none, or not as many."""
    given: Sequence[Any] | None = facts.get("classes")  # of an array, the truth would be ambiguous
    return list(map(str, range(count) if given is None or len(given) != count else given))


def _by_channel(numbers: Any, channels: int) -> Tensor | None:
    """Numbers to be applied to the channels of an image; None if they are none."""
    if numbers is None:
        return None
    values = torch.as_tensor(numbers, dtype=torch.float64).flatten()
    return values.view(-1, 1, 1) if len(values) in (1, channels) else None


def _sureness(mistake: Mistake) -> float:
    return -1.0 if math.isnan(mistake.probability) else mistake.probability
