"""What a trained net makes of a person's pictures."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from strobe.data.ink import NothingOnItError
from strobe.data.picture import ENDINGS, Fit, read_picture
from strobe.data.preparation import PREPARATIONS, Preparation, is_of_several, read_prepared
from strobe.errors import ConfigError, first_line
from strobe.machine.table import aligned
from strobe.run.saved import SavedNet

_AT_ONCE = 256
_DARK, _LIGHT = 0.4, 0.6  # mean brightness of backgrounds that are meant to be dark, of such that are not


Choice = TypedDict("Choice", {"class": str, "probability": float})
Prediction = TypedDict(
    "Prediction", {"file": str, "class": str, "probability": float, "top": NotRequired[list[Choice]]}
)


@dataclass
class Predictions:
    """What a net makes of some pictures.

    Attributes:
        pictures: ``{"file", "class", "probability"}`` for each picture, in the order of the files; with ``"top"``, the
            likeliest classes, where several were asked for.
        refused: The files that could not be read, each with the reason.
        dark_on_light: How many pictures have light borders, although the training images are dark on average.
        of_several: The files that seem to show several of what an image shows one of, and got one class all the same.
        prepared: How pictures were prepared, in words; None where all of each was scaled, and nothing else.
    """

    pictures: list[Prediction] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    dark_on_light: int = 0
    of_several: list[Path] = field(default_factory=list)
    prepared: str | None = None


def predict(
    net: SavedNet, files: Sequence[Path], *, invert: bool = False, as_is: bool = False, top: int | None = None
) -> Predictions:
    """The likeliest class of each picture, after it was prepared as the images were that the net was trained on.

    Args:
        net: What to ask.
        files: Pictures, of any size and mode.
        invert: Whether to swap dark and light first; not where the preparation sees to that.
        as_is: Whether to scale pictures to the images' size, whatever is on them, and do nothing else.
        top: How many classes to name of each; None names the likeliest alone.

    Raises:
        ConfigError: If the preparation is unknown, or clashes with ``invert``, or there are fewer classes.
    """
    preparation = None if as_is else _preparation(net)
    if preparation is not None and invert:
        raise ConfigError(
            f"--invert: pictures are prepared as {preparation.of}'s were, and whether dark or light is the ink is seen "
            "from each; leave it out, or add --as-is"
        )
    if top is not None and not 1 <= top <= len(net.classes):
        raise ConfigError(f"--top {top}: must be from 1 to {len(net.classes)}, the number of classes")
    predictions = Predictions()
    if preparation is not None:
        predictions.prepared = f"prepared as {preparation.of} was: {preparation.steps}"
    elif net.fit == "crop" and not as_is:
        predictions.prepared = "pictures keep their proportions, and of what is too long the middle, as in training"
    read_one = _reader(net, preparation, "stretch" if as_is else net.fit)
    for start in range(0, len(files), _AT_ONCE):
        read: dict[Path, np.ndarray] = {}
        for file in files[start : start + _AT_ONCE]:
            try:
                read[file] = read_one(file)
                if preparation is not None and is_of_several(file, preparation):
                    predictions.of_several.append(file)
            except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
                predictions.refused.append((file, _reason(error)))
        if not read:
            continue
        pixels = torch.from_numpy(np.stack(list(read.values())))
        pixels = 255 - pixels if invert else pixels
        predictions.dark_on_light += _dark_on_light(net, pixels) if preparation is None else 0
        with torch.inference_mode():
            logits = net.net(net.normalized(pixels))
        for file, probabilities in zip(read, logits.softmax(dim=1), strict=True):
            predictions.pictures.append(_prediction(net, file, probabilities, top))
    return predictions


def pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, by name the pictures in a directory, and those that a pattern such as ``**/*.png`` names.

    Raises:
        ConfigError: If a directory holds none, or can't be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            try:
                inside = _pictures_among(path.iterdir())
            except OSError as error:
                raise ConfigError(f"{path} can't be read: {error.strerror}") from None
            if not inside:
                raise ConfigError(f"{path} holds no pictures ({', '.join(sorted(ENDINGS))})")
            files += inside
        else:
            files += _matching(path) or [path]  # what matches nothing is told like a missing file
    return list(dict.fromkeys(files))


def table(predictions: Predictions) -> str:
    """The predictions, a line each."""
    return aligned((prediction["file"], *_cells(prediction, "{:.4f}")) for prediction in predictions.pictures)


def as_csv(predictions: Predictions, top: int | None = None) -> str:
    """The predictions under the header ``file,class,probability``; then ``class_2,probability_2`` and so on."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    further = [f"{name}_{rank}" for rank in range(2, (top or 1) + 1) for name in ("class", "probability")]
    writer.writerow(["file", "class", "probability", *further])
    writer.writerows([prediction["file"], *_cells(prediction, "{:.6f}")] for prediction in predictions.pictures)
    return text.getvalue().removesuffix("\n")


