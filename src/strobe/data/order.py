"""Which images make up which batch: a pure function of (seed, epoch, rank, world size)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler


class BatchKey(NamedTuple):
    """Names one batch: everything that is random about its content follows from this key.

    Attributes:
        seed: Seeds the augmentation of this batch; differs between epochs, batches and ranks.
        indices: Positions in the split, shape ``(B,)`` int64.
    """

    seed: int
    indices: Tensor


class BatchOrder(Sampler[BatchKey]):
    """The batches of one rank, in order.

    The global batch ``k`` is ``permutation[k * G : (k + 1) * G]`` with ``G = batch_size * world_size``; rank ``r``
    takes every ``world_size``-th element of it from ``r``. So the ranks are disjoint, together they cover the set, and
    with the global batch kept equal any number of ranks sees the same global batches. A last global batch with fewer
    images than ranks is merged into the one before it: a rank without an image would have no loss.

    Args:
        size: Number of images in the split.
        batch_size: Images per batch and rank.
        seed: Seeds the permutation, together with the epoch.
        shuffle: False gives the order of the split, in every epoch.
        rank: This process.
        world_size: Number of processes.

    Attributes:
        device: Where the indices of a batch are: with the images. Copied to a GPU batch by batch, they would have every
            step wait for the one before.
        epoch: The one that the next iteration yields.
    """

    def __init__(
        self, size: int, batch_size: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world_size: int = 1
    ) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.device = torch.device("cpu")
        self.epoch = 0
        self._skip = 0
        global_size = batch_size * world_size
        self._starts = list(range(0, size, global_size))
        if len(self._starts) > 1 and size - self._starts[-1] < world_size:
            self._starts.pop()

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[BatchKey]:
        order = self.permutation().to(self.device)
        first, self._skip = self._skip, 0
        for step in range(first, len(self)):
            indices = order[self._global_slice(step)]
            yield BatchKey(
                self._batch_seed(step),
                indices if self.world_size == 1 else indices[self.rank :: self.world_size],
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields. Lightning calls this before each epoch."""
        self.epoch = epoch

    def skip(self, batches: int) -> None:
        """Leave out the first ``batches`` of the next iteration: a resumed run has seen them."""
        self._skip = batches

    def permutation(self) -> Tensor:
        """The order of the whole split in this epoch, shape ``(size,)`` int64, equal on every rank."""
        if not self.shuffle:
            return torch.arange(self.size)
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(mix(self.seed, self.epoch)))

    def global_batch_size(self, step: int) -> int:
        """Number of images that all ranks together see in batch ``step``."""
        return len(range(*self._global_slice(step).indices(self.size)))

    def _global_slice(self, step: int) -> slice:
        stop = self._starts[step + 1] if step + 1 < len(self._starts) else self.size
        return slice(self._starts[step], stop)

    def _batch_seed(self, step: int) -> int:
        return mix(self.seed, self.epoch, step, self.rank)


def mix(*numbers: int) -> int:
    """Hash integers to one 63-bit seed, so that neighboring runs, epochs and batches share no stream.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    """
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1
