"""Naming pictures: right, in order, whatever their size and mode; and the bad ones spoil nothing."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from strobe.commands.predict import main
from strobe.commands.trust import main as trust
from strobe.data.datamodule import ImageDataModule
from strobe.data.idx import MNIST
from strobe.data.image_folder import ImageFolder
from strobe.data.picture import Fit
from strobe.data.root import default_root
from strobe.errors import ConfigError
from strobe.record.checkpoints import preparation_of
from strobe.run.prediction import pictures as files_of
from strobe.run.prediction import predict
from strobe.run.saved import SavedNet, saved_net
from tests.conftest import Command, Train, no_longer_than, report
from tests.digits import digits
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


@pytest.fixture
def prepared_run(train_tiny: Train, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose data set says that its images were prepared as MNIST's."""
    monkeypatch.setattr(TinyDigits, "preparation", "centred_digit")
    return train_tiny("trainer.max_epochs=1")


@pytest.fixture
def drawn(tmp_path: Path) -> list[Path]:
    """Ten digits on paper."""
    return [digit.path for digit in digits(tmp_path / "drawn", each=1, treatments=("plain",))]


def test_pictures_are_prepared_as_the_training_images_were_and_that_is_said(
    prepared_run: Path, drawn: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    assert main([str(prepared_run), *map(str, drawn), str(tmp_path / "blank.png"), "--json"]) == 1
    printed = capsys.readouterr()
    prepared = json.loads(printed.out)
    said, refused = printed.err.splitlines()
    assert said.startswith("prepared as MNIST was: ")
    assert said.endswith("; --as-is turns it off")
    assert refused == f"{tmp_path / 'blank.png'}: there is nothing on it: no stroke stands out from its background"
    assert main([str(prepared_run), *map(str, drawn), "--as-is", "--json"]) == 0
    printed = capsys.readouterr()
    assert "prepared" not in printed.err
    assert "leave out --as-is, or add --invert" in printed.err
    assert [each["file"] for each in json.loads(printed.out)] == [each["file"] for each in prepared]
    assert json.loads(printed.out) != prepared
    assert main([str(prepared_run), *map(str, drawn), "--as-is", "--invert"]) == 0
    capsys.readouterr()
    assert main([str(prepared_run), *map(str, drawn), "--invert"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--invert: pictures are prepared as MNIST's were")


def test_the_likeliest_classes_can_be_had_as_json_csv_or_text(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    some = [*map(str, pictures[:3])]
    assert main([str(run), *some, "--json", "--top", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    for each in found:
        assert list(each) == ["file", "class", "probability", "top"]
        assert each["top"][0] == {"class": each["class"], "probability": each["probability"]}
        shares = [choice["probability"] for choice in each["top"]]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
    assert main([str(run), *some, "--csv", "--top", "2"]) == 0
    header, *rows = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["file", "class", "probability", "class_2", "probability_2"]
    choices = [[each["file"], *(str(cell) for choice in each["top"][:2] for cell in choice.values())] for each in found]
    assert [[row[0], row[1], row[3]] for row in rows] == [[row[0], row[1], row[3]] for row in choices]
    assert main([str(run), *some, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "file,class,probability"
    assert main([str(run), *some, "--top", "3"]) == 0
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()] == [7, 7, 7]
    assert main([str(run), *some, "--top", "11"]) == 2
    assert capsys.readouterr().err == "--top 11: must be from 1 to 10, the number of classes\n"


def test_a_pattern_in_quotes_names_pictures(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["b.png", "a.png", "deep/er/c.png", "[odd].png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 90).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)

    def found(*patterns: str) -> list[str]:
        return [str(file) for file in files_of([Path(pattern) for pattern in patterns])]

    assert found("?.png") == ["a.png", "b.png"]
    assert found("deep/**/*.png") == ["deep/er/c.png"]
    assert set(found("**/*")) >= {"a.png", "deep/er/c.png"}
    assert "notes.txt" not in found("*")
    assert found(str(tmp_path / "[ab].png")) == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert found("[odd].png") == ["[odd].png"], "a file of that name comes first"
    assert main([str(run), "?.png", "none*.png", "--json"]) == 1
    printed = capsys.readouterr()
    assert [each["file"] for each in json.loads(printed.out)] == ["a.png", "b.png"]
    assert printed.err == "none*.png: there is no such file\n"


class Recorder(nn.Module):
    """Keeps what it is given."""

    seen: Tensor

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images.clone()
        return torch.zeros(len(images), 2)


def test_several_digits_on_a_picture_are_said(
    prepared_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = Image.new("L", (300, 200), 255)
    for left in (60, 200):
        sheet.paste(0, (left, 50, left + 15, 150))
    sheet.save(tmp_path / "eleven.png")
    assert main([str(prepared_run), str(tmp_path / "eleven.png")]) == 0
    assert f"{tmp_path / 'eleven.png'}: several digits, it seems" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [None, "larger", "gray as color"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_a_folders_picture_reaches_the_net_as_in_training_pixel_for_pixel(
    tmp_path: Path, channels: int, wanted: str | None, fit: Fit
) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (40 + number, 70 - 3 * number, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    data = ImageDataModule(
        ImageFolder(folder=str(tmp_path / "pets"), size=(20, 24), channels=channels, fit=fit),
        root=tmp_path / "data",
        val_size=0,
    )
    match wanted:
        case "larger":
            data.suit(mean=None, std=None, size=(32, 32))
        case "gray as color":
            data.suit(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), size=(36, 30))
    data.prepare_data()
    data.setup()
    (batch,) = data.test_dataloader()
    facts = data.as_given()
    net = Recorder()
    saved = SavedNet(
        net,
        data.in_shape,
        tuple(facts["mean"]),
        tuple(facts["std"]),
        tuple(facts["classes"]),
        stored_shape=tuple(facts["stored_shape"]),
        preparation=facts["preparation"],
        fit=facts["fit"],
    )
    (record,) = (tmp_path / "data").rglob("split.json")
    predict(saved, [tmp_path / "pets" / name for name in json.loads(record.read_text())["test"]])
    assert torch.equal(net.seen, batch[0])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"title": "MNIST"}, "centred_digit"),
        ({"title": "FashionMNIST"}, "centred_article"),
        ({"title": "KMNIST"}, None),
        ({"title": "MNIST", "shape": [3, 32, 32]}, None),
        ({"title": "MNIST", "classes": ["a", "b"]}, None),
        ({"title": "MNIST", "preparation": None}, None),
        ({"title": "x", "preparation": "centred_digit"}, "centred_digit"),
    ],
)
def test_a_checkpoint_of_an_earlier_version_says_it_by_its_title(facts: dict[str, Any], expected: str | None) -> None:
    assert preparation_of({"shape": [1, 28, 28], "classes": list("0123456789"), **facts}) == expected


def test_a_preparation_of_a_later_version_is_named(prepared_run: Path, drawn: list[Path]) -> None:
    net = dataclasses.replace(saved_net(prepared_run), preparation="ironed")
    with pytest.raises(ConfigError, match=r"'ironed', which is unknown here .* add --as-is"):
        predict(net, drawn)
    assert len(predict(net, drawn, as_is=True).pictures) == 10


@pytest.mark.mnist
@pytest.mark.parametrize(("recipe", "least"), [((), 0.85), (("experiment=mnist_cnn",), 0.95)], ids=["default", "cnn"])
def test_digits_of_people_who_were_never_in_mnist_are_read(
    command: Command, tmp_path: Path, recipe: tuple[str, ...], least: float
) -> None:
    no_longer_than(1800)
    done = command("train", *recipe, XDG_CACHE_HOME=str(default_root().parent), timeout=1500)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "cwd" / "outputs" / "train").glob("*/*")
    net = saved_net(directory)
    made = digits(tmp_path / "digits")
    found = predict(net, [digit.path for digit in made])
    assert found.refused == []
    wrong = [
        each["file"] for each, digit in zip(found.pictures, made, strict=True) if each["class"] != str(digit.label)
    ]
    assert len(made) == 60
    assert 1 - len(wrong) / len(made) >= least, wrong

    images, labels = MNIST().load(default_root(), "test")
    files = [tmp_path / f"{index:04}.png" for index in range(2000)]
    for file, image in zip(files, images, strict=False):
        Image.fromarray(image[0].numpy()).save(file)
    right = [
        sum(each["class"] == str(int(label)) for each, label in zip(made.pictures, labels, strict=False))
        for made in (predict(net, files), predict(net, files, as_is=True))
    ]
    assert right[0] == pytest.approx(right[1], abs=4), "what is prepared already stays as it is"


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
