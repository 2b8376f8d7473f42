"""What a dataset is to Strobe: a few facts, files on disk, and two splits of labelled uint8 images."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from strobe.errors import DatasetError

SplitName = Literal["train", "test"]
PreparationName = Literal["centred_digit", "centred_article"]  # see `strobe.data.preparation`


class ImageDataset(ABC):
    """Base class of all datasets. To add one, write a subclass and a YAML file that names it.

    Attributes:
        title: The name people know it by.
        shape: ``(channels, height, width)`` of an image.
        mean: Per channel, of the training images scaled to [0, 1].
        std: Per channel, of the training images scaled to [0, 1].
        classes: Names of the classes, in the order of the labels.
        preparation: What its images went through before they were published, so that `predict` can do it to a person's
            pictures; None where they are scaled, and nothing else.
    """

    title: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    preparation: PreparationName | None = None

    sizes: ClassVar[dict[SplitName, int] | None] = None
    """Number of images per split where it is known without the files; lets a configuration be checked early."""

    def facts(self) -> dict[str, Any]:
        """The attributes, as plain containers: with them, a net can be used where the dataset is not."""
        return {
            "title": self.title,
            "shape": list(self.shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "classes": list(self.classes),
            "preparation": self.preparation,
            "stored_shape": list(self.shape),  # a net may want its images in another one
        }

    def paths(self, root: Path) -> list[Path]:
        """The files that have to be there, where their names are known; to tell at a glance whether any is missing."""
        return []

    @abstractmethod
    def prepare(self, root: Path, *, download: bool) -> None:
        """Make sure the files are there and intact. Called by one process per machine.

        Args:
            root: Where datasets are kept.
            download: Whether anything may be fetched.

        Raises:
            DatasetError: If they are not, and could not be obtained.
        """

    @abstractmethod
    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        """Read one of the two official splits.

        Returns:
            Images ``(N, C, H, W)`` uint8, memory-mapped where the format allows it, and labels ``(N,)`` int64.

        Raises:
            DatasetError: If a file is not what its name says.
        """


def check_labels(labels: Tensor, images: Tensor, classes: int, where: Path) -> None:
    """Refuse labels that don't fit their images.

    Raises:
        DatasetError: If the numbers differ, or a label names no class.
    """
    if labels.ndim != 1:
        raise DatasetError(f"{where} holds a table of {tuple(labels.shape)}, not a list of labels")
    if len(labels) != len(images):
        raise DatasetError(f"{where} holds {len(labels)} labels for {len(images)} images")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        bad = labels[(labels < 0) | (labels >= classes)]
        raise DatasetError(f"{where} holds the label {int(bad[0])}; there are {classes} classes (0 to {classes - 1})")


def permuted(size: int, seed: int) -> Tensor:
    """A permutation of ``range(size)`` that depends on nothing but ``seed``, ``(size,)`` int64."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))
