"""CIFAR-10 and CIFAR-100, from their binary version: no pickles."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from strobe.data.dataset import ImageDataset, SplitName, check_labels
from strobe.data.fetch import ensure_files
from strobe.data.sources import Archive, RawFile, Source
from strobe.errors import DatasetError

_PIXELS = 3 * 32 * 32


def read_cifar(paths: Sequence[Path], label_bytes: int) -> tuple[Tensor, Tensor]:
    """Read files of records: ``label_bytes`` labels, of which the last is the finest, then 3072 pixels by channel.

    Returns:
        Images ``(N, 3, 32, 32)`` uint8 and labels ``(N,)`` int64.

    Raises:
        DatasetError: If a file can't be read or its size is no multiple of a record's.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
    """
    images, labels = [], []
    record = label_bytes + _PIXELS
    for path in paths:
        try:
            size = path.stat().st_size
            if size == 0 or size % record:
                raise DatasetError(f"{path} has {size} bytes; records of {record} bytes don't fill that")
            records = np.memmap(path, dtype=np.uint8, mode="c", shape=(size // record, record))
        except OSError as error:
            raise DatasetError(f"{path} can't be read: {error}") from error
        labels.append(torch.from_numpy(records[:, label_bytes - 1].astype(np.int64)))
        images.append(torch.from_numpy(np.ascontiguousarray(records[:, label_bytes:])).view(-1, 3, 32, 32))
    return torch.cat(images), torch.cat(labels)


class CifarDataset(ImageDataset):
    """Record files below ``<root>/<folder>/``.

    Attributes:
        folder: Directory under the root.
        files: By split.
        label_bytes: In front of each record's pixels.
        sources: Where to fetch them, in order.
    """

    shape = (3, 32, 32)
    sizes: ClassVar = {"train": 50_000, "test": 10_000}
    folder: ClassVar[str]
    files: ClassVar[dict[SplitName, Sequence[str]]]
    label_bytes: ClassVar[int]
    sources: ClassVar[Sequence[Source]]

    def paths(self, root: Path) -> list[Path]:
        """See `ImageDataset.paths`."""
        return [root / self.folder / name for names in self.files.values() for name in names]

    def prepare(self, root: Path, *, download: bool) -> None:
        """See `ImageDataset.prepare`; the archive's digest is known, files get theirs as they are unpacked."""
        files = [RawFile(name) for names in self.files.values() for name in names]
        ensure_files(root / self.folder, files, self.sources, download=download)

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        """See `ImageDataset.load`."""
        paths = [root / self.folder / name for name in self.files[split]]
        images, labels = read_cifar(paths, self.label_bytes)
        check_labels(labels, images, len(self.classes), paths[0].parent)
        return images, labels


class CIFAR10(CifarDataset):
    """Photographs of ten kinds of things. Krizhevsky: Learning multiple layers of features from tiny images, 2009."""

    title = "CIFAR-10"
    mean = (0.4914, 0.4822, 0.4465)  # of the 50,000 training images
    std = (0.2470, 0.2435, 0.2616)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    folder = "cifar-10-batches-bin"
    label_bytes = 1
    files: ClassVar = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    sources = (
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    )


class CIFAR100(CifarDataset):
    """Photographs of a hundred kinds of things. Krizhevsky, 2009; the fine labels."""

    title = "CIFAR-100"
    mean = (0.5071, 0.4865, 0.4409)  # of the 50,000 training images
    std = (0.2673, 0.2564, 0.2762)
    classes = (
        *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle"),
        *("bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle"),
        *("chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur"),
        *("dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard"),
        *("lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain"),
        *(
            "mouse",
            "mushroom",
            "oak_tree",
            "orange",
            "orchid",
            "otter",
            "palm_tree",
            "pear",
            "pickup_truck",
            "pine_tree",
        ),
        *("plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket"),
        *("rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider"),
        *("squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger"),
        *("tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
    )
    folder = "cifar-100-binary"
    label_bytes = 2
    files: ClassVar = {"train": ["train.bin"], "test": ["test.bin"]}
    sources = (
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    )
