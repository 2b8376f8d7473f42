"""Name the class of pictures: `python -m src.predict <run dir> <pictures...> [--json]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli import exit_code
from src.errors import ConfigError
from src.record import BEST
from src.saved import SavedNet, saved_net

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 256
_DARK, _LIGHT = 0.4, 0.6  # mean brightness of backgrounds that are meant to be dark, of such that are not


@dataclass
class Predictions:
    """What a net makes of some pictures.

    Attributes:
        found: ``{"file", "class", "probability"}`` for each picture, in the order of the files.
        refused: The files that could not be read, each with the reason.
        dark_on_light: How many pictures have light borders, although the training images are dark on average.
    """

    found: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    dark_on_light: int = 0


def predict(net: SavedNet, files: Sequence[Path], *, invert: bool = False) -> Predictions:
    """The likeliest class of each picture, scaled to the size that the net was trained on.

    Args:
        net: What to ask.
        files: Pictures, of any size and mode.
        invert: Whether to swap dark and light first.
    """
    import numpy as np
    import torch

    from src.data.picture import read_picture

    made = Predictions()
    for start in range(0, len(files), _AT_ONCE):
        read: dict[Path, np.ndarray] = {}
        for file in files[start : start + _AT_ONCE]:
            try:
                read[file] = read_picture(file, net.shape)
            except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
                made.refused.append((file, _reason(file, error)))
        if not read:
            continue
        pixels = torch.from_numpy(np.stack(list(read.values())))
        pixels = 255 - pixels if invert else pixels
        made.dark_on_light += _dark_on_light(net, pixels)
        with torch.inference_mode():
            logits = net.net(net.normalised(pixels))
        for file, probabilities in zip(read, logits.softmax(dim=1), strict=True):
            best = int(probabilities.argmax())
            made.found.append(
                {"file": str(file), "class": net.classes[best], "probability": round(float(probabilities[best]), 6)}
            )
    return made


def pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and of a directory the pictures in it, by name.

    Raises:
        ConfigError: If a directory holds none.
    """
    from src.data.picture import ENDINGS

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
            if not inside:
                raise ConfigError(f"{path} holds no pictures ({', '.join(sorted(ENDINGS))})")
            found += inside
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a picture could not be read, after predicting the rest."""
    parser = argparse.ArgumentParser(prog="python -m src.predict", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures of any size, or directories of them")
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--invert", action="store_true", help="swap dark and light, for ink on paper and MNIST")
    parser.add_argument("--json", action="store_true", help="print one JSON list of file, class, probability")
    options = parser.parse_args(arguments)
    try:
        net = saved_net(options.run, options.checkpoint)
        files = pictures(options.pictures)
        made = predict(net, files, invert=options.invert)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if made.dark_on_light * 2 > len(made.found):
        print("These pictures are dark on light, the training images light on dark: try --invert", file=sys.stderr)
    for file, reason in made.refused:
        print(f"{file}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(made.found))
    else:
        width = max((len(each["file"]) for each in made.found), default=0)
        for each in made.found:
            print(f"{each['file']:<{width}}  {each['class']}  {each['probability']:.4f}")
    return 1 if made.refused else 0


def _reason(file: Path, error: Exception) -> str:
    if not file.exists():
        return "there is no such file"
    text = str(error).strip().splitlines()
    return f"can't be read as a picture: {text[0] if text else type(error).__name__}"


def _dark_on_light(net: SavedNet, pixels: "Tensor") -> int:
    """How many of ``(B, C, H, W)`` uint8 have light borders where the training images are dark on average."""
    if net.shape[0] != 1 or net.mean[0] > _DARK:
        return 0
    edges = (pixels[:, 0, 0], pixels[:, 0, -1], pixels[:, 0, :, 0], pixels[:, 0, :, -1])
    brightness = sum(edge.float().mean(dim=1) for edge in edges) / (4 * 255)
    return int((brightness > _LIGHT).sum())


if __name__ == "__main__":
    sys.exit(main())
