"""Pictures that become images as MNIST's and Fashion-MNIST's are, whatever they were drawn with and on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from strobe.data.dataset import ImageDataset
from strobe.data.idx import KMNIST, MNIST, FashionMNIST
from strobe.data.ink import NothingOnItError
from strobe.data.preparation import (
    PREPARATIONS,
    centred_article,
    centred_digit,
    is_of_several,
    read_prepared,
    several_digits,
)
from strobe.data.root import default_root
from tests.digits import TREATMENTS, Digit, digits

SEVEN = [(60, 50), (140, 50), (90, 170)]


def seven(side: int = 220, *, pen: int = 14, ink: int = 0, paper: int = 255, scale: float = 1.0) -> Image.Image:
    """Ink on paper."""
    picture = Image.new("L", (side, side), paper)
    line = [(round(x * scale), round(y * scale)) for x, y in SEVEN]
    ImageDraw.Draw(picture).line(line, fill=ink, width=pen, joint="curve")
    return picture


def box(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what is not black."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def middle(image: np.ndarray) -> list[float]:
    """The centre of mass, from the upper left corner."""
    levels = image.astype(float)
    return [float(levels.sum(axis=1 - axis) @ (np.arange(28) + 0.5) / levels.sum()) for axis in (0, 1)]


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two images."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_whatever_a_digit_was_made_with_it_is_light_on_dark_20_pixels_long_and_centred(
    tmp_path: Path, treatment: str
) -> None:
    for digit in digits(tmp_path, each=2, treatments=(treatment,)):
        (image,) = read_prepared(digit.path, PREPARATIONS["centred_digit"])
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8
        assert max(box(image)) == 20
        assert image.max() == 255
        assert np.median(image) == 0, "most of it is paper, and of that nothing is left"
        assert middle(image) == pytest.approx([14, 14], abs=0.51)


def specks(picture: Image.Image) -> Image.Image:
    ImageDraw.Draw(picture).point([(10, 10), (200, 30), (30, 200), (201, 30)], fill=0)
    ImageDraw.Draw(picture).rectangle((205, 205, 208, 208), fill=0)
    return picture


def shadow(picture: Image.Image) -> Image.Image:
    levels = np.array(picture, dtype=float)
    levels[:, :90] *= 0.6
    return Image.fromarray(levels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(3))


def vignette(picture: Image.Image) -> Image.Image:
    y, x = np.mgrid[-1:1:220j, -1:1:220j]
    return Image.fromarray((np.array(picture) * (1 - 0.25 * (x * x + y * y))).astype(np.uint8))


def noise(picture: Image.Image) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray((np.array(picture) * 0.8 + random.normal(20, 8, (220, 220))).clip(0, 255).astype(np.uint8))


def beside_the_sheet(picture: Image.Image) -> Image.Image:
    picture.paste(20, (205, 0, 220, 220))
    return picture


def squared_paper(picture: Image.Image) -> Image.Image:
    levels = np.array(picture)
    for lines in (levels[::30], levels.T[::30]):
        lines[lines == 255] = 210
    return Image.fromarray(levels)


def cut_to_the_ink(picture: Image.Image) -> Image.Image:
    return picture.crop((60, 45, 145, 170))


def larger(picture: Image.Image) -> Image.Image:
    return picture.resize((2200, 2200))


@pytest.mark.parametrize(
    "on", [specks, shadow, vignette, noise, beside_the_sheet, squared_paper, cut_to_the_ink, larger]
)
def test_what_is_not_the_digit_changes_little(on: Callable[[Image.Image], Image.Image]) -> None:
    least = 0.75 if on is shadow else 0.93  # ink in the shadow is paler
    assert alike(centred_digit(on(seven())), centred_digit(seven())) > least


@pytest.mark.parametrize(("ink", "paper"), [(255, 0), (120, 150), (90, 60), (255, 200)])
def test_which_of_dark_and_light_is_the_ink_is_seen_from_the_picture(ink: int, paper: int) -> None:
    assert alike(centred_digit(seven(ink=ink, paper=paper)), centred_digit(seven())) > 0.98


@pytest.mark.parametrize("pen", [1, 2, 4])
def test_a_thin_pen_leaves_strokes_that_can_be_seen(pen: int) -> None:
    image = centred_digit(seven(880, pen=pen, scale=4))
    assert (image > 128).sum() > 25
    assert max(box(image)) == 20


def test_a_digit_of_a_few_pixels_and_a_line_of_one_are_digits() -> None:
    few = np.zeros((8, 8), dtype=np.uint8)
    few[1:7, 4] = 255
    line = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(line).line((150, 40, 150, 260), fill=0)
    for picture in (Image.fromarray(few), line):
        height, width = box(centred_digit(picture))
        assert height == 20
        assert 1 <= width <= 5


def test_white_ink_with_nothing_behind_it_is_seen(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (220, 220), (255, 255, 255, 0))
    picture.putalpha(seven(ink=255, paper=0))
    picture.save(tmp_path / "7.png")
    (image,) = read_prepared(tmp_path / "7.png", PREPARATIONS["centred_digit"])
    assert alike(image, centred_digit(seven())) > 0.98


NOTHING = {
    "white": np.full((50, 60), 255),
    "black": np.zeros((28, 28)),
    "one pixel": np.full((1, 1), 9),
    "noise": np.random.default_rng(0).normal(180, 10, (300, 300)).clip(0, 255),
    "paper in a light from one side": np.tile(np.linspace(120, 200, 300), (200, 1))
    + np.random.default_rng(1).normal(0, 5, (200, 300)),
}


@pytest.mark.parametrize("what", NOTHING)
def test_a_picture_of_nothing_is_refused(tmp_path: Path, what: str) -> None:
    Image.fromarray(NOTHING[what].astype(np.uint8)).save(tmp_path / "nothing.png")
    with pytest.raises(NothingOnItError, match="there is nothing on it"):
        read_prepared(tmp_path / "nothing.png", PREPARATIONS["centred_digit"])


def test_what_is_prepared_already_stays_as_it_is() -> None:
    image = centred_digit(seven())
    assert (centred_digit(Image.fromarray(image)) == image).all()
    assert (centred_digit(Image.fromarray(255 - image)) == image).all()
    elsewhere = np.roll(image, (-4, 4), axis=(0, 1))
    assert alike(centred_digit(Image.fromarray(elsewhere)), image) > 0.95


@pytest.mark.parametrize("paper", [255, 0])
def test_an_article_of_clothing_is_trimmed_28_pixels_long_and_light_on_dark(paper: int) -> None:
    picture = Image.new("L", (300, 200), paper)
    ImageDraw.Draw(picture).rectangle((100, 30, 159, 149), fill=100)
    image = centred_article(picture)
    assert image.shape == (28, 28)
    assert box(image) == (28, 14)
    assert image[14, 14] == abs(paper - 100)
    assert (image[:, :6] == 0).all()
    assert (centred_article(Image.fromarray(image)) == image).all()
    with pytest.raises(NothingOnItError):
        centred_article(Image.new("L", (300, 200), paper))


@pytest.mark.parametrize("dataset", [MNIST, FashionMNIST, KMNIST])
def test_a_data_set_says_how_its_images_were_prepared(dataset: type[ImageDataset]) -> None:
    facts = dataset().facts()
    assert facts["stored_shape"] == [1, 28, 28]
    name = facts["preparation"]
    assert name is None or PREPARATIONS[name].of == facts["title"]
    assert (name is None) == (dataset is KMNIST)


def in_a_row(directory: Path, drawn: Sequence[Digit], *, below: bool) -> Path:
    """Several drawn digits on one white sheet, nearly of one height."""
    sheet = Image.new("L", (700, 700), 250)
    for place, digit in enumerate(drawn):
        with Image.open(digit.path) as file:
            picture = ImageOps.invert(file.convert("L"))
        ink = picture.crop(picture.point(lambda level: 255 * (level > 100)).getbbox())
        height = 150 + 20 * place
        tile = ImageOps.invert(ink.resize((round(ink.width * height / ink.height), height)))
        step = 80 + 220 * place
        sheet.paste(tile, (200, step) if below else (step, 200))
    path = directory / f"{drawn[0].path.stem}-{below}.png"
    sheet.save(path)
    return path


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_several_digits_on_a_picture_are_noticed(tmp_path: Path, count: int, below: bool) -> None:
    drawn = digits(tmp_path / "one", seed=3, each=3, treatments=("plain", "thin"))
    sheets = [in_a_row(tmp_path, drawn[first : first + count], below=below) for first in range(0, 27, count)]
    missed = [path.name for path in sheets if not is_of_several(path, PREPARATIONS["centred_digit"])]
    assert not missed


def test_a_digit_of_several_strokes_is_one(tmp_path: Path) -> None:
    assert not [digit.path for digit in digits(tmp_path) if is_of_several(digit.path, PREPARATIONS["centred_digit"])]


@pytest.mark.mnist
def test_a_published_image_shows_one_digit() -> None:
    MNIST().prepare(default_root(), download=True)
    images, _ = MNIST().load(default_root(), "test")
    pictures = [Image.fromarray(image[0].numpy()) for image in images[:2000]]
    on_paper = [Image.fromarray(255 - np.asarray(picture)).resize((112, 112)) for picture in pictures[::10]]
    assert not any(map(several_digits, [*pictures, *on_paper]))
