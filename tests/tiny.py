"""A small data set with classes that can be learnt, for tests of everything that trains."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from strobe.data.dataset import SplitName
from strobe.data.idx import IdxDataset
from strobe.data.sources import RawFile


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


class TinyDigits(IdxDataset):
    """640 training and 163 test images of 28x28 pixels: a bright square on noise, whose place is the class."""

    title = "TinyDigits"
    shape = (1, 28, 28)
    mean = (0.2,)
    std = (0.25,)
    classes = tuple("0123456789")
    sizes: ClassVar[dict[SplitName, int]] = {"train": 640, "test": 163}
    folder = "tiny"
    files = tuple(
        RawFile(f"{prefix}-{kind}")
        for prefix in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    sources = ()


def write_tiny(root: Path) -> None:
    """Write the files of `TinyDigits` under ``root``."""
    directory = root / TinyDigits.folder / "raw"
    directory.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, size in (("train", TinyDigits.sizes["train"]), ("t10k", TinyDigits.sizes["test"])):
        labels = random.integers(0, 10, size)
        images = random.integers(0, 100, (size, 28, 28))
        for image, label in zip(images, labels, strict=True):
            row, column = 2 + 12 * (label // 5), 1 + 5 * (label % 5)
            image[row : row + 5, column : column + 5] = 255
        write_idx(directory / f"{prefix}-images-idx3-ubyte", images)
        write_idx(directory / f"{prefix}-labels-idx1-ubyte", labels)
