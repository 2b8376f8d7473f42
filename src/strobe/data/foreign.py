"""A LightningDataModule of the user's own, made to keep what ours keeps: order, sharing, randomness, resuming."""

import copy
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from strobe.data.foreign_loaders import copied, parts, shared, why_left
from strobe.data.foreign_order import FixedOrder, LoaderOrder
from strobe.data.order import mix
from strobe.record import lightning_state

log = logging.getLogger(__name__)

_STAGES = ("train", "val", "test", "predict")
_STATE = {"own", "epoch", "batch", "global_batch_size"}


def adopt(data: LightningDataModule, seed: int) -> "Adopted":
    """Have a data module give loaders whose batches follow from the seed, the epoch and the rank.

    Changes the instance: its ``*_dataloader`` hooks, ``state_dict`` and ``load_state_dict``, which call its own ones.

    A torch DataLoader over a dataset that can be indexed is given back as a copy with an order of ours: see
    `LoaderOrder`. ``shuffle=True`` becomes our permutation; so does a DistributedSampler that shuffles, since sharing
    is done here. Any other sampler or batch sampler of the user is gone through once an epoch. Random transforms and
    ``collate_fn`` draw from the global generators of torch, numpy and ``random``, seeded for each batch; a generator
    that a dataset keeps for itself is not known here.

    Left as they are: iterable datasets, loaders of a class that makes its batches in its own way, what is no
    DataLoader, samplers without a length, samplers of the user that share out by themselves. Lightning itself takes up
    within an epoch what has a ``state_dict`` and a ``load_state_dict`` (torchdata's StatefulDataLoader); the others
    can't be. Loaders that predict are shared among ranks, no more.
    """
    return Adopted(data, seed)


