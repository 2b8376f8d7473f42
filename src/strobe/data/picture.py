"""A picture file of any size and mode -> the pixels that a net takes."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by number of channels."""

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def read_picture(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Decode, turn as its camera says, convert and scale, whatever its own proportions.

    Args:
        path: The file.
        shape: ``(channels, height, width)``.

    Returns:
        ``(C, H, W)`` uint8.

    Raises:
        OSError: If it is no picture that can be read; on damaged files Pillow raises nearly anything else too.
    """
    channels, height, width = shape
    with Image.open(path) as picture:
        plain = _without_surprises(ImageOps.exif_transpose(picture)).convert(MODES[channels])
        scaled = plain.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(scaled, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _without_surprises(picture: Image.Image) -> Image.Image:
    """The picture in a mode that Pillow converts as one would think."""
    if picture.mode.startswith("I"):  # 16 bits per pixel: converted as they are, all but the darkest become white
        return Image.fromarray((np.asarray(picture).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        # As viewers show it: what is left of a transparent picture without its transparency may be all black.
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture.convert("RGBA"))
    return picture
