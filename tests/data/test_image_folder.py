"""A person's own pictures: whatever they are, tensors; the split stays; nothing is decoded twice."""

import errno
import io
import json
import logging
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from strobe.data import places, progress
from strobe.data.image_folder import ImageFolder
from strobe.data.picture import read_picture
from strobe.data.pieces import Decoded, Piece, Target, decode
from strobe.errors import ConfigError, DatasetError
from tests.conftest import Train, report

Splits = dict[str, tuple[torch.Tensor, torch.Tensor]]


def save(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (9, 7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty pictures of two classes; the red value of each is its number, the blue one tells its class."""
    for number in range(30):
        save(tmp_path / "pets" / "cat" / f"{number}.png", (number, 0, 0))
        save(tmp_path / "pets" / "dog" / "young" / f"{number}.png", (number, 0, 200))
    return tmp_path / "pets"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def loaded(dataset: ImageFolder, root: Path) -> Splits:
    dataset.prepare(root, download=False)
    return {"train": dataset.load(root, "train"), "test": dataset.load(root, "test")}


def recorded(root: Path) -> dict[str, Any]:
    (path,) = root.rglob("split.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr("strobe.data.pieces.read_picture", refuse)


def grey16(path: Path) -> None:
    Image.fromarray(np.full((6, 5), 100 * 257, dtype=np.uint16)).save(path)


def palette(path: Path, **options: Any) -> None:
    picture = Image.new("P", (6, 5), 1)
    picture.putpalette([0, 0, 0, 100, 50, 25, 255, 255, 255])
    picture.save(path, **options)


def bilevel(path: Path) -> None:
    Image.new("1", (6, 5), 1).save(path)


MODES: dict[str, tuple[str, Callable[[Path], None], tuple[int, int, int]]] = {
    "colour": ("png", lambda path: Image.new("RGB", (6, 5), (100, 50, 25)).save(path), (100, 50, 25)),
    "grey": ("png", lambda path: Image.new("L", (6, 5), 100).save(path), (100, 100, 100)),
    "grey and alpha": ("png", lambda path: Image.new("LA", (6, 5), (100, 255)).save(path), (100, 100, 100)),
    "palette": ("png", palette, (100, 50, 25)),
    "palette, one colour transparent": ("png", lambda path: palette(path, transparency=0), (100, 50, 25)),
    "palette, half transparent": ("png", lambda path: palette(path, transparency=b"\x00\xff\x80"), (100, 50, 25)),
    "RGBA": ("png", lambda path: Image.new("RGBA", (6, 5), (100, 50, 25, 255)).save(path), (100, 50, 25)),
    "16 bits, PNG": ("png", grey16, (100, 100, 100)),
    "16 bits, TIFF": ("tif", grey16, (100, 100, 100)),
    "16 bits, PGM": ("pgm", grey16, (100, 100, 100)),
    "black and white": ("png", bilevel, (255, 255, 255)),
    "GIF": ("gif", palette, (100, 50, 25)),
    "BMP": ("BMP", lambda path: Image.new("RGB", (6, 5), (100, 50, 25)).save(path), (100, 50, 25)),
    "JPEG": ("JPG", lambda path: Image.new("RGB", (6, 5), (100, 50, 25)).save(path), (100, 50, 25)),
    "grey JPEG": ("jpeg", lambda path: Image.new("L", (6, 5), 100).save(path), (100, 100, 100)),
    "CMYK JPEG": ("jpg", lambda path: Image.new("CMYK", (6, 5), (155, 205, 230, 0)).save(path), (100, 50, 25)),
    "WebP": ("webp", lambda path: Image.new("RGB", (6, 5), (100, 50, 25)).save(path, lossless=True), (100, 50, 25)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_any_mode_and_size_becomes_the_right_tensor(
    folder: Path, root: Path, mode: str, channels: int
) -> None:
    ending, write, colour = MODES[mode]
    write(folder / "cat" / f"odd.{ending}")
    splits = loaded(ImageFolder(folder=str(folder), size=[4, 6], channels=channels), root)
    names = {split: recorded(root)[split] for split in splits}
    (split,) = (split for split in names if f"cat/odd.{ending}" in names[split])
    image = splits[split][0][names[split].index(f"cat/odd.{ending}")]
    red, green, blue = colour
    expected = [red, green, blue] if channels == 3 else [0.299 * red + 0.587 * green + 0.114 * blue]
    assert (image.shape, image.dtype) == ((channels, 4, 6), torch.uint8)
    for channel, value in zip(image, expected, strict=True):
        assert channel.float().mean().item() == pytest.approx(value, abs=3)
        assert channel.float().std().item() < 2


def test_size_is_height_and_width_and_a_picture_keeps_its_way_up(folder: Path, root: Path) -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:10, :, 0], pixels[:, 15:, 2] = 255, 255  # red above, blue on the right
    Image.fromarray(pixels).save(folder / "cat" / "halves.png")
    splits = loaded(ImageFolder(folder=str(folder), size=(8, 12)), root)
    names = {split: recorded(root)[split] for split in splits}
    (split,) = (split for split in names if "cat/halves.png" in names[split])
    image = splits[split][0][names[split].index("cat/halves.png")]
    assert image.shape == (3, 8, 12)
    assert image[0, :3].unique().tolist() == [255]
    assert image[0, 5:].unique().tolist() == [0]
    assert image[2, :, :5].unique().tolist() == [0]
    assert image[2, :, 7:].unique().tolist() == [255]


def test_cropping_keeps_proportions_and_the_middle(folder: Path, root: Path) -> None:
    pixels = np.zeros((20, 60, 3), dtype=np.uint8)
    pixels[5:15, 25:35, 0] = 255  # a square in the middle
    pixels[:, :15, 2] = pixels[:, 45:, 2] = 255
    Image.fromarray(pixels).save(folder / "cat" / "square.png")
    crop, stretched = (ImageFolder(folder=str(folder), size=(8, 8), fit=fit) for fit in ("crop", "stretch"))
    of_fit = {}
    for dataset in (crop, stretched):
        splits = loaded(dataset, root)  # a cache of their own each
        names = {split: json.loads((dataset._caches(root)[0] / "split.json").read_text())[split] for split in splits}
        (split,) = (split for split in names if "cat/square.png" in names[split])
        of_fit[dataset.fit] = splits[split][0][names[split].index("cat/square.png")] > 127
    rows, columns = of_fit["crop"][0].nonzero(as_tuple=True)
    assert (len(rows.unique()), len(columns.unique())) == (4, 4)
    assert not of_fit["crop"][2].any()
    assert of_fit["stretch"][2].any()
    assert ImageFolder(folder=str(folder)).fit == "stretch", "runs that don't say were saved before there was a choice"
    with pytest.raises(ConfigError, match="fit=pad: must be stretch or crop"):
        ImageFolder(folder=str(folder), fit="pad")  # type: ignore[arg-type]


def test_the_folders_are_the_classes(folder: Path, root: Path) -> None:
    save(folder / "stray.png")
    (folder / "dog" / "notes.txt").write_text("not a picture")
    dataset = ImageFolder(folder=str(folder))
    assert dataset.classes == ("cat", "dog")
    assert (dataset.title, dataset.shape) == ("pets", (3, 32, 32))
    splits = loaded(dataset, root)
    for images, labels in splits.values():
        assert labels.dtype == torch.int64
        assert (images[:, 2, 0, 0] == 200).long().tolist() == labels.tolist()
    assert sum(len(labels) for _, labels in splits.values()) == 60


def test_the_mean_and_deviation_are_those_of_the_training_pictures(folder: Path, root: Path) -> None:
    dataset = ImageFolder(folder=str(folder))
    images = loaded(dataset, root)["train"][0].double() / 255
    assert dataset.mean == pytest.approx(images.mean((0, 2, 3)).tolist())
    red, green, blue = images.std((0, 2, 3), correction=0).tolist()
    assert dataset.std == pytest.approx((red, max(green, 1e-3), blue))
    assert min(dataset.std) > 0, "of a channel that never varies"


def test_a_picture_keeps_its_split_when_others_come_and_go(folder: Path, root: Path) -> None:
    loaded(ImageFolder(folder=str(folder)), root)
    before = recorded(root)
    assert not set(before["train"]) & set(before["test"])
    assert 2 <= len(before["test"]) <= 25, "about a fifth of sixty"
    for number in range(10):
        (folder / "cat" / f"{number}.png").unlink()
        save(folder / "cat" / f"new{number}.png")
    loaded(ImageFolder(folder=str(folder)), root)
    after = recorded(root)
    for split in ("train", "test"):
        stayed = {name for name in before[split] if (folder / name).exists()}
        assert stayed <= set(after[split])
    assert len(after["train"]) + len(after["test"]) == 60


def test_the_split_that_is_written_down_is_the_split(folder: Path, root: Path) -> None:
    splits = loaded(ImageFolder(folder=str(folder)), root)
    found = recorded(root)
    assert found["classes"] == ["cat", "dog"]
    for split, (images, labels) in splits.items():
        assert [int(Path(name).stem) for name in found[split]] == images[:, 0, 0, 0].tolist()
        assert [found["classes"].index(Path(name).parts[0]) for name in found[split]] == labels.tolist()


def test_another_seed_or_share_is_another_split_kept_beside_the_first(folder: Path, root: Path) -> None:
    for settings in ({}, {"split_seed": 1}, {"test_share": 0.6}):
        loaded(ImageFolder(folder=str(folder), **settings), root)
    tests = [json.loads(path.read_text())["test"] for path in root.rglob("split.json")]
    assert len({tuple(test) for test in tests}) == 3
    assert max(map(len, tests)) > 24


def noise() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def with_chunk_cut(whole: bytes) -> bytes:
    """Where a chunk ends too early, Pillow takes pixels for the next one's name and raises a SyntaxError."""
    place = whole.index(b"IDAT")
    return whole[: place - 4] + (5).to_bytes(4, "big") + whole[place:]


BROKEN = {
    "empty": b"",
    "text": b"<html></html>",
    "half": noise()[:400],
    "chunk": with_chunk_cut(noise()),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_few_unreadable_files_are_named_and_left_out(
    folder: Path, root: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "cat" / "broken.png").write_bytes(BROKEN[fault])
    with caplog.at_level(logging.WARNING):
        splits = loaded(ImageFolder(folder=str(folder)), root)
    assert "cat/broken.png" in caplog.text
    assert sum(len(labels) for _, labels in splits.values()) == 60
    found = recorded(root)
    assert found["unreadable"][0].startswith("cat/broken.png: ")
    assert "cat/broken.png" not in found["train"] + found["test"]


def test_too_many_unreadable_files_are_an_error_that_names_them(folder: Path, root: Path) -> None:
    for number in range(8):
        (folder / "dog" / f"broken{number}.jpg").write_bytes(b"?")
    with pytest.raises(DatasetError, match=r"8 of 68 files .*dog/broken0\.jpg.* \.\.\..*max_unreadable=<share>"):
        loaded(ImageFolder(folder=str(folder)), root)
    assert list(root.rglob("split.json")) == []
    loaded(ImageFolder(folder=str(folder), max_unreadable=0.2), root)
    with pytest.raises(DatasetError, match="8 of 68"):
        loaded(ImageFolder(folder=str(folder)), root)


def test_one_unreadable_file_is_too_many_where_none_is_allowed(folder: Path, root: Path) -> None:
    (folder / "dog" / "broken.jpg").write_bytes(b"?")
    with pytest.raises(DatasetError, match="1 of 61"):
        loaded(ImageFolder(folder=str(folder), max_unreadable=0), root)


def test_pictures_are_decoded_once(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(ImageFolder(folder=str(folder)), root)
    no_decoding(monkeypatch)
    second = loaded(ImageFolder(folder=str(folder)), root)
    for split in first:
        assert torch.equal(first[split][0], second[split][0])
        assert torch.equal(first[split][1], second[split][1])


def test_pictures_are_decoded_anew_when_one_has_changed(folder: Path, root: Path) -> None:
    loaded(ImageFolder(folder=str(folder)), root)
    path = save(folder / "cat" / "3.png", (250, 0, 0))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    splits = loaded(ImageFolder(folder=str(folder)), root)
    assert any(250 in images[:, 0, 0, 0] for images, _ in splits.values())


def test_the_labels_follow_when_a_folder_is_added_that_holds_nothing_yet(folder: Path, root: Path) -> None:
    loaded(ImageFolder(folder=str(folder)), root)
    (folder / "cow").mkdir()
    dataset = ImageFolder(folder=str(folder))
    images, labels = loaded(dataset, root)["train"]
    expected = [dataset.classes.index("dog" if image[2, 0, 0] == 200 else "cat") for image in images]
    assert labels.tolist() == expected


def test_a_run_keeps_its_pictures_while_another_decodes_anew(folder: Path, root: Path) -> None:
    images, labels = loaded(ImageFolder(folder=str(folder)), root)["train"]
    before = np.load(next(root.rglob("train-images.npy")))
    for path in sorted(folder.rglob("*.png")):
        save(path, (255, 255, 255))
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    again, _ = loaded(ImageFolder(folder=str(folder)), root)["train"]
    assert again.unique().tolist() == [255]
    assert len(images) == len(labels)
    assert np.array_equal(images.numpy(), before)


def test_a_damaged_cache_is_named(folder: Path, root: Path) -> None:
    dataset = ImageFolder(folder=str(folder))
    loaded(dataset, root)
    next(root.rglob("test-labels.npy")).write_bytes(b"?")
    with pytest.raises(DatasetError, match=r"is damaged: .*Delete it"):
        dataset.load(root, "test")


def test_a_split_without_a_picture_is_an_error(tmp_path: Path, root: Path) -> None:
    save(tmp_path / "few" / "a" / "1.png")
    save(tmp_path / "few" / "b" / "1.png")
    with pytest.raises(DatasetError, match="no picture is left for the test split"):
        loaded(ImageFolder(folder=str(tmp_path / "few"), test_share=1e-6), root)
    (tmp_path / "none" / "a").mkdir(parents=True)
    (tmp_path / "none" / "b").mkdir()
    with pytest.raises(DatasetError, match="holds no pictures"):
        loaded(ImageFolder(folder=str(tmp_path / "none")), root)


def in_small_pieces(monkeypatch: pytest.MonkeyPatch, pictures: int = 4) -> None:
    monkeypatch.setattr("strobe.data.pieces._MOST_PICTURES", pictures)
    monkeypatch.setattr("strobe.data.decoding._PIECES_EACH", 1)
    monkeypatch.setattr("strobe.data.decoding.available_cpus", lambda: 1)


def same(one: Splits, other: Splits) -> bool:
    return all(torch.equal(a, b) for split in one for a, b in zip(one[split], other[split], strict=True))


def test_a_decoding_that_was_stopped_goes_on_where_it_was(
    folder: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"?")
    whole = loaded(ImageFolder(folder=str(folder)), tmp_path / "other")
    facts = recorded(tmp_path / "other")
    in_small_pieces(monkeypatch)
    read: list[str] = []

    def stopping(path: Path, *arguments: Any) -> np.ndarray:
        if len(read) == 30:
            read.append("stopped")
            raise KeyboardInterrupt
        read.append(path.name)
        return read_picture(path, *arguments)

    monkeypatch.setattr("strobe.data.pieces.read_picture", stopping)
    with pytest.raises(KeyboardInterrupt):
        loaded(ImageFolder(folder=str(folder)), root)
    assert list(root.rglob("split.json")) == [], "what is not whole is not used"
    with caplog.at_level(logging.INFO):
        again = loaded(ImageFolder(folder=str(folder)), root)
    assert "28 of 61 pictures were decoded before" in caplog.text
    assert len(read) == 31 + 61 - 28
    assert same(whole, again)
    assert {**recorded(root), "arrays": None} == {**facts, "arrays": None}
    assert list(root.rglob("journal.json")) == []


def test_nothing_goes_on_where_a_picture_has_changed_since(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_pieces(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("strobe.data.image_folder.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loaded(ImageFolder(folder=str(folder)), root)
    assert len(list(root.rglob("journal.json"))) == 1
    save(folder / "cat" / "3.png", (250, 0, 0), size=(40, 40))
    splits = loaded(ImageFolder(folder=str(folder)), root)
    assert any(250 in images[:, 0, 0, 0] for images, _ in splits.values())
    assert len(list(root.rglob("train-images.npy"))) == 1, "what is of no more use is deleted"


def test_processes_that_help_decode_the_same(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "dog" / "broken.png").write_bytes(b"?")
    alone = loaded(ImageFolder(folder=str(folder)), root)
    facts = recorded(root)
    in_small_pieces(monkeypatch)
    monkeypatch.setattr("strobe.data.decoding.available_cpus", lambda: 3)

    def slowly(piece: Piece, target: Target) -> Decoded:  # so that some is left for those that help
        time.sleep(0.05)
        return decode(piece, target)

    monkeypatch.setattr("strobe.data.decoders.decode", slowly)
    monkeypatch.setattr("strobe.data.decoders._AHEAD", 5)
    assert same(alone, loaded(ImageFolder(folder=str(folder)), root.with_name("helped")))
    assert {**recorded(root.with_name("helped")), "arrays": None} == {**facts, "arrays": None}


def test_a_process_that_dies_is_an_error_and_one_that_never_begins_is_done_without(
    folder: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_small_pieces(monkeypatch)
    monkeypatch.setattr("strobe.data.decoding.available_cpus", lambda: 2)
    begins = tmp_path / "begins"
    begins.write_text("#!/bin/sh\necho '\"ready\"'\nread target\nread piece\nexit 3\n")
    begins.chmod(0o755)
    monkeypatch.setattr("strobe.data.decoders.sys.executable", str(begins))
    with pytest.raises(DatasetError, match=r"has ended \(exit code 3\), at one of the pictures from cat/0.png to "):
        loaded(ImageFolder(folder=str(folder)), root)
    monkeypatch.setattr("strobe.data.decoders.sys.executable", "/bin/false")
    splits = loaded(ImageFolder(folder=str(folder)), root)
    assert "going on without it" in caplog.text
    assert same(splits, loaded(ImageFolder(folder=str(folder)), root.with_name("other")))


def test_a_process_that_helps_imports_no_torch() -> None:
    code = "import sys, strobe.data.pieces; sys.exit(bool({'torch', 'lightning', 'hydra'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_decoding_takes_no_more_memory_where_there_are_more_pictures(folder: Path, root: Path) -> None:
    dataset = ImageFolder(folder=str(folder), size=(512, 512))
    tracemalloc.start()
    splits = loaded(dataset, root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(images.numel() for images, _ in splits.values()) / 2


def test_a_large_set_is_mapped_to_be_read(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = loaded(ImageFolder(folder=str(folder)), root)
    monkeypatch.setattr("strobe.data.image_folder._LARGE", 0)
    large = loaded(ImageFolder(folder=str(folder)), root)
    assert same(small, large)
    assert torch.equal(large["train"][0][[3, 1]], small["train"][0].index_select(0, torch.tensor([3, 1])))


def test_what_may_be_unreadable_is_judged_without_decoding(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"?")
    loaded(ImageFolder(folder=str(folder)), root)
    no_decoding(monkeypatch)
    loaded(ImageFolder(folder=str(folder), max_unreadable=0.5), root)
    with pytest.raises(DatasetError, match="1 of 61"):
        loaded(ImageFolder(folder=str(folder), max_unreadable=0), root)


def test_what_an_earlier_version_has_decoded_stays_of_use(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(ImageFolder(folder=str(folder)), root)
    (cache,) = (path.parent for path in root.rglob("split.json"))
    facts = recorded(root)
    for path in cache.glob("*/*.npy"):
        path.rename(cache / path.name)
    kept = {name: facts[name] for name in facts if name not in ("arrays", "pixels")}
    (cache / "split.json").write_text(json.dumps(kept))
    no_decoding(monkeypatch)
    assert same(before, loaded(ImageFolder(folder=str(folder)), root))


def test_where_the_data_root_can_not_be_written_another_place_is_used(
    folder: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(directory: Path) -> FileLock:
        if directory.is_relative_to(root):
            raise PermissionError(errno.EACCES, "Permission denied")
        return taken(directory)

    taken = places._taken
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "_taken", refusing)
    splits = loaded(ImageFolder(folder=str(folder)), root)
    assert f"Permission denied. Using {tmp_path / 'cache' / 'strobe'}" in caplog.text
    images, _ = ImageFolder(folder=str(folder)).load(root, "train")  # as another process of the run has it
    assert torch.equal(images, splits["train"][0])
    monkeypatch.setattr("strobe.data.image_folder.places", lambda root: [root])
    with pytest.raises(DatasetError, match=r"Choose another data\.root=<dir>"):
        loaded(ImageFolder(folder=str(folder)), root)


def test_the_last_place_is_a_directory_that_nobody_else_may_look_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strobe.data.places.tempfile.gettempdir", lambda: str(tmp_path))
    last = places.places(tmp_path / "data")[-1]
    assert not last.exists(), "it is made when it is needed"
    with places.locked([last / "image_folder"]) as directory:
        assert directory.is_dir()
    assert last.stat().st_mode & 0o777 == 0o700
    last.chmod(0o777)
    assert last not in places.places(tmp_path / "data")


def test_a_disk_without_room_is_one_line_before_anything_is_decoded(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strobe.data.decoding.shutil.disk_usage", lambda _: SimpleNamespace(total=9, free=1000))
    no_decoding(monkeypatch)
    with pytest.raises(DatasetError, match=r"need 0 MB in .*\. Make room, or choose another data.root=<dir>"):
        loaded(ImageFolder(folder=str(folder)), root)


def test_another_process_that_decodes_is_waited_for_and_that_is_said(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ImageFolder(folder=str(folder))._caches(root)[0]
    cache.mkdir(parents=True)
    monkeypatch.setattr(places, "_QUIET_S", 0.01)
    lock = FileLock(cache / ".lock")
    lock.acquire()
    said = places.log.info

    def released(*words: Any) -> None:
        said(*words)
        lock.release()

    monkeypatch.setattr(places.log, "info", released)
    with caplog.at_level(logging.INFO):
        loaded(ImageFolder(folder=str(folder)), root)
    assert "Another process works in" in caplog.text


def test_how_far_the_decoding_is_is_told(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_AFTER_S", 0)
    monkeypatch.setattr(progress, "_LOGGED_EVERY_S", 0)
    with caplog.at_level(logging.INFO):
        loaded(ImageFolder(folder=str(folder)), root)
    assert "Decoding pictures: 60 of 60 (100%)" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": None}, r"data\.dataset\.folder=<dir>"),
        ({"folder": "/no/such/place"}, "/no/such/place: there is no such directory"),
        ({"channels": 2}, "data.dataset.channels=2: must be 1 or 3"),
        ({"size": [32]}, r"data.dataset.size=\[32\]: must be \[height, width\]"),
        ({"size": [32, 0]}, r"size=\[32, 0\]"),
        ({"size": [32, 32, 3]}, r"size=\[32, 32, 3\]"),
        ({"test_share": 0.0}, "test_share"),
        ({"test_share": 1.0}, "test_share"),
        ({"test_share": float("nan")}, "test_share"),
        ({"max_unreadable": -0.1}, "max_unreadable"),
        ({"max_unreadable": 1.1}, "max_unreadable"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageFolder(**{"folder": str(folder), **settings})


def test_a_folder_without_two_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "only" / "cat").mkdir(parents=True)
    (tmp_path / "only" / "readme.txt").touch()
    for folder in (tmp_path / "only", tmp_path / "only" / "cat"):
        with pytest.raises(ConfigError, match="needs a folder for each of at least two classes"):
            ImageFolder(folder=str(folder))


def test_a_run_on_pictures_of_ones_own(train_tiny: Train, folder: Path, root: Path) -> None:
    overrides = ("data=image_folder", f"data.dataset.folder={folder}", "data.dataset.size=[8,8]", f"data.root={root}")
    found = report(train_tiny(*overrides, "data.val_size=10", "data.augment=true", "data.batch_size=8"))
    assert found["status"] == "completed"
    assert found["metrics"]["test/acc"] >= 0.5
    assert found["parameters"] == 3 * 64 * 128 + 128 + 128 * 2 + 2


def test_a_run_without_a_folder_says_what_to_type(train_tiny: Train) -> None:
    with pytest.raises(ConfigError, match=r"data\.dataset\.folder=<dir>"):
        train_tiny("data=image_folder")
