"""What a trained net makes of a person's pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from strobe.data.picture import ENDINGS, read_picture
from strobe.errors import ConfigError, first_line
from strobe.machine.table import aligned
from strobe.run.saved import SavedNet

_AT_ONCE = 256
_DARK, _LIGHT = 0.4, 0.6  # mean brightness of backgrounds that are meant to be dark, of such that are not


Prediction = TypedDict("Prediction", {"file": str, "class": str, "probability": float})


@dataclass
class Predictions:
    """What a net makes of some pictures.

    Attributes:
        pictures: ``{"file", "class", "probability"}`` for each picture, in the order of the files.
        refused: The files that could not be read, each with the reason.
        dark_on_light: How many pictures have light borders, although the training images are dark on average.
    """

    pictures: list[Prediction] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    dark_on_light: int = 0


def predict(net: SavedNet, files: Sequence[Path], *, invert: bool = False) -> Predictions:
    """The likeliest class of each picture, scaled to the size that the net was trained on.

    Args:
        net: What to ask.
        files: Pictures, of any size and mode.
        invert: Whether to swap dark and light first.
    """
    predictions = Predictions()
    channels, height, width = net.shape
    shape = channels, height, width
    for start in range(0, len(files), _AT_ONCE):
        read: dict[Path, np.ndarray] = {}
        for file in files[start : start + _AT_ONCE]:
            try:
                read[file] = read_picture(file, shape)
            except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
                predictions.refused.append((file, _reason(error)))
        if not read:
            continue
        pixels = torch.from_numpy(np.stack(list(read.values())))
        pixels = 255 - pixels if invert else pixels
        predictions.dark_on_light += _dark_on_light(net, pixels)
        with torch.inference_mode():
            logits = net.net(net.normalized(pixels))
        for file, probabilities in zip(read, logits.softmax(dim=1), strict=True):
            best = int(probabilities.argmax())
            predictions.pictures.append(
                {"file": str(file), "class": net.classes[best], "probability": round(float(probabilities[best]), 6)}
            )
    return predictions


def pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and of a directory the pictures in it, by name.

    Raises:
        ConfigError: If a directory holds none, or can't be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            try:
                inside = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
            except OSError as error:
                raise ConfigError(f"{path} can't be read: {error.strerror}") from None
            if not inside:
                raise ConfigError(f"{path} holds no pictures ({', '.join(sorted(ENDINGS))})")
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def table(predictions: Predictions) -> str:
    """The predictions, a line each."""
    return aligned(
        (prediction["file"], prediction["class"], f"{prediction['probability']:.4f}")
        for prediction in predictions.pictures
    )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return f"can't be read as a picture: {reason}"


def _dark_on_light(net: SavedNet, pixels: Tensor) -> int:
    """How many of ``(B, C, H, W)`` uint8 have light borders where the training images are dark on average."""
    if net.shape[0] != 1 or net.mean[0] > _DARK:
        return 0
    edges = (pixels[:, 0, 0], pixels[:, 0, -1], pixels[:, 0, :, 0], pixels[:, 0, :, -1])
    brightness = sum(edge.float().mean(dim=1) for edge in edges) / (4 * 255)
    return int((torch.as_tensor(brightness) > _LIGHT).sum())
