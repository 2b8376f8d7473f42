"""Means over the examples of a split, exact for batches and ranks of unequal size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from strobe.errors import ConfigError

WIDEST = torch.float32 if torch.backends.mps.is_available() else torch.float64  # Apple's GPUs know no float64


FOR_METRICS = ("preds", "target")
"""What a step may give for the metrics of the config, in the words of torchmetrics: it is not counted here."""


class Means:
    """Sums over examples, so that every example weighs the same: in a short last batch, on a rank with fewer.

    Attributes:
        sums: Of each value so far, of this rank alone: a number, or of values on a GPU a scalar float64 there, for
            which no step has to wait. Both are the same sum, digit for digit.
        counts: Of how many examples each is the sum; a value need not be there in every step.
        count: How many examples, of this rank alone.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.counts: dict[str, int] = {}
        self.count = 0

    def add(self, values: Mapping[str, Any], size: int) -> None:
        """Add a batch.

        Args:
            values: By name: a scalar is the mean over the batch, ``(B,)`` holds a value for each example.
            size: Number of examples.

        Raises:
            ConfigError: If a value is neither.
        """
        for name, value in values.items():
            if name in FOR_METRICS:
                continue
            if not isinstance(value, Tensor):
                value = torch.tensor(value)
            total: Tensor | float
            if value.ndim == 0:
                # A number of Python's is a float64 too, and adding it takes a tenth of the time.
                total = float(value.item()) * size if value.is_cpu else value.detach().to(WIDEST) * size
            elif value.shape == (size,):
                total = value.detach().sum(dtype=WIDEST)
                total = total.item() if total.is_cpu else total
            else:
                raise ConfigError(
                    f"step gives {name!r} the shape {tuple(value.shape)} for a batch of {size} examples: it must be a "
                    f"scalar, the mean over the batch, or ({size},), a value for each"
                )
            if name in self.sums:
                self.sums[name] = self.sums[name] + total
                self.counts[name] += size
            else:
                self.sums[name], self.counts[name] = total, size
        self.count += size

    def as_tensor(self, names: list[str], device: torch.device) -> Tensor:
        """The sums in the order of ``names``, their counts, and the count: ``(2 * len(names) + 1,)``."""
        sums = [torch.as_tensor(self.sums.get(name, 0.0), dtype=WIDEST, device=device) for name in names]
        counts = [float(self.counts.get(name, 0)) for name in names]
        return torch.stack([*sums, *torch.tensor([*counts, self.count], dtype=WIDEST, device=device)])

    def set(self, sums: Mapping[str, float], counts: Mapping[str, int], count: int) -> None:
        """Begin with these; see the attributes."""
        self.sums = dict(sums)
        self.counts = dict(counts)
        self.count = count

    def reset(self) -> None:
        """Begin anew."""
        self.sums, self.counts, self.count = {}, {}, 0


def of_all_ranks(own: Any) -> list[Any]:
    """What each rank has, in their order; every rank has to call this."""
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered
