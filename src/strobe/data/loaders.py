"""From a split to batches: the in-memory loader, and torch's DataLoader over the very same batches."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from strobe.data.order import BatchKey, BatchOrder
from strobe.data.resized import Resize

Batch = tuple[Tensor, Tensor]
"""Images ``(B, C, H, W)`` float32 and targets: ``(B,)`` int64, or ``(B, classes)`` float32 when they are mixed."""

Augmentation = Callable[[Tensor, Tensor, torch.Generator], Batch]
"""Takes images in [0, 1], targets and the generator of this batch; returns new images and targets."""


class Split(Protocol):
    """A set of labelled images that can give any selection of them as one tensor."""

    def __len__(self) -> int: ...

    def select(self, indices: Tensor) -> Batch:
        """The images ``(B, C, H, W)`` uint8 and targets ``(B,)`` int64 at ``indices`` ``(B,)``, all on one device."""
        ...


class TensorSplit:
    """A split held as one tensor; a selection is one gather.

    Args:
        images: ``(N, C, H, W)`` uint8.
        targets: ``(N,)`` int64.
        positions: Restrict the split to these rows, ``(M,)`` int64, without copying the images.
    """

    def __init__(self, images: Tensor, targets: Tensor, positions: Tensor | None = None) -> None:
        self.images = images
        self.targets = targets
        self.positions = positions

    def __len__(self) -> int:
        return len(self.targets if self.positions is None else self.positions)

    def select(self, indices: Tensor) -> Batch:
        """Gather rows; see `Split.select`."""
        rows = indices if self.positions is None else self.positions[indices]
        return self.images.index_select(0, rows), self.targets.index_select(0, rows)

    def to(self, device: torch.device) -> "TensorSplit":
        """The same split on another device."""
        positions = None if self.positions is None else self.positions.to(device)
        return TensorSplit(self.images.to(device), self.targets.to(device), positions)


class Batches(Dataset[Batch]):
    """Maps a `BatchKey` to its batch: select, augment, normalize.

    Both loaders go through here, which is why they yield the same tensors.

    Args:
        split: Where the images come from.
        mean: Per channel, subtracted after scaling to [0, 1].
        std: Per channel, divided by.
        augment: Applied before the normalization, so that what it fills in is black; None leaves the images alone.
        resize: What scales images before their normalization; None leaves their size.
        device: A GPU to do so on; its batches go there through pinned memory, as uint8. None stays where the split is.
    """

    def __init__(
        self,
        split: Split,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augment: Augmentation | None = None,
        device: torch.device | None = None,
        resize: Resize | None = None,
    ) -> None:
        self.split = split
        self.mean = torch.tensor(mean).view(1, -1, 1, 1)
        self.std = torch.tensor(std).view(1, -1, 1, 1)
        self.augment = augment
        self.device = device
        self.resize = resize

    def __getitem__(self, key: BatchKey) -> Batch:
        pixels, targets = self.split.select(key.indices)
        if self.device is not None:
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
            targets = targets.pin_memory().to(self.device, non_blocking=True)
        if self.mean.device != pixels.device:
            self.mean, self.std = self.mean.to(pixels.device), self.std.to(pixels.device)
        # The arithmetic of torchvision's ToTensor and Normalize, in their order: bit for bit the same numbers.
        images = pixels.to(torch.float32).div_(255)
        if self.augment is not None:
            images, targets = self.augment(images, targets, torch.Generator(images.device).manual_seed(key.seed))
        if self.resize is not None:
            images = self.resize(images)
        return images.sub_(self.mean).div_(self.std), targets


class MemoryLoader:
    """Iterates over batches in this process, without workers: for splits that are tensors already.

    Lightning finds ``sampler`` and tells it the epoch, as it does with torch's DataLoader.
    """

    batch_sampler = None  # Lightning asks for it wherever there is a sampler

    def __init__(self, batches: Batches, order: BatchOrder) -> None:
        self.batches = batches
        self.sampler = order

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for key in self.sampler:
            yield self.batches[key]


class SequentialBatchOrder(BatchOrder, SequentialSampler):  # type: ignore[misc]  # torch's yields int
    """An unshuffled order that Lightning recognises as one, so that ``overfit_batches`` leaves it in place."""


def torch_loader(batches: Batches, order: BatchOrder, num_workers: int, pin_memory: bool) -> DataLoader[Batch]:
    """Torch's own DataLoader over the same batches; ``batch_size=None`` because a key already names a whole batch."""
    return DataLoader(
        batches,
        sampler=order,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        generator=torch.Generator().manual_seed(order.seed),  # else it draws from the stream that dropout uses
    )
