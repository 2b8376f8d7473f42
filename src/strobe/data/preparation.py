"""What a data set's images went through before they were published, for a person's picture to go through it too."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from strobe.data.components import Component, components
from strobe.data.picture import PictureError, decoded

_SIDE, _BOX = 28, 20  # of an image; of the ink in it
_WORKED_ON = 512  # longest side, in pixels; a digit is to have 20 in the end
_COARSE = 64  # grid on which the paper is estimated
_PAPER = 128  # its level there: shadows are darker
_WIDEST_STROKE = 0.45  # of a picture's side; what is wider is paper
_LEAST_CONTRAST = 16  # of 255 levels, between ink and paper
_OVER_NOISE = 5  # standard deviations
_FAINT, _SURE = 0.3, 0.5  # shares of the ink's level: what belongs to a stroke, what makes one
_THINNEST, _PEN = 1.7, 2.2  # pixels of a stroke in the 20: what is thinner is drawn with this pen


@dataclass(frozen=True)
class Preparation:
    """How pictures become images of a data set.

    Attributes:
        of: The data set.
        steps: What is done, in words.
        apply: Maps a gray picture to ``(H, W)`` uint8; returns one that is such an image already as it is.
    """

    of: str
    steps: str
    apply: Callable[[Image.Image], np.ndarray]


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


class NothingOnItError(PictureError):
    """A picture shows nothing that could be told from its background."""

    def __init__(self) -> None:
        super().__init__("there is nothing on it: no stroke stands out from its background")


def centred_digit(picture: Image.Image) -> np.ndarray:
    """MNIST's: ink in a box of 20 pixels, its centre of mass in the middle of 28, light on dark.

    Source: http://yann.lecun.com/exdb/mnist: "size normalized to fit in a 20x20 pixel box while preserving their aspect
    ratio", anti-aliased, and "centered in a 28x28 image by computing the center of mass of the pixels".

    Raises:
        NothingOnItError: If no stroke stands out from the paper.
    """
    if (own := _as_published(picture)) is not None:
        return own
    picture = picture.copy()
    picture.thumbnail((_WORKED_ON, _WORKED_ON), Image.Resampling.BOX)
    ink = _of_even_width(_ink(np.asarray(picture, dtype=np.float32)))
    rows, columns = np.flatnonzero(ink.max(axis=1) >= _SURE), np.flatnonzero(ink.max(axis=0) >= _SURE)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = _BOX / max(bottom - top, right - left)
    height, width = (max(1, round(float(side * scale))) for side in (bottom - top, right - left))
    box = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    small = np.asarray(box)
    image = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
    row, column = (_start(small.sum(axis=1 - axis)) for axis in (0, 1))
    image[row : row + height, column : column + width] = (small / small.max() * 255).round()
    return image


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


def _ink(levels: np.ndarray) -> np.ndarray:
    """How much ink is where, in [0, 1], of a picture's levels ``(H, W)`` float32: without paper, shadows and specks."""
    residual = levels - _plane(levels)
    if (residual.clip(max=0) ** 2).sum() > (residual.clip(min=0) ** 2).sum():
        residual = -residual
    above = residual - _paper(residual)
    above -= np.percentile(above, 30)
    steps = np.abs(np.diff(above, axis=1))
    noise = float(np.median(steps)) / (0.6745 * 2**0.5) if steps.size else 0.0
    brightest = np.sort(above.ravel())[-max(4, above.size // 1000) :]
    level = float(np.median(brightest))
    if level < max(_LEAST_CONTRAST, _OVER_NOISE * noise):
        raise NothingOnItError
    faint = max(_FAINT * level, 3 * noise)
    kept = _strokes(above, faint, _SURE * level)
    level = float(np.median(above[kept & (above > _SURE * level)]))
    low = max(0.12 * level, min(2 * noise, 0.4 * level))
    ink: np.ndarray = np.where(kept, (above - low) / (0.85 * level - low), 0).clip(0, 1).astype(np.float32)
    return ink


def _plane(levels: np.ndarray) -> np.ndarray:
    """The light that falls on a picture's border, continued over all of it."""
    height, width = levels.shape
    y, x = np.mgrid[-1 : 1 : complex(height), -1 : 1 : complex(width)]
    edge = max(1, round(0.04 * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[edge : height - edge, edge : width - edge] = False
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    design, values = terms[border], levels[border]
    factors = np.array([np.median(values), 0, 0])
    for _ in range(4):
        far = np.abs(values - design @ factors)
        near = far <= max(2.0, 2.5 * float(np.median(far)))
        factors = np.linalg.lstsq(design[near], values[near], rcond=None)[0]
    plane: np.ndarray = (terms @ factors).astype(np.float32)
    return plane


def _paper(levels: np.ndarray) -> np.ndarray:
    """The background of light strokes: what is left of the levels when all that is narrow and light is taken off.

    Args:
        levels: Of the paper about 0, ``(H, W)`` float32.
    """
    picture = Image.fromarray((_PAPER + levels).clip(0, 255))
    scale = min(1.0, _COARSE / max(picture.size))
    size = [max(1, round(side * scale)) for side in picture.size]
    coarse = picture.resize((size[0], size[1]), Image.Resampling.BOX).convert("L")
    window = max(3, round(_WIDEST_STROKE * max(size)) | 1)
    opened = coarse.filter(ImageFilter.MinFilter(window)).filter(ImageFilter.MaxFilter(window))
    smooth = opened.filter(ImageFilter.GaussianBlur(1))
    return np.asarray(smooth.resize(picture.size, Image.Resampling.BILINEAR), dtype=np.float32) - _PAPER


def _strokes(above: np.ndarray, faint: float, sure: float) -> np.ndarray:
    """Which pixels belong to what is drawn: no specks, no edge of the sheet."""
    parts, where = components(above, faint, sure)
    if not parts:
        raise NothingOnItError
    largest = max(part.mass for part in parts)

    def is_edge(part: Component) -> bool:
        return part.along_border and any(not other.along_border and other.mass > 0.2 * part.mass for other in parts)

    drawn = [part for part in parts if not is_edge(part)]
    largest = max(part.mass for part in drawn)
    kept: np.ndarray = where([part for part in drawn if part.mass >= 0.06 * largest])
    return kept


def _of_even_width(ink: np.ndarray) -> np.ndarray:
    """The ink, with a wider pen where its strokes would vanish at MNIST's size."""
    solid = ink >= _SURE
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    long = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    padded = np.pad(solid, 1)
    edges = sum(int((np.diff(padded.astype(np.int8), axis=axis) != 0).sum()) for axis in (0, 1))
    width = 2 * float(ink.sum()) / (edges * np.pi / 4)  # a stroke has two sides; edges of pixels are longer than theirs
    unit = long / _BOX
    if width >= _THINNEST * unit or long <= _BOX:
        return ink
    pen = max(1, round((_PEN * unit - width) / 2))
    wider = Image.fromarray((np.pad(ink, pen) * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * pen + 1))
    return np.asarray(wider, dtype=np.float32) / 255
