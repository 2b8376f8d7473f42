"""What is drawn on a picture: ink, whatever the paper, its light and the camera were."""

import numpy as np
from PIL import Image, ImageFilter

from strobe.data.components import Component, components
from strobe.data.picture import PictureError

_BOX = 20  # pixels that a digit is to have
_WORKED_ON = 512  # longest side, in pixels; a digit is to have 20 in the end
_COARSE = 64  # grid on which the paper is estimated
_PAPER = 128  # its level there: shadows are darker
_WIDEST_STROKE = 0.45  # of a picture's side; what is wider is paper
_LEAST_CONTRAST = 16  # of 255 levels, between ink and paper
_OVER_NOISE = 5  # standard deviations
_FAINT, SURE = 0.3, 0.5  # shares of the ink's level: what belongs to a stroke, what makes one
_THINNEST, _PEN = 1.7, 2.2  # pixels of a stroke in the 20: what is thinner is drawn with this pen


class NothingOnItError(PictureError):
    """A picture shows nothing that could be told from its background."""

    def __init__(self) -> None:
        super().__init__("there is nothing on it: no stroke stands out from its background")


def ink_on(picture: Image.Image) -> np.ndarray:
    """How much ink is where on a gray picture, ``(H, W)`` float32 in [0, 1]; a large one is made smaller.

    Raises:
        NothingOnItError: If no stroke stands out from the paper.
    """
    picture = picture.copy()
    picture.thumbnail((_WORKED_ON, _WORKED_ON), Image.Resampling.BOX)
    return _ink(np.asarray(picture, dtype=np.float32))


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
    kept = _strokes(above, faint, SURE * level)
    level = float(np.median(above[kept & (above > SURE * level)]))
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


def of_even_width(ink: np.ndarray) -> np.ndarray:
    """The ink, with a wider pen where its strokes would vanish at MNIST's size."""
    solid = ink >= SURE
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
