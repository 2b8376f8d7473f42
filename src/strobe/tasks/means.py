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
        sums: Of each value so far, scalar float64 on the device that the values are on; of this rank alone.
        counts: Of how many examples each is the sum; a value need not be there in every step.
        count: How many examples, of this rank alone.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
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
            value = value.detach()
            if value.ndim == 0:
                total = value.to(WIDEST) * size
            elif value.shape == (size,):
                total = value.sum(dtype=WIDEST)
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
        zero = torch.zeros((), dtype=WIDEST, device=device)
        sums = [self.sums[name].to(device) if name in self.sums else zero for name in names]
        counts = [float(self.counts.get(name, 0)) for name in names]
        return torch.stack([*sums, *torch.tensor([*counts, self.count], dtype=WIDEST, device=device)])

    def set(self, sums: Mapping[str, float], counts: Mapping[str, int], count: int) -> None:
        """Begin with these; see the attributes."""
        self.sums = {name: torch.tensor(total, dtype=WIDEST) for name, total in sums.items()}
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
