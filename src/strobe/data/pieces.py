"""A piece of a folder of pictures, decoded into the file that all of them are mapped from; needs no torch.

As a program, it is one of several that do so: it reads pieces from its standard input, a line each, and answers each.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from strobe.data.picture import Fit, read_picture

OFFSET = 128
"""Bytes before the pixels of a file of numpy's; its header is written once all is there."""

READY = "ready"
"""The first answer."""

_MOST_PICTURES, _MOST_READ, _MOST_PIXELS = 64, 2**21, 2**22  # of a piece; bytes, but for one picture that has more


@dataclass(frozen=True)
class Target:
    """Where decoded pictures belong, and what they are to be like.

    Attributes:
        folder: What the files' names are within.
        arrays: By split, the file that its pixels are written to; it is there.
        shape: ``(channels, height, width)``.
        fit: See `read_picture`.
    """

    folder: str
    arrays: dict[str, str]
    shape: tuple[int, int, int]
    fit: Fit


@dataclass(frozen=True)
class Piece:
    """Pictures that are decoded together.

    Attributes:
        number: Of the piece, from 0.
        names: Of the files, in order.
        splits: Of each.
        starts: By split, the row that its first picture has; others have those that follow.
    """

    number: int
    names: list[str]
    splits: list[str]
    starts: dict[str, int]


@dataclass(frozen=True)
class Decoded:
    """What came of a piece.

    Attributes:
        number: Of the piece.
        pictures: How many files it has.
        counts: How often each level occurs in its training pictures, by channel, ``(C, 256)``.
        unreadable: Files that can't be read, by name, each with the reason; their rows are nothing's.
        failed: Of a write that failed: the error's number, what it says, and the file.
    """

    number: int
    pictures: int
    counts: list[list[int]]
    unreadable: dict[str, str]
    failed: tuple[int, str, str] | None = None


def in_pieces(
    names: Sequence[str], sizes: Sequence[int], splits: Sequence[str], shape: tuple[int, int, int]
) -> Iterator[Piece]:
    """Divide pictures, in order, into pieces that take a fraction of a second, and megabytes, each.

    Args:
        names: Of the files.
        sizes: Of the files, in bytes.
        splits: Of the files.
        shape: Of a decoded picture.
    """
    most = max(1, min(_MOST_PICTURES, _MOST_PIXELS // (shape[0] * shape[1] * shape[2])))
    rows = dict.fromkeys(("train", "test"), 0)
    number, begin, read = 0, 0, 0
    for index in range(len(names) + 1):
        full = index - begin >= most or (index > begin and index < len(names) and read + sizes[index] > _MOST_READ)
        if index > begin and (full or index == len(names)):
            of_piece = list(splits[begin:index])
            yield Piece(number, list(names[begin:index]), of_piece, dict(rows))
            for split in rows:
                rows[split] += of_piece.count(split)
            number, begin, read = number + 1, index, 0
        if index < len(names):
            read += sizes[index]


def decode(piece: Piece, target: Target) -> Decoded:
    """Read the pictures of a piece, and write them where they belong."""
    pixels = {split: np.zeros((piece.splits.count(split), *target.shape), np.uint8) for split in piece.starts}
    rows = dict.fromkeys(pixels, 0)
    readable = np.zeros(len(pixels["train"]), dtype=bool)
    unreadable = {}
    folder = Path(target.folder)
    for name, split in zip(piece.names, piece.splits, strict=True):
        try:
            pixels[split][rows[split]] = read_picture(folder / name, target.shape, target.fit)
            if split == "train":
                readable[rows[split]] = True
        except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
            unreadable[name] = str(error)
        rows[split] += 1
    train = pixels["train"] if readable.all() else pixels["train"][readable]
    counts = [_levels(train[:, channel]) for channel in range(target.shape[0])]
    failed = None
    for split, array in pixels.items():
        try:
            if len(array):
                _write(target.arrays[split], array, OFFSET + piece.starts[split] * array[0].nbytes)
        except OSError as error:
            failed = (error.errno or 0, error.strerror or str(error), target.arrays[split])
    return Decoded(piece.number, len(piece.names), counts, unreadable, failed)


def _levels(pixels: np.ndarray) -> list[int]:
    """How often each of the 256 levels occurs; as Pillow counts them, for numpy makes int64 of them first."""
    if not pixels.size:
        return [0] * 256
    return Image.fromarray(pixels.reshape(-1, pixels.shape[-1])).histogram()


def _write(path: str, array: np.ndarray, place: int) -> None:
    with Path(path).open("r+b", buffering=0) as file:
        file.seek(place)
        rest = array.data.cast("B")
        while rest:
            rest = rest[file.write(rest) or 0 :]


def main() -> None:
    """Decode what is asked for, until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is no answer
    print(json.dumps(READY), file=answers, flush=True)
    target: Target | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if target is None:
            target = Target(**{**asked, "shape": tuple(asked["shape"])})
            continue
        print(json.dumps(asdict(decode(Piece(**asked), target))), file=answers, flush=True)


if __name__ == "__main__":
    main()
