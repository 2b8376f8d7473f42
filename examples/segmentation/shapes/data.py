"""Pictures of shapes on noise, made by number: the same ones on every machine, and nothing to download."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

CLASSES = ("background", "circle", "square", "triangle")
"""What a pixel may be of; its label is the place in here."""

SIZE = 32  # pixels, of each side


def draw(number: int) -> tuple[Tensor, Tensor]:
    """One picture: ``(1, 32, 32)`` float32 with mean about 0 and deviation about 1, and ``(32, 32)`` int64 labels.

    One to three shapes of any kind, each as bright as the others: what tells them apart is their outline.
    """
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((SIZE, SIZE), dtype=np.int64)
    for _ in range(random.integers(1, 4)):
        label, radius = random.integers(1, len(CLASSES)), random.integers(5, 9)
        row, column = random.integers(radius, SIZE - radius, size=2)
        down, right = rows - row, columns - column
        if CLASSES[label] == "circle":
            inside = down**2 + right**2 <= radius**2
        elif CLASSES[label] == "square":
            inside = np.maximum(abs(down), abs(right)) < radius
        else:  # its tip is above
            inside = (abs(down) <= radius) & (2 * abs(right) <= down + radius)
        labels[inside] = label  # in front of what was there
    picture = 1.5 * (labels > 0) - 0.4 + random.normal(scale=0.5, size=labels.shape)
    return torch.from_numpy(picture).float()[None], torch.from_numpy(labels)


class Shapes(Dataset[tuple[Tensor, Tensor]]):
    """The pictures of some numbers.

    Args:
        numbers: Which.
        flip: Mirror each picture, or not, by chance. The chance is torch's: Strobe seeds it for every batch, so a run
            that is stopped and resumed flips as one that never was.
    """

    def __init__(self, numbers: range, flip: bool = False) -> None:
        self.pictures = [draw(number) for number in numbers]
        self.flip = flip

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A picture ``(1, 32, 32)`` and its labels ``(32, 32)``."""
        picture, labels = self.pictures[index]
        if self.flip and torch.rand(()) < 0.5:
            return picture.flip(-1), labels.flip(-1)
        return picture, labels


class ShapesDataModule(LightningDataModule):
    """Pictures to train on, to validate and to test with; no two splits share a number.

    Args:
        train_size: Number of pictures.
        val_size: Likewise.
        test_size: Likewise.
        batch_size: Per device and step.
        flip: Mirror the training pictures by chance.
        num_workers: Processes that load.
    """

    def __init__(
        self,
        train_size: int = 1000,
        val_size: int = 200,
        test_size: int = 400,
        batch_size: int = 32,
        flip: bool = True,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = {"test": test_size, "val": val_size, "train": train_size}
        self.flip = flip
        self.options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers}
        self.splits: dict[str, Shapes] = {}

    def facts(self) -> dict[str, Any]:
        """What Strobe gives to a net or a task that names it."""
        return {"in_shape": (1, SIZE, SIZE), "num_classes": len(CLASSES)}

    def setup(self, stage: str) -> None:
        """Draw what a stage needs, once."""
        first = 0
        for split, size in self.sizes.items():
            numbers, first = range(first, first + size), first + size
            if split not in self.splits and (split == "test") == (stage == "test"):
                self.splits[split] = Shapes(numbers, flip=self.flip and split == "train")

    def train_dataloader(self) -> DataLoader[Any]:
        """A plain loader: Strobe sees to the order, to the share of each process, and to resuming within an epoch."""
        return DataLoader(self.splits["train"], shuffle=True, **self.options)

    def val_dataloader(self) -> DataLoader[Any]:
        """In the order of the numbers."""
        return DataLoader(self.splits["val"], **self.options)

    def test_dataloader(self) -> DataLoader[Any]:
        """In the order of the numbers."""
        return DataLoader(self.splits["test"], **self.options)