class Adopted:
    """What is known of a data module that was adopted; see `adopt`.

    Attributes:
        unresumable: Why the training can't be taken up within an epoch, in words, for example "an iterable dataset";
            None as long as no training loader has been built for which that is so.
        resumes_at_batch: Where the run was resumed within an epoch; None where it begins one. 0 if the loader can't be
            taken up there, so that the epoch is trained again.
        batch_size: Training examples per step and rank; None before a loader has been built, and if it doesn't say.
    """

    def __init__(self, data: LightningDataModule, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.unresumable: str | None = None
        self.resumes_at_batch: int | None = None
        self.batch_size: int | None = None
        self._resumed: tuple[Trainer, int, int] | None = None  # by whom, in which epoch, after so many batches
        self._orders: list[LoaderOrder] = []  # of the training loaders that were built last
        self._warned: set[str] = set()
        self._own_state: Callable[[], dict[str, Any]] = data.state_dict
        self._load_own_state: Callable[[dict[str, Any]], None] = data.load_state_dict
        for stage in _STAGES:
            if is_overridden(name := f"{stage}_dataloader", data):  # Lightning asks this of the instance too
                build = self._train_loaders if stage == "train" else partial(self._loaders, stage)
                setattr(data, name, partial(build, getattr(data, name)))
        data.state_dict = self.state_dict  # type: ignore[method-assign]
        data.load_state_dict = self.load_state_dict  # type: ignore[method-assign]

    @property
    def resumes_within_epoch(self) -> bool:
        """Whether a checkpoint that is taken within an epoch can be resumed exactly."""
        return self.unresumable is None

    def state_dict(self) -> dict[str, Any]:
        """The module's own state, and where the training data stands."""
        assert self.data.trainer is not None, "checkpoints are taken by a trainer"
        epoch, batch = lightning_state.position(self.data.trainer)
        return {"own": self._own_state(), "epoch": epoch, "batch": batch, "global_batch_size": self._global_size()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the module its own state, and let the next training loader begin where the checkpoint was taken.

        Where the global batches have another size now, at the last of their boundaries before that: no example is left
        out of the epoch, and fewer than a global batch of them are seen twice.
        """
        if set(state_dict) != _STATE:  # of a checkpoint that was taken without us
            self._load_own_state(state_dict)
            return
        if state_dict["own"]:
            self._load_own_state(state_dict["own"])
        trainer = self.data.trainer
        assert trainer is not None, "checkpoints are loaded by a trainer"
        if trainer.state.fn != TrainerFn.FITTING:
            return
        epoch, batch = int(state_dict["epoch"]), int(state_dict["batch"])
        if batch:
            if not self._orders and self.unresumable is None:
                self.data.train_dataloader()  # says how large its batches are, and whether it can be taken up
            old, size = state_dict["global_batch_size"], self._global_size()
            if self.unresumable is not None:
                batch = 0
            elif old is not None and size is not None and old != size:
                batch = batch * int(old) // size
                if trainer.is_global_zero:
                    log.info("Global batches have %d examples from here on, instead of %d", size, old)
            self.resumes_at_batch = batch
        self._resumed = trainer, epoch, batch
        self._begin(self._orders)  # FSDP loads a checkpoint after a schedule may have had the loader built

    def _train_loaders(self, own: Callable[[], Any]) -> Any:
        loaders, orders, left, count = self._adopted("train", own())
        self._orders = orders
        several = "several training loaders" if count > 1 and orders else None
        self.unresumable = left[0] if left else several
        if count == 1 and orders:
            self.batch_size = orders[0].batch_size or getattr(orders[0].source, "batch_size", None)
        else:
            self.batch_size = getattr(loaders, "batch_size", None)
        self._begin(orders)
        return loaders

    def _loaders(self, stage: str, own: Callable[[], Any]) -> Any:
        return self._adopted(stage, own())[0]

    def _adopted(self, stage: str, loaders: Any) -> tuple[Any, list[LoaderOrder], list[str], int]:
        """The loaders that stand for those of the user.

        Returns:
            Them, the orders of those that have one of ours, why the others can't be taken up, how many there are.
        """
        orders: list[LoaderOrder] = []
        left: list[str] = []
        count = 0

        def adopted(loader: Any) -> Any:
            nonlocal count
            first, count = count == 0, count + 1
            if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
                return loader
            if (why := why_left(loader)) is not None:
                left.append(why)
                if isinstance(loader, DataLoader) and loader.generator is None:
                    # Else its iterator draws a seed from the stream that dropout uses, before that is set on resume.
                    loader.generator = torch.Generator().manual_seed(self.seed)
                return loader
            seed = self.seed if stage == "train" and first else mix(self.seed, _STAGES.index(stage), count)
            order = self._order(loader, stage, seed)
            if stage == "predict":
                return shared(loader, order)
            orders.append(order)
            return copied(loader, order)

        result = _mapped(loaders, adopted)
        trainer = self.data.trainer
        if left and stage not in self._warned and trainer is not None and trainer.world_size > 1:
            self._warned.add(stage)
            if trainer.is_global_zero:
                log.warning(
                    "%s_dataloader gives %s, which can't be shared here: unless it shares itself out, each of %d "
                    "processes goes through all of it",
                    *(stage, left[0], trainer.world_size),
                )
        return result, orders, left, count

    def _order(self, loader: DataLoader[Any], stage: str, seed: int) -> LoaderOrder:
        trainer = self.data.trainer
        rank, world_size, overfit = 0, 1, False
        if trainer is not None:
            rank, world_size = trainer.global_rank, trainer.world_size
            overfit = trainer.overfit_batches > 0  # type: ignore[attr-defined]  # Lightning doesn't declare it
        found = parts(loader)
        return (FixedOrder if overfit else LoaderOrder)(
            found.source,
            found.batch_size,
            seed=seed,
            shuffle=found.shuffle and not overfit,
            drop_last=found.drop_last and stage != "predict",
            are_keys=loader.batch_sampler is None,
            training=stage == "train",
            rank=rank,
            world_size=world_size,
        )

    def _begin(self, orders: list[LoaderOrder]) -> None:
        """Have training loaders begin where training stands.

        Lightning announces the epoch only after a worker may have begun to prefetch, and may have a loader built before
        a resumed run's progress is known to the trainer.
        """
        trainer = self.data.trainer
        if trainer is None:
            return
        epoch, batch = lightning_state.epochs_done(trainer), 0
        if self._resumed is not None and self._resumed[0] is trainer and self._resumed[1] >= epoch:
            _, epoch, batch = self._resumed
        for order in orders:
            order.set_epoch(epoch)
            order.skip(batch)

    def _global_size(self) -> int | None:
        """Examples per step of all ranks, or batches where those are the user's; None without a loader of ours."""
        assert self.data.trainer is not None
        return (self._orders[0].batch_size or 1) * self.data.trainer.world_size if self._orders else None


def _mapped(loaders: Any, change: Callable[[Any], Any]) -> Any:
    """Collections of loaders, as Lightning takes them, with each loader changed; the user's own stay as they are."""
    match loaders:
        case CombinedLoader():
            combined = copy.copy(loaders)
            combined.flattened = [change(each) for each in loaders.flattened]
            return combined
        case Mapping():
            return {key: _mapped(each, change) for key, each in loaders.items()}
        case list() | tuple():
            mapped = [_mapped(each, change) for each in loaders]
            return type(loaders)(*mapped) if hasattr(loaders, "_fields") else type(loaders)(mapped)
        case _:
            return change(loaders)
