"""The LightningDataModule of images: official splits, a validation set carved from train, either loader."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from strobe.data.augment import Compose
from strobe.data.dataset import ImageDataset, SplitName, permuted
from strobe.data.loaders import (
    Augmentation,
    Batch,
    Batches,
    MemoryLoader,
    TensorSplit,
    torch_loader,
)
from strobe.data.memory import MemoryDataModule
from strobe.data.order import BatchOrder
from strobe.data.resized import Resize
from strobe.data.root import default_root, expanded
from strobe.errors import ConfigError

Loader = MemoryLoader | DataLoader[Batch]


class ImageDataModule(MemoryDataModule):
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

    unit = "images"

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
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed, shuffle=shuffle)
        self.dataset = dataset
        self.root = default_root() if root is None else expanded(str(root), "data.root")
        self.download = download
        self.val_size = val_size
        self.split_seed = split_seed
        self.loader = loader
        self.num_workers = num_workers
        chosen = [augmentation for augmentation in (augmentations or {}).values() if augmentation is not None]
        self.augmentation = Compose(chosen) if augment and chosen else None
        self.splits: dict[str, TensorSplit] = {}
        self.trained_with: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and std, if not this set's
        self._resize: Resize | None = None  # what the net wants its images like

    def suit(self, *, mean: Sequence[float] | None, std: Sequence[float] | None, size: Sequence[int] | None) -> None:
        """Give images as a net wants them; None leaves that as the dataset has it.

        Args:
            mean: Per channel, to be subtracted; of three channels, gray images are repeated.
            std: Per channel, to be divided by.
            size: Height and width in pixels.
        """
        repeats = mean is not None and len(mean) == 3 and self.dataset.shape[0] == 1
        if size is not None or repeats:
            self._resize = Resize(None if size is None else (size[0], size[1]), 3 if repeats else None)
        if mean is not None and std is not None:
            self.trained_with = tuple(mean), tuple(std)

    def facts(self) -> dict[str, Any]:
        """What there is to know of the images, for nets and tasks that name it among their arguments.

        ``mean`` and ``std`` are missing as long as the dataset doesn't know them: a folder's, before it has been read.
        """
        known = {"title": self.dataset.title, "classes": list(self.dataset.classes)}
        with suppress(KeyError):
            known = self.as_given()
        return {**known, "in_shape": self.in_shape, "num_classes": self.num_classes}

    def as_given(self) -> dict[str, Any]:
        """`ImageDataset.facts` of the images as this gives them: resized, and how they are normalized."""
        mean, std = self.trained_with or (self.dataset.mean, self.dataset.std)
        return {**self.dataset.facts(), "shape": list(self.in_shape), "mean": list(mean), "std": list(std)}

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of an image as this gives it."""
        return self.dataset.shape if self._resize is None else self._resize.shape(self.dataset.shape)

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
            ConfigError: If ``val_size`` leaves nothing to train on, or a label names no class.
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

    def _load(self, split: SplitName) -> tuple[Tensor, Tensor]:
        images, targets = self.dataset.load(self.root, split)
        if len(targets) != len(images):
            title = self.dataset.title
            raise ConfigError(f"data.dataset: {title} gives {len(targets)} targets for {len(images)} images")
        labels = targets.ndim == 1 and not targets.is_floating_point()
        if labels and bool(((targets < 0) | (targets >= self.num_classes)).any()):
            raise ConfigError(
                f"data.dataset: the {split} targets of {self.dataset.title} go from {int(targets.min())} to "
                f"{int(targets.max())}; the label of a class is a whole number from 0 to {self.num_classes - 1}"
            )
        return images, targets

    def _loader(self, split: str, order: BatchOrder) -> Loader:
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]  # Lightning
        augmentation = self.augmentation if split == "train" and not overfit else None
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        images = self.splits[split]
        mean, std = self.trained_with or (self.dataset.mean, self.dataset.std)
        batches = Batches(images, mean, std, augmentation, resize=self._resize)
        if self.loader == "memory":
            if device.type == "cuda":
                if fits := _fits(images, device):
                    order.device = device
                images = images.to(device) if fits else images
                batches = Batches(images, mean, std, augmentation, None if fits else device, resize=self._resize)
            return MemoryLoader(batches, order)
        return torch_loader(batches, order, self.num_workers, pin_memory=device.type == "cuda")


def _fits(split: TensorSplit, device: torch.device) -> bool:
    """Whether the images take at most a quarter of the device's free memory."""
    free, _ = torch.cuda.mem_get_info(device)
    return split.images.numel() * 4 <= free
