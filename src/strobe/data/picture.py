"""A picture file of any size and mode -> the pixels that a net takes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from strobe.record.files import NotRegularError, regular_file

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by number of channels."""

Fit = Literal["stretch", "crop"]
"""How a picture of other proportions comes to have a given shape."""

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}

_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")
"""Rows of pixels. Of Pillow's others some are programs, such as EPS, for which it starts Ghostscript."""

_MOST_PIXELS = 64_000_000  # while it is converted, a picture takes up to twelve bytes for each


class PictureError(Exception):
    """A file is no picture that is read here; the message says of it why."""


def read_picture(path: Path, shape: tuple[int, int, int], fit: Fit = "stretch") -> np.ndarray:
    """Decode, turn as its camera says, convert and scale; of several pictures in a file, the first.

    Args:
        path: The file; what it is follows from its content.
        shape: ``(channels, height, width)``.
        fit: ``stretch`` scales all of it, whatever its own proportions; ``crop`` keeps these, so that the shape is just
            covered, and the middle.

    Returns:
        ``(C, H, W)`` uint8.

    Raises:
        PictureError: If it is no regular file, of no kind that is read here, or too large.
        OSError: If it can't be read; on damaged files Pillow raises nearly anything else too.
    """
    channels, height, width = shape
    with decoded(path) as picture:
        converted = picture if picture.mode == MODES[channels] else picture.convert(MODES[channels])  # which copies
        if converted.size == (width, height):
            scaled = converted
        elif fit == "crop":
            scaled = ImageOps.fit(converted, (width, height), Image.Resampling.BILINEAR)
        else:
            scaled = converted.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(scaled, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def decoded(path: Path, *, paper: str = "white") -> Iterator[Image.Image]:
    """A picture, turned as its camera says, in a mode that Pillow converts as one would think; of several, the first.

    Args:
        path: The file; what it is follows from its content.
        paper: Color behind what is transparent.

    Raises:
        PictureError: If it is no regular file, of no kind that is read here, or too large.
        OSError: If it can't be read; on damaged files Pillow raises nearly anything else too.
    """
    with _regular_file(path) as file, _opened(file) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        yield _without_surprises(picture, paper)


@contextmanager
def _regular_file(path: Path) -> Iterator[BinaryIO]:
    """The file.

    Raises:
        PictureError: If it is a pipe, a device, a directory, or such.
    """
    try:
        with regular_file(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            yield file
    except NotRegularError:
        raise PictureError("it is no regular file") from None


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    """The picture, not yet decoded.

    Raises:
        PictureError: If its format is none that is read here, or it has too many pixels.
    """
    too_large = f"it has more than {_MOST_PIXELS:,} pixels"
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        try:
            picture = Image.open(file, formats=_formats())
        except UnidentifiedImageError:
            raise PictureError(f"it is none of {', '.join(_FORMATS)}") from None
        except Image.DecompressionBombError:
            raise PictureError(too_large) from None
        with picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise PictureError(too_large)
            yield picture


@cache
def _formats() -> list[str]:
    """Those of them that this build of Pillow has."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _without_surprises(picture: Image.Image, paper: str) -> Image.Image:
    """The picture in a mode that Pillow converts as one would think.

    Raises:
        PictureError: If there is none.
    """
    if picture.mode.startswith("I"):  # 16 bits per pixel: converted as they are, all but the darkest become white
        return Image.fromarray((np.asarray(picture).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise PictureError("it has floating-point pixels, which may mean anything; save it with 8 bits")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        # As viewers show it: what is left of a transparent picture without its transparency may be all black.
        behind = Image.new("RGBA", picture.size, paper)
        return Image.alpha_composite(behind, picture.convert("RGBA"))
    return picture
