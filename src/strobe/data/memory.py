"""What datamodules that serve tensors share: the order of the batches, and how a resumed run takes it up."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sized
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule

from strobe.data.loaders import Batch, SequentialBatchOrder
from strobe.data.order import BatchOrder
from strobe.record import lightning_state

log = logging.getLogger(__name__)


class MemoryDataModule(LightningDataModule):
    """Base class: a subclass fills ``splits`` in its `setup` and makes a loader from the name of one and an order.

    Args:
        batch_size: Training examples per step and device.
        eval_batch_size: Validation and test examples per step and device.
        seed: Orders the training examples.
        shuffle: False gives the training examples in the order of the split.

    Attributes:
        splits: By name: ``train``, ``val`` and ``test``.
        resumes_within_epoch: A run that was stopped within an epoch is resumed there, not at the epoch's beginning.
        unresumable: Why it would not be.
        resumes_at_batch: Of an epoch, from which a resumed run goes on; None where it begins one.
        unit: What the examples are called in messages.
    """

    resumes_within_epoch: ClassVar[bool] = True
    unresumable: ClassVar[str | None] = None
    unit: ClassVar[str] = "examples"

    def __init__(self, *, batch_size: int, eval_batch_size: int, seed: int, shuffle: bool) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.splits: Mapping[str, Sized] = {}
        self.resumes_at_batch: int | None = None
        self._resume_at: dict[str, int] | None = None
        self._train_order: BatchOrder | None = None

    @abstractmethod
    def _loader(self, split: str, order: BatchOrder) -> Iterable[Batch]:
        """A loader over ``self.splits[split]`` with ``order`` as its ``sampler``."""

    def train_dataloader(self) -> Iterable[Batch]:
        """Shuffled; the last batch is short where the numbers don't divide."""
        order = self._order("train", self.batch_size, shuffle=self.shuffle)
        if self.trainer is not None:
            # Lightning announces the epoch only after a worker may have begun to prefetch, and a schedule that asks for
            # the number of steps has the loader built before a resumed run's progress is known to the trainer.
            start = self._resume_at or {"epoch": lightning_state.epochs_done(self.trainer), "batch": 0}
            order.set_epoch(start["epoch"])
            order.skip(start["batch"])
            self._resume_at = None
        self._train_order = order
        return self._loader("train", order)

    def val_dataloader(self) -> Iterable[Batch]:
        """In the order of the split."""
        return self._loader("val", self._order("val", self.eval_batch_size))

    def test_dataloader(self) -> Iterable[Batch]:
        """In the order of the split."""
        return self._loader("test", self._order("test", self.eval_batch_size))

    def state_dict(self) -> dict[str, Any]:
        """Where the training data stands: the epoch, how many of its batches are done, and how large they are."""
        assert self.trainer is not None, "checkpoints are taken by a trainer"
        epoch, batch = lightning_state.position(self.trainer)
        return {"epoch": epoch, "batch": batch, "global_batch_size": self.batch_size * self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader begin where the checkpoint was taken.

        Where the global batches have another size now, at the last of their boundaries before that: no example is left
        out of the epoch, and fewer than a global batch of them are seen twice.
        """
        assert self.trainer is not None, "checkpoints are loaded by a trainer"
        size = self.batch_size * self.trainer.world_size
        old = int(state_dict.get("global_batch_size", size))
        batch = int(state_dict["batch"]) * old // size
        self.resumes_at_batch = batch if state_dict["batch"] else None
        if self._train_order is not None:  # FSDP loads a checkpoint after a schedule may have had the loader built
            self._train_order.set_epoch(int(state_dict["epoch"]))
            self._train_order.skip(batch)
        else:
            self._resume_at = {"epoch": int(state_dict["epoch"]), "batch": batch}
        if old != size and self.trainer.is_global_zero:
            log.info("Global batches have %d %s from here on, instead of %d", size, self.unit, old)

    def _order(self, split: str, batch_size: int, *, shuffle: bool = False) -> BatchOrder:
        rank, world_size, overfit = 0, 1, False
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
            overfit = self.trainer.overfit_batches > 0  # type: ignore[attr-defined]  # Lightning doesn't declare it
        kind = SequentialBatchOrder if overfit else BatchOrder
        return kind(
            len(self.splits[split]),
            batch_size,
            seed=self.seed,
            shuffle=shuffle and not overfit,
            rank=rank,
            world_size=world_size,
        )
