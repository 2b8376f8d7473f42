"""CIFAR's binary files: what is read is what was written, and anything else is refused by name."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from strobe.data.cifar import CIFAR10, CIFAR100, CifarDataset, read_cifar
from strobe.data.sources import Archive
from strobe.errors import DatasetError
from tests.conftest import Train, report

KINDS: list[type[CifarDataset]] = [CIFAR10, CIFAR100]


def records(labels: Sequence[Sequence[int]], seed: int = 0) -> np.ndarray:
    """A record per row of labels, its pixels drawn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([np.array(labels, dtype=np.uint8), pixels], axis=1)


def content(kind: type[CifarDataset], each: int = 4) -> dict[str, bytes]:
    """Name -> bytes of a small copy of every file of ``kind``."""
    names = [name for names in kind.files.values() for name in names]
    classes = len(kind.classes)
    return {
        name: records([[0] * (kind.label_bytes - 1) + [(7 * place + row) % classes] for row in range(each)], place)
        .astype(np.uint8)
        .tobytes()
        for place, name in enumerate(names)
    }


def write_small(kind: type[CifarDataset], root: Path, each: int = 4) -> Path:
    directory = root / kind.folder
    directory.mkdir(parents=True)
    for name, data in content(kind, each).items():
        (directory / name).write_bytes(data)
    return directory


@pytest.mark.parametrize("label_bytes", [1, 2])
@pytest.mark.parametrize("counts", [(1,), (3,), (2, 1, 3)])
def test_what_is_read_is_what_was_written_file_after_file(
    tmp_path: Path, label_bytes: int, counts: tuple[int, ...]
) -> None:
    written, paths = [], []
    for place, count in enumerate(counts):
        table = records([[90 + row, row][-label_bytes:] for row in range(place, place + count)], seed=place)
        paths.append(tmp_path / f"{place}.bin")
        paths[-1].write_bytes(table.tobytes())
        written.append(table)
    table = np.concatenate(written)
    images, labels = read_cifar(paths, label_bytes)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert (images.shape, labels.shape) == ((len(table), 3, 32, 32), (len(table),))
    assert labels.tolist() == table[:, label_bytes - 1].tolist(), "the last label is the finest"
    assert images.numpy().tobytes() == table[:, label_bytes:].tobytes()


def test_pixels_come_by_channel_and_then_by_row(tmp_path: Path) -> None:
    image = np.zeros((3, 32, 32), dtype=np.uint8)
    image[0], image[2, 5, 7] = 255, 9  # all red; one pixel of blue in row 5, column 7
    (tmp_path / "one").write_bytes(b"\x03" + image.tobytes())
    images, labels = read_cifar([tmp_path / "one"], 1)
    assert labels.tolist() == [3]
    assert images[0, 0].unique().tolist() == [255]
    assert images[0, 1].unique().tolist() == [0]
    assert images[0, 2].nonzero().tolist() == [[5, 7]]


def test_writing_to_the_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(records([[1], [2]]).tobytes())
    before = path.read_bytes()
    images, labels = read_cifar([path], 1)
    images.add_(1)
    labels.zero_()
    assert path.read_bytes() == before


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "one byte short": lambda whole: whole[:-1],
    "one byte long": lambda whole: whole + b"\0",
    "HTML": lambda whole: b"<html></html>",
    "records of the other kind": lambda whole: b"\0" + whole,
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_not_whole_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    directory = write_small(CIFAR10, tmp_path)
    path = directory / "data_batch_3.bin"
    path.write_bytes(WRONG[fault](path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"data_batch_3\.bin has {path.stat().st_size} bytes.* 3073 bytes"):
        CIFAR10().load(tmp_path, "train")
    assert len(CIFAR10().load(tmp_path, "test")[1]) == 4, "the other split is not concerned"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train\.bin can't be read"):
        CIFAR100().load(tmp_path, "train")


@pytest.mark.parametrize(("kind", "label"), [(CIFAR10, 10), (CIFAR10, 255), (CIFAR100, 100)])
def test_a_label_that_names_no_class_is_refused(tmp_path: Path, kind: type[CifarDataset], label: int) -> None:
    directory = write_small(kind, tmp_path)
    data = bytearray((directory / kind.files["test"][0]).read_bytes())
    data[kind.label_bytes - 1] = label
    (directory / kind.files["test"][0]).write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=rf"the label {label}; there are {len(kind.classes)} classes"):
        kind().load(tmp_path, "test")


