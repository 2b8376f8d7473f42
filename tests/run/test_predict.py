"""Naming pictures: right, in order, whatever their size and mode; and the bad ones spoil nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from strobe.commands.predict import main
from strobe.commands.trust import main as trust
from strobe.errors import ConfigError
from strobe.run.prediction import predict
from strobe.run.saved import saved_net
from tests.conftest import Command, Train, report
from tests.tiny import TinyDigits


@pytest.fixture
def run(train_tiny: Train) -> Path:
    """A run whose net knows the tiny digits."""
    return train_tiny("trainer.max_epochs=3")


@pytest.fixture
def pictures(tiny_root: Path, tmp_path: Path) -> list[Path]:
    """All test images as files, named by number and class."""
    images, labels = TinyDigits().load(tiny_root, "test")
    directory = tmp_path / "pictures"
    directory.mkdir()
    paths = [directory / f"{index:03}_{int(label)}.png" for index, label in enumerate(labels)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    return paths


def test_pictures_get_the_classes_that_the_test_gave_them(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), *map(str, reversed(pictures)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [set(each) for each in found] == [{"file", "class", "probability"}] * len(pictures)
    assert [each["file"] for each in found] == [str(path) for path in reversed(pictures)]
    right = sum(each["class"] == Path(each["file"]).stem[-1] for each in found)
    assert right / len(found) == pytest.approx(report(run)["metrics"]["test/acc"])
    assert all(0.1 <= each["probability"] <= 1 for each in found)


def test_a_directory_means_its_pictures_by_name(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), str(pictures[0].parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(path) for path in pictures]


def save_as(path: Path, how: str) -> Path:
    picture = Image.open(path)
    match how:
        case "larger":
            picture = picture.resize((140, 140), Image.Resampling.NEAREST)
        case "colour" | "jpg":
            picture = picture.convert("RGB")
        case "transparent":
            picture = picture.convert("RGBA")
        case "16 bits":
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
        case "turned":  # a camera held upright: the pixels lie on their side, and a tag says so
            turned = picture.transpose(Image.Transpose.ROTATE_90)
            exif = Image.Exif()
            exif[0x0112] = 6
            turned.save(path.with_suffix(".tif"), exif=exif)
            return path.with_suffix(".tif")
    target = path.with_suffix(".jpg" if how == "jpg" else ".png")
    picture.save(target)
    return target


@pytest.mark.parametrize("how", ["larger", "colour", "jpg", "transparent", "16 bits", "turned"])
def test_a_picture_of_another_size_or_mode_is_converted(run: Path, pictures: list[Path], how: str) -> None:
    made = predict(saved_net(run), [save_as(path, how) for path in pictures[:40]])
    assert made.refused == []
    assert sum(each["class"] == Path(each["file"]).stem[-1] for each in made.pictures) >= 38


def test_what_is_no_picture_is_refused_and_the_rest_predicted(
    run: Path, pictures: list[Path], tmp_path: Path, command: Command
) -> None:
    broken, cut = tmp_path / "broken.png", tmp_path / "cut.png"
    broken.write_text("<html>")
    cut.write_bytes(pictures[0].read_bytes()[:200])
    files = [pictures[0], broken, tmp_path / "missing.png", cut, pictures[1]]
    done = command("predict", str(run), *map(str, files), "--json")
    assert done.returncode == 1
    assert [each["file"] for each in json.loads(done.stdout)] == [str(pictures[0]), str(pictures[1])]
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all("can't be read as a picture" in line for line in (lines[0], lines[2]))
    assert lines[1] == f"{tmp_path / 'missing.png'}: there is no such file"


def test_ink_on_paper_is_noticed_and_can_be_inverted(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert main([str(run), *map(str, pictures)]) == 0
    assert "try --invert" in capsys.readouterr().err
    assert main([str(run), *map(str, pictures), "--invert", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    right = sum(each["class"] == Path(each["file"]).stem[-1] for each in json.loads(printed.out))
    assert right / len(pictures) == pytest.approx(report(run)["metrics"]["test/acc"])


@pytest.mark.parametrize("what", ["no run", "empty directory"])
def test_a_wrong_command_exits_with_2(run: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    directory = tmp_path if what == "no run" else run
    assert main([str(directory), str(tmp_path / "empty")]) == 2


def test_a_config_from_elsewhere_cannot_have_anything_called(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("strobe.models.simple_nn.SimpleNN", "os.system"))
    with pytest.raises(ConfigError, match="may run anything"):
        saved_net(run)
    assert trust([str(run)]) == 0
    with pytest.raises(ConfigError, match="refused, because it is not a subclass of"):
        saved_net(run)


@pytest.mark.parametrize("precision", ["bf16-true", "64"])
def test_a_net_of_any_precision_predicts_in_single(train_tiny: Train, precision: str) -> None:
    net = saved_net(train_tiny(f"trainer.precision={precision}"))
    assert {parameter.dtype for parameter in net.net.parameters()} == {torch.float32}