def _cells(prediction: Prediction, number: str) -> list[str]:
    """Class and probability of the likeliest classes, in turn."""
    first: Choice = {"class": prediction["class"], "probability": prediction["probability"]}
    choices = prediction.get("top", [first])
    return [cell for choice in choices for cell in (choice["class"], number.format(choice["probability"]))]


def _prediction(net: SavedNet, file: Path, probabilities: Tensor, top: int | None) -> Prediction:
    values, indices = probabilities.sort(descending=True, stable=True)
    choices: list[Choice] = [
        {"class": net.classes[index], "probability": round(value, 6)}
        for value, index in zip(values[: top or 1].tolist(), indices[: top or 1].tolist(), strict=True)
    ]
    best = choices[0]
    prediction: Prediction = {"file": str(file), "class": best["class"], "probability": best["probability"]}
    if top is not None:
        prediction["top"] = choices
    return prediction


def _preparation(net: SavedNet) -> Preparation | None:
    """What the net's images went through.

    Raises:
        ConfigError: If it is unknown here.
    """
    if net.preparation is None:
        return None
    if net.preparation not in PREPARATIONS:
        raise ConfigError(
            f"this run's pictures are to be prepared by {net.preparation!r}, which is unknown here (there are: "
            f"{', '.join(PREPARATIONS)}); to have them scaled and nothing else, add --as-is"
        )
    return PREPARATIONS[net.preparation]


def _reader(net: SavedNet, preparation: Preparation | None, fit: Fit) -> Callable[[Path], np.ndarray]:
    """What maps a file to ``(C, H, W)`` uint8, as the data set keeps its images."""
    channels, height, width = net.stored_shape or net.shape
    shape = channels, height, width

    def read(file: Path) -> np.ndarray:
        pixels = read_picture(file, shape, fit) if preparation is None else read_prepared(file, preparation)
        if pixels.shape != shape:
            raise ConfigError(f"its preparation gives {pixels.shape}, the data set has {shape}; add --as-is")
        return pixels

    return read


def _matching(pattern: Path) -> list[Path]:
    """The pictures that a pattern names: one in quotes, or that the shell left alone."""
    if pattern.exists() or not set("*?[") & set(str(pattern)):
        return []
    try:
        return _pictures_among(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except (OSError, ValueError):  # such as a part that is neither ** nor without it
        return []


def _pictures_among(paths: Iterable[Path]) -> list[Path]:
    return sorted(file for file in paths if file.suffix.lower() in ENDINGS and file.is_file())


def _reason(error: Exception) -> str:
    match error:
        case NothingOnItError() | ConfigError():
            return str(error)
        case FileNotFoundError():
            return "there is no such file"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return f"can't be read as a picture: {reason}"


def _dark_on_light(net: SavedNet, pixels: Tensor) -> int:
    """How many of ``(B, C, H, W)`` uint8 have light borders where the training images are dark on average."""
    if pixels.shape[1] != 1 or net.mean[0] > _DARK:
        return 0
    edges = (pixels[:, 0, 0], pixels[:, 0, -1], pixels[:, 0, :, 0], pixels[:, 0, :, -1])
    brightness = sum(edge.float().mean(dim=1) for edge in edges) / (4 * 255)
    return int((torch.as_tensor(brightness) > _LIGHT).sum())