def test_the_coarse_label_of_cifar100_decides_nothing(tmp_path: Path) -> None:
    directory = write_small(CIFAR100, tmp_path)
    (directory / "test.bin").write_bytes(records([[255, 99], [19, 0]]).tobytes())
    assert CIFAR100().load(tmp_path, "test")[1].tolist() == [99, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_splits_are_the_official_ones(tmp_path: Path, kind: type[CifarDataset]) -> None:
    write_small(kind, tmp_path)
    kind().prepare(tmp_path, download=False)
    for split, names in kind.files.items():
        images, labels = kind().load(tmp_path, split)
        assert len(images) == len(labels) == 4 * len(names)
        joined = b"".join((tmp_path / kind.folder / name).read_bytes()[kind.label_bytes :][:3072] for name in names)
        assert images[::4].numpy().tobytes() == joined


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_of_a_dataset_agree_with_each_other(kind: type[CifarDataset]) -> None:
    assert kind.shape == (3, 32, 32)
    assert len(kind.mean) == len(kind.std) == 3
    assert all(0 < value < 1 for value in (*kind.mean, *kind.std))
    assert kind.sizes == {"train": 50_000, "test": 10_000}
    assert set(kind.files) == {"train", "test"}
    for source in kind.sources:
        assert isinstance(source, Archive)
        assert source.url.startswith("https://")
        assert len(source.sha256) == 64
        assert int(source.sha256, 16) > 0


def test_the_names_of_the_classes_are_sorted_and_unique() -> None:
    for kind, number in ((CIFAR10, 10), (CIFAR100, 100)):
        assert len(set(kind.classes)) == len(kind.classes) == number
        assert list(kind.classes) == sorted(kind.classes)


class Server(ThreadingHTTPServer):
    """Answers every path with the archive."""

    daemon_threads = True
    archive = b""
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.archive)))
        self.end_headers()
        self.wfile.write(self.server.archive)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def packed(kind: type[CifarDataset], files: dict[str, bytes]) -> bytes:
    """An archive as the publisher packs it, with a file beside those that are wanted."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in {"batches.meta.txt": b"airplane\n", **files}.items():
            member = tarfile.TarInfo(f"{kind.folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def serve(monkeypatch: pytest.MonkeyPatch, server: Server, kind: type[CifarDataset], archive: bytes) -> None:
    server.archive = archive
    url = f"http://127.0.0.1:{server.server_port}/archive.tar.gz"
    monkeypatch.setattr(kind, "sources", (Archive(url, hashlib.sha256(archive).hexdigest()),))


@pytest.mark.parametrize("kind", KINDS)
def test_the_archive_is_fetched_once_and_unpacked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, kind: type[CifarDataset]
) -> None:
    files = content(kind)
    serve(monkeypatch, server, kind, packed(kind, files))
    kind().prepare(tmp_path, download=True)
    kind().prepare(tmp_path, download=True)
    kind().prepare(tmp_path, download=False)
    assert server.asked == 1
    assert {name: (tmp_path / kind.folder / name).read_bytes() for name in files} == files
    assert not (tmp_path / kind.folder / "batches.meta.txt").exists()
    assert len(kind().load(tmp_path, "train")[1]) == 4 * len(kind.files["train"])


def test_an_archive_with_another_digest_is_refused_and_leaves_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, server, CIFAR10, packed(CIFAR10, content(CIFAR10)))
    server.archive = packed(CIFAR10, {**content(CIFAR10), "test_batch.bin": b"\0" * 3073})
    with pytest.raises(DatasetError, match=r"archive\.tar\.gz: archive has SHA-256 .*, expected"):
        CIFAR10().prepare(tmp_path, download=True)
    assert list((tmp_path / CIFAR10.folder).rglob("*.bin")) == []


def test_an_archive_that_lacks_a_file_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = content(CIFAR10)
    del files["data_batch_4.bin"]
    serve(monkeypatch, server, CIFAR10, packed(CIFAR10, files))
    with pytest.raises(DatasetError, match=r"the archive lacks data_batch_4\.bin"):
        CIFAR10().prepare(tmp_path, download=True)


def test_a_file_that_was_damaged_later_is_fetched_anew(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = content(CIFAR100)
    serve(monkeypatch, server, CIFAR100, packed(CIFAR100, files))
    CIFAR100().prepare(tmp_path, download=True)
    (tmp_path / CIFAR100.folder / "test.bin").write_bytes(b"x" + files["test.bin"][1:])
    with pytest.raises(DatasetError, match=r"test\.bin is damaged"):
        CIFAR100().prepare(tmp_path, download=False)
    CIFAR100().prepare(tmp_path, download=True)
    assert (tmp_path / CIFAR100.folder / "test.bin").read_bytes() == files["test.bin"]


def test_a_run_on_cifar10_is_a_matter_of_one_word(train_tiny: Train, tmp_path: Path) -> None:
    write_small(CIFAR10, tmp_path / "data", each=12)
    overrides = ("data=cifar10", f"data.root={tmp_path / 'data'}", "data.download=false", "data.val_size=20")
    found = report(train_tiny(*overrides, "data.augment=true", "data.batch_size=8", "trainer.max_epochs=1"))
    assert found["status"] == "completed"
    assert set(found["metrics"]) >= {"val/acc", "test/acc"}
