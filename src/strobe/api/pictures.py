"""Pictures as a person has them in Python, written to files as `strobe predict` reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from strobe.errors import ConfigError
from strobe.run.prediction import pictures

_CHANNELS = (1, 3)
_ALLOWED = "a path, a pattern such as 'digits/*.png', a picture of Pillow, an array or tensor, or a list of these"


@contextmanager
def as_files(given: Any) -> Iterator[list[tuple[Path, str]]]:
    """Files of the pictures, each with what it is called; those of arrays are there for the block.

    Args:
        given: A path or pattern, a picture of Pillow, an array or tensor of uint8, ``(H, W)``, ``(C, H, W)``,
            ``(H, W, C)`` or a batch of the last two; or a sequence of these.

    Raises:
        ConfigError: If it is something else, or holds no picture.
    """
    with TemporaryDirectory(prefix="strobe-") as folder:
        found: list[tuple[Path, str]] = []
        for each in given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]:
            if isinstance(each, str | Path):
                found += [(file, str(file)) for file in pictures([Path(each).expanduser()])]
                continue
            for picture in _read(each):
                path = Path(folder, f"{len(found)}.png")
                picture.save(path)
                found.append((path, f"picture {len(found)}"))
        if not found:
            raise ConfigError(f"there is no picture to predict: give {_ALLOWED}")
        yield found


def _read(given: Any) -> list[Image.Image]:
    if isinstance(given, Image.Image):
        return [given.convert("RGB") if given.mode in ("CMYK", "YCbCr", "LAB", "HSV") else given]
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    if not isinstance(given, np.ndarray):
        raise ConfigError(f"{type(given).__name__} is no picture: give {_ALLOWED}")
    if given.dtype != np.uint8:
        raise ConfigError(
            f"an array of {given.dtype}: pictures are of uint8, from 0 to 255, as in (255 * x).astype('uint8')"
        )
    if given.ndim == 4:
        return [_picture(each) for each in given]
    return [_picture(given)]


def _picture(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or 0 in array.shape:
        raise ConfigError(f"an array of shape {array.shape}: pictures are (H, W), (C, H, W) or (H, W, C), C 1 or 3")
    return Image.fromarray(np.ascontiguousarray(array))
