"""Name the class of pictures: `python -m src.predict <run dir> <pictures...> [--json]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.cli import exit_code
from src.errors import ConfigError
from src.saved import BEST, SavedNet, saved_net

_AT_ONCE = 256
_DARK, _LIGHT = 0.4, 0.6  # mean brightness of backgrounds that are meant to be dark, of such that are not


def predict(
    net: SavedNet, files: Sequence[Path], *, invert: bool = False
) -> tuple[list[dict[str, Any]], list[tuple[Path, str]]]:
    """The likeliest class of each picture, scaled to the size that the net was trained on.

    Args:
        net: What to ask.
        files: Pictures, of any size and mode.
        invert: Whether to swap dark and light first.

    Returns:
        ``{"file", "class", "probability"}`` for each picture, in the order of ``files``; and the files that could not
        be read, each with the reason.
    """
    import numpy as np
    import torch

    from src.data.picture import read_picture

    predictions, refused = [], []
    for start in range(0, len(files), _AT_ONCE):
        read: dict[Path, np.ndarray] = {}
        for file in files[start : start + _AT_ONCE]:
            try:
                read[file] = read_picture(file, net.shape)
            except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
                refused.append((file, _reason(file, error)))
        if not read:
            continue
        pixels = torch.from_numpy(np.stack(list(read.values())))
        with torch.inference_mode():
            logits = net.net(net.normalised(255 - pixels if invert else pixels))
        for file, probabilities in zip(read, logits.softmax(dim=1), strict=True):
            best = int(probabilities.argmax())
            predictions.append(
                {"file": str(file), "class": net.classes[best], "probability": round(float(probabilities[best]), 6)}
            )
    return predictions, refused


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
        predictions, refused = predict(net, files, invert=options.invert)
        if not options.invert and _look_inverted(net, [Path(each["file"]) for each in predictions]):
            print("These pictures are dark on light, the training images light on dark: try --invert", file=sys.stderr)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    for file, reason in refused:
        print(f"{file}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(predictions))
    else:
        width = max((len(each["file"]) for each in predictions), default=0)
        for each in predictions:
            print(f"{each['file']:<{width}}  {each['class']}  {each['probability']:.4f}")
    return 1 if refused else 0


def _reason(file: Path, error: Exception) -> str:
    if not file.exists():
        return "there is no such file"
    text = str(error).strip().splitlines()
    return f"can't be read as a picture: {text[0] if text else type(error).__name__}"


def _look_inverted(net: SavedNet, files: Sequence[Path]) -> bool:
    """Whether the borders of most pictures are light where the training images are dark on average."""
    from src.data.picture import read_picture

    if net.shape[0] != 1 or net.mean[0] > _DARK or not files:
        return False
    borders = []
    for file in files[:_AT_ONCE]:
        pixels = read_picture(file, net.shape)[0]
        edge = [pixels[0].mean(), pixels[-1].mean(), pixels[:, 0].mean(), pixels[:, -1].mean()]
        borders.append(sum(map(float, edge)) / 4 / 255)
    return sum(border > _LIGHT for border in borders) * 2 > len(borders)


if __name__ == "__main__":
    sys.exit(main())
