"""The one LightningDataModule: official splits, a validation set carved from train, either loader."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from strobe.data.augment import Compose
from strobe.data.dataset import ImageDataset, SplitName, permuted
from strobe.data.loaders import (
    Augmentation,
    Batch,
    Batches,
    MemoryLoader,
    SequentialBatchOrder,
    TensorSplit,
    torch_loader,
)
from strobe.data.order import BatchOrder
from strobe.data.root import default_root, expanded
from strobe.errors import ConfigError
from strobe.record import lightning_state

log = logging.getLogger(__name__)

Loader = MemoryLoader | DataLoader[Batch]


class ImageDataModule(LightningDataModule):
    """Serves a dataset's train, validation and test batches.

    Args:
        dataset: What to serve.
        root: Where datasets are kept; None is the per-user cache, see `default_root`.
        download: Whether missing files may be fetched.
        batch_size: Training images per step and device.
        eval_batch_size: Validation and test images per step and device.
        val_size: Images taken from the training split for validation; 0 trains on all of it.
        split_seed: Chooses which; apart from ``seed``, so that runs with different seeds stay comparable.
        seed: Orders the training images and draws the augmentations.
        shuffle: False gives the training images in the order of the file.
        loader: ``memory`` slices tensors on the training device, ``torch`` uses torch's DataLoader.
        num_workers: Processes of the torch loader.
        augment: Whether to apply ``augmentations`` to training images.
        augmentations: By name, in order; None leaves one out.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        *,
        root: str | None = None,
        download: bool = True,
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        val_size: int = 5000,
        split_seed: int = 0,
        seed: int = 0,
        shuffle: bool = True,
        loader: Literal["memory", "torch"] = "memory",
        num_workers: int = 0,
        augment: bool = False,
        augmentations: Mapping[str, Augmentation | None] | None = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.root = default_root() if root is None else expanded(str(root), "data.root")
        self.download = download
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.seed = seed
        self.shuffle = shuffle
        self.loader = loader
        self.num_workers = num_workers
        chosen = [augmentation for augmentation in (augmentations or {}).values() if augmentation is not None]
        self.augmentation = Compose(chosen) if augment and chosen else None
        self.splits: dict[str, TensorSplit] = {}
        self.trained_with: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and std, if not this set's
        self.resumes_at_batch: int | None = None  # within an epoch; None where a run begins one
        self._resume_at: dict[str, int] | None = None
        self._train_order: BatchOrder | None = None

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of an image."""
        return self.dataset.shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.classes)

    def prepare_data(self) -> None:
        """Fetch and verify the files; Lightning calls this in one process per machine.

        Raises:
            DatasetError: If they are missing or damaged and could not be obtained.
        """
        self.dataset.prepare(self.root, download=self.download)

    def setup(self, stage: str | None = None) -> None:
        """Read the splits that ``stage`` needs.

        Raises:
            ConfigError: If ``val_size`` leaves nothing to train on, or the targets are no classes.
            DatasetError: If a file is not what its name says.
        """
        if stage in (None, "fit", "validate") and "train" not in self.splits:
            images, targets = self._load("train")
            if not 0 <= self.val_size < len(targets):
                raise ConfigError(
                    f"data.val_size={self.val_size!r} of {len(targets)} training images: "
                    f"choose 0 to {len(targets) - 1}, for example data.val_size={len(targets) // 12}"
                )
            shuffled = permuted(len(targets), self.split_seed)
            # Sorted: without shuffling, the training images come in the order of the file.
            self.splits["val"] = TensorSplit(images, targets, shuffled[: self.val_size].sort().values)
            self.splits["train"] = TensorSplit(images, targets, shuffled[self.val_size :].sort().values)
        if stage in (None, "test") and "test" not in self.splits:
            self.splits["test"] = TensorSplit(*self._load("test"))

    def train_dataloader(self) -> Loader:
        """Shuffled, augmented; the last batch is short where the numbers don't divide."""
        order = self._order("train", self.batch_size, shuffle=self.shuffle)
        if self.trainer is not None:
            # Lightning announces the epoch only after a worker may have begun to prefetch, and a schedule that asks for
            # the number of steps has the loader built before a resumed run's progress is known to the trainer.
            start = self._resume_at or {"epoch": lightning_state.epochs_done(self.trainer), "batch": 0}
            order.set_epoch(start["epoch"])
            order.skip(start["batch"])
            self._resume_at = None
        self._train_order = order
        return self._loader("train", order, self.augmentation)

    def val_dataloader(self) -> Loader:
        """In file order."""
        return self._loader("val", self._order("val", self.eval_batch_size))

    def test_dataloader(self) -> Loader:
        """The official test images, in file order."""
        return self._loader("test", self._order("test", self.eval_batch_size))

    def state_dict(self) -> dict[str, Any]:
        """Where the training data stands: the epoch, how many of its batches are done, and how large they are."""
        assert self.trainer is not None, "checkpoints are taken by a trainer"
        epoch, batch = lightning_state.position(self.trainer)
        return {"epoch": epoch, "batch": batch, "global_batch_size": self.batch_size * self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader begin where the checkpoint was taken.

        Where the global batches have another size now, at the last of their boundaries before that: no image is left
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
            log.info("Global batches have %d images from here on, instead of %d", size, old)

    def _load(self, split: SplitName) -> tuple[Tensor, Tensor]:
        images, targets = self.dataset.load(self.root, split)
        classes = (
            targets.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
            and targets.shape == (len(images),)
            and not bool(((targets < 0) | (targets >= self.num_classes)).any())
        )
        if not classes:
            raise ConfigError(
                f"data.dataset: the {split} targets of {self.dataset.title} are {targets.dtype} of shape "
                f"{tuple(targets.shape)}; accuracy means something for classes alone: one whole number from 0 to "
                f"{self.num_classes - 1} for each of {len(images)} images"
            )
        return images, targets

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

    def _loader(self, split: str, order: BatchOrder, augmentation: Augmentation | None = None) -> Loader:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        images = self.splits[split]
        mean, std = self.trained_with or (self.dataset.mean, self.dataset.std)
        if self.loader == "memory":
            if device.type != "cuda":
                return MemoryLoader(Batches(images, mean, std, augmentation), order)
            if not _fits(images, device):
                return MemoryLoader(Batches(images, mean, std, augmentation, device), order)
            order.device = device
            return MemoryLoader(Batches(images.to(device), mean, std, augmentation), order)
        batches = Batches(images, mean, std, augmentation)
        return torch_loader(batches, order, self.num_workers, pin_memory=device.type == "cuda")


def _fits(split: TensorSplit, device: torch.device) -> bool:
    """Whether the images take at most a quarter of the device's free memory."""
    free, _ = torch.cuda.mem_get_info(device)
    return split.images.numel() * 4 <= free
