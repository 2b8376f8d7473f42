"""Which examples of a stranger's loader make up which batch: a pure function of (seed, epoch, rank, world size)."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler, SequentialSampler

from strobe.data.foreign_batches import Key, seeded
from strobe.data.order import mix
from strobe.errors import ConfigError


class LoaderOrder(Sampler[Key]):
    """The batches of one rank, in order; as in `BatchOrder`, whose batches a shuffled set has too.

    The order is cut into global batches of ``batch_size * world_size``, of which rank ``r`` takes every
    ``world_size``-th element from ``r``. A last one with fewer elements than ranks is merged into the one before it.

    Where the elements are whole batches already (``batch_size=None``), a global batch is one for each rank. What the
    number of ranks leaves over at the end is not trained on, since every rank has to take the same steps and a batch
    that belongs together is not torn; in an evaluation the first ranks have one batch more than the others.

    Args:
        source: Gives the elements: a ``range`` in its own order, or the user's sampler or batch sampler, which is gone
            through once an epoch, on every rank with the same seed.
        batch_size: Elements per batch and rank; None if each is a batch.
        are_keys: Whether such a batch is one element of the dataset, instead of a list of indices.
        seed: Seeds everything here, together with the epoch.
        shuffle: Draw a permutation of a ``range``.
        drop_last: Leave out a last global batch that is not full.
        training: An evaluation is the same in every epoch, so that weights always get the same number.
        rank: This process.
        world_size: Number of processes.

    Attributes:
        epoch: The one that the next iteration yields.
        generator: Of the loader: from it the workers are seeded, alike whenever this epoch is begun.

    Raises:
        ConfigError: If there are fewer elements than ranks.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int | None,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        are_keys: bool = False,
        training: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.are_keys = are_keys
        self.training = training
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.generator = torch.Generator()
        self._drops_last = drop_last or (training and batch_size is None)
        self._skip = 0
        self._drawn: tuple[int, Any] | None = None  # the epoch and its elements
        if 0 < len(source) < world_size:
            what = "batches" if batch_size is None else "examples"
            raise ConfigError(
                f"trainer.devices: {len(source)} {what} can't be shared by {world_size} processes: "
                f"choose at most trainer.devices={len(source)} and trainer.num_nodes=1"
            )

    def __len__(self) -> int:
        return self._steps(len(self.source))

    def __iter__(self) -> Iterator[Key]:
        self.generator.manual_seed(mix(self.seed, self.epoch, self.rank))
        return self._keys()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields. Lightning calls this before each epoch."""
        if self.training:
            self.epoch = epoch

    def skip(self, batches: int) -> None:
        """Leave out the first ``batches`` of the next iteration: a resumed run has seen them."""
        self._skip = batches

    def global_batch_size(self, step: int) -> int | None:
        """Number of examples that all ranks together see in batch ``step``; None where only the dataset knows it."""
        elements = self.elements()
        chosen = elements[self._global_slice(step, len(elements))]
        if self.batch_size is not None:
            return len(chosen)
        return sum(map(len, chosen)) if all(isinstance(each, list | tuple) for each in chosen) else None

    def _keys(self) -> Iterator[Key]:
        elements = self.elements()
        first, self._skip = self._skip, 0
        for step in range(first, self._steps(len(elements))):
            chosen = elements[self._global_slice(step, len(elements))][self.rank :: self.world_size]
            if self.batch_size is None and not self.are_keys:
                chosen = chosen[0]
            indices = chosen.tolist() if isinstance(chosen, torch.Tensor) else chosen
            yield Key(indices, mix(self.seed, self.epoch, step, self.rank))

    def elements(self) -> Any:
        """All of this epoch's, equal on every rank."""
        epoch = 0 if isinstance(self, SequentialSampler) else self.epoch
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._draw(epoch)
        return self._drawn[1]

    def _draw(self, epoch: int) -> Any:
        seed = mix(self.seed, epoch)
        if self.shuffle:
            return torch.randperm(len(self.source), generator=torch.Generator().manual_seed(seed))
        if isinstance(self.source, range):
            return self.source
        drawn = _gone_through(self.source, epoch, seed)
        return [list(batch) for batch in drawn] if self.batch_size is None and not self.are_keys else drawn

    def _steps(self, size: int) -> int:
        full, rest = divmod(size, (self.batch_size or 1) * self.world_size)
        if self._drops_last or rest == 0:
            return full
        if self.batch_size is None:
            return full + (self.rank < rest)
        return full if full and rest < self.world_size else full + 1

    def _global_slice(self, step: int, size: int) -> slice:
        global_size = (self.batch_size or 1) * self.world_size
        start, stop = step * global_size, (step + 1) * global_size
        merged = self.batch_size is not None and not self._drops_last and size - stop < self.world_size
        return slice(start, size if merged else stop)


class FixedOrder(LoaderOrder, SequentialSampler):  # type: ignore[misc]  # torch's yields int
    """The same in every epoch: Lightning takes it for a sequential one, and ``overfit_batches`` leaves it in place."""


class ShareOfRank(Sampler[Any]):
    """One rank's share of an order, element by element: of what is to be predicted, Lightning makes the batches.

    Args:
        order: One that was made for an evaluation.
    """

    def __init__(self, order: LoaderOrder) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(range(self.order.rank, len(self.order.source), self.order.world_size))

    def __iter__(self) -> Iterator[Any]:
        elements = self.order.elements()[self.order.rank :: self.order.world_size]
        return iter(elements.tolist() if isinstance(elements, torch.Tensor) else elements)


def _gone_through(sampler: Any, epoch: int, seed: int) -> list[Any]:
    """What a sampler of the user yields in one epoch; as many as it says, for some never end."""
    with seeded(seed):
        for each in (sampler, getattr(sampler, "sampler", None)):
            if callable(set_epoch := getattr(each, "set_epoch", None)):
                set_epoch(epoch)
            for kept in vars(each).values() if hasattr(each, "__dict__") else ():
                _seed_generator(kept, seed)
        return [list(each) if isinstance(each, list) else each for each in islice(sampler, len(sampler))]


def _seed_generator(generator: Any, seed: int) -> None:
    """Seed a generator that a sampler keeps for itself; whatever else it keeps is left alone."""
    match generator:
        case torch.Generator():
            generator.manual_seed(seed)
        case random.Random():
            generator.seed(seed)
        case np.random.Generator():
            bits = generator.bit_generator
            bits.state = type(bits)(seed).state
        case np.random.RandomState():
            generator.seed(seed >> 31)
