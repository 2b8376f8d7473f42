"""What a data set's images went through before they were published, for a person's picture to go through it too."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from strobe.data.ink import SURE, NothingOnItError, ink_on, of_even_width
from strobe.data.picture import decoded
from strobe.data.several import shows_several

_SIDE, _BOX = 28, 20  # of an image; of the ink in it


@dataclass(frozen=True)
class Preparation:
    """How pictures become images of a data set.

    Attributes:
        of: The data set.
        steps: What is done, in words.
        apply: Maps a gray picture to ``(H, W)`` uint8; returns one that is such an image already as it is.
        is_of_several: Tells whether a gray picture shows more than the one thing that an image shows; None: unknown.
    """

    of: str
    steps: str
    apply: Callable[[Image.Image], np.ndarray]
    is_of_several: Callable[[Image.Image], bool] | None = None


def read_prepared(path: Path, preparation: Preparation) -> np.ndarray:
    """Decode a picture as `read_picture` does, and prepare it.

    Returns:
        ``(1, H, W)`` uint8.

    Raises:
        PictureError: If it can't be read, or there is nothing on it.
        OSError: If it can't be read; on damaged files Pillow raises nearly anything else too.
    """
    try:
        with decoded(path) as picture:
            return preparation.apply(picture.convert("L"))[None]
    except NothingOnItError:
        with decoded(path, paper="black") as picture:  # white ink, with nothing behind it
            return preparation.apply(picture.convert("L"))[None]


def is_of_several(path: Path, preparation: Preparation) -> bool:
    """Whether a picture that `read_prepared` reads shows more than the one thing that an image is of."""
    if preparation.is_of_several is None:
        return False
    try:
        with decoded(path) as picture:
            return preparation.is_of_several(picture.convert("L"))
    except NothingOnItError:  # white ink: see `read_prepared`
        with decoded(path, paper="black") as picture:
            return preparation.is_of_several(picture.convert("L"))


def centred_digit(picture: Image.Image) -> np.ndarray:
    """MNIST's: ink in a box of 20 pixels, its centre of mass in the middle of 28, light on dark.

    Source: http://yann.lecun.com/exdb/mnist: "size normalized to fit in a 20x20 pixel box while preserving their aspect
    ratio", anti-aliased, and "centered in a 28x28 image by computing the center of mass of the pixels".

    Raises:
        NothingOnItError: If no stroke stands out from the paper.
    """
    if (own := _as_published(picture)) is not None:
        return own
    ink = of_even_width(ink_on(picture))
    rows, columns = np.flatnonzero(ink.max(axis=1) >= SURE), np.flatnonzero(ink.max(axis=0) >= SURE)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = _BOX / max(bottom - top, right - left)
    height, width = (max(1, round(float(side * scale))) for side in (bottom - top, right - left))
    box = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    small = np.asarray(box)
    image = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
    row, column = (_start(small.sum(axis=1 - axis)) for axis in (0, 1))
    image[row : row + height, column : column + width] = (small / small.max() * 255).round()
    return image


def several_digits(picture: Image.Image) -> bool:
    """Whether a picture that `centred_digit` takes shows more than one digit."""
    return _as_published(picture) is None and shows_several(ink_on(picture))


def centred_article(picture: Image.Image) -> np.ndarray:
    """Fashion-MNIST's: edges of the corners' color trimmed, the longer side 28 pixels, in the middle, light on dark.

    Source: Xiao, Rasul, Vollgraf, https://arxiv.org/abs/1708.07747, section 2; without its sharpening.

    Raises:
        NothingOnItError: If all of it has the corners' color.
    """
    levels = np.asarray(picture)
    background = int(np.median(levels[[0, 0, -1, -1], [0, -1, 0, -1]]))
    if background > 127:
        levels, background = 255 - levels, 255 - background
    if levels.shape == (_SIDE, _SIDE):
        return levels.copy()
    shown = abs(levels.astype(np.int16) - background) > 0.05 * 255
    if not shown.any():
        raise NothingOnItError
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    article = Image.fromarray(levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = _SIDE / max(article.size)
    article = article.resize(
        (max(1, round(article.width * scale)), max(1, round(article.height * scale))), Image.Resampling.BILINEAR
    )
    image = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
    row, column = (_SIDE - article.height) // 2, (_SIDE - article.width) // 2
    lighter = np.asarray(article).astype(np.int16) - background
    image[row : row + article.height, column : column + article.width] = lighter.clip(0, 255)
    return image


PREPARATIONS = {
    "centred_digit": Preparation(
        "MNIST",
        "paper subtracted, light on dark, cropped to the ink, 20 pixels long, centred by mass in 28",
        centred_digit,
        several_digits,
    ),
    "centred_article": Preparation(
        "FashionMNIST", "light on dark, cropped to what is shown, 28 pixels long, centred", centred_article
    ),
}
"""By the name that `ImageDataset.preparation` and a checkpoint give."""


def _as_published(picture: Image.Image) -> np.ndarray | None:
    """The picture, light on dark, if it is an image of MNIST or like one."""
    if picture.size != (_SIDE, _SIDE):
        return None
    image = np.asarray(picture)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    image = 255 - image if np.median(border) > 127 else image.copy()
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if not len(rows):
        return None
    mass = image.sum(dtype=np.int64)
    middles = [image.sum(axis=1 - axis) @ (np.arange(_SIDE) + 0.5) / mass for axis in (0, 1)]
    long = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    central = all(abs(middle - _SIDE / 2) <= 1.5 for middle in middles)
    return image if _BOX - 2 <= long <= _BOX and central else None


def _start(masses: np.ndarray) -> int:
    """Where a row or column of masses begins for its centre to lie in the middle of an image, and it within."""
    centre = float(masses @ (np.arange(len(masses)) + 0.5) / masses.sum())
    return min(max(round(_SIDE / 2 - centre), 0), _SIDE - len(masses))
