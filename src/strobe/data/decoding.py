"""A folder of pictures -> files of pixels, made in steps: one that was stopped goes on where it was."""

import io
import json
import logging
import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from strobe.data.decoders import decoded
from strobe.data.listing import Listing
from strobe.data.picture import Fit
from strobe.data.pieces import OFFSET, Decoded, Target, in_pieces
from strobe.data.progress import Progress
from strobe.errors import DatasetError
from strobe.machine.devices import available_cpus
from strobe.record.files import named_errors, replacing, write_atomically

log = logging.getLogger(__name__)

SPLITS = ("train", "test")

_PIECES_EACH = 8  # fewer are done before another process has begun
_SAVE_S = 2.0  # what is decoded is safe on the disk so often
_COPIED = 2**24  # bytes at a time
_VERSION = 1  # of how a folder is divided into pieces


@dataclass
class _Journal:
    """What is done.

    Attributes:
        key: Of what is being decoded, and with what.
        done: Numbers of pieces.
        counts: How often each level occurs in the training pictures, ``(C, 256)`` int64.
        unreadable: File names, each with the reason.
    """

    key: str
    done: set[int]
    counts: np.ndarray
    unreadable: dict[str, str]

    def add(self, found: Decoded) -> None:
        """Record a piece."""
        self.done.add(found.number)
        self.counts += np.array(found.counts)
        self.unreadable.update(found.unreadable)

    def save(self, path: Path) -> None:
        """Write it down, whole."""
        write_atomically(
            path,
            json.dumps(
                {
                    "key": self.key,
                    "done": sorted(self.done),
                    "counts": self.counts.tolist(),
                    "unreadable": self.unreadable,
                }
            ),
        )

    @classmethod
    def read(cls, path: Path, key: str, channels: int) -> "_Journal":
        """That of a decoding that was stopped; an empty one if there is none, or it was of something else."""
        try:
            saved: Any = json.loads(path.read_text(encoding="utf-8"))
            if saved["key"] == key:
                return cls(key, set(saved["done"]), np.array(saved["counts"]), dict(saved["unreadable"]))
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return cls.empty(key, channels)

    @classmethod
    def empty(cls, key: str, channels: int) -> "_Journal":
        """That of a decoding that begins."""
        return cls(key, set(), np.zeros((channels, 256), dtype=np.int64), {})


def decode_all(listing: Listing, target: Target, fingerprint: str) -> tuple[dict[str, str], np.ndarray]:
    """Decode the pictures of a folder, with all processors, into ``<split>-images.npy``.

    Memory that it takes does not grow with the pixels.

    Args:
        listing: The files.
        target: What pictures are to be like, and where they are written to: see `target_in`.
        fingerprint: Of the files.

    Returns:
        Files that can't be read, by name, each with the reason; how often each level occurs in the training pictures,
        by channel, ``(C, 256)`` int64.

    Raises:
        DatasetError: If there is no room for the pixels.
        OSError: If they can't be written.
    """
    pieces = list(in_pieces(listing.names, listing.sizes, listing.splits, target.shape))
    pixels = target.shape[0] * target.shape[1] * target.shape[2]
    sizes = {split: OFFSET + listing.splits.count(split) * pixels for split in SPLITS}
    key = f"{_VERSION} {PIL.__version__} {fingerprint}"
    arrays = {split: Path(path) for split, path in target.arrays.items()}
    into = arrays["train"].parent
    journal = _Journal.read(into / "journal.json", key, target.shape[0])
    whole = all(path.is_file() and path.stat().st_size == sizes[split] for split, path in arrays.items())
    if not (journal.done and whole):
        journal = _Journal.empty(key, target.shape[0])
        _make_room(into, arrays, sizes)
    todo = [piece for piece in pieces if piece.number not in journal.done]
    progress = Progress(len(listing.names), sum(len(piece.names) for piece in todo))
    saved = time.monotonic()
    try:
        decoders = min(available_cpus() - 1, len(todo) // _PIECES_EACH)
        with progress:
            for found in decoded(todo, target, decoders):
                if found.failed is not None:
                    raise OSError(*found.failed)
                journal.add(found)
                progress.advance(found.pictures)
                if time.monotonic() - saved >= _SAVE_S:
                    _save(journal, arrays, into)
                    saved = time.monotonic()
    except BaseException:
        with suppress(OSError):  # it may be the disk that is full
            _save(journal, arrays, into)
        raise
    if len(todo) > _PIECES_EACH:
        _save(journal, arrays, into)
    return journal.unreadable, journal.counts


def target_in(into: Path, folder: Path, shape: tuple[int, int, int], fit: Fit) -> Target:
    """Where `decode_all` writes pictures to."""
    return Target(str(folder), {split: str(into / f"{split}-images.npy") for split in SPLITS}, shape, fit)


def finish(listing: Listing, target: Target, unreadable: Collection[str]) -> dict[str, str]:
    """Make complete files of what was decoded: without rows of unreadable pictures, and with their headers.

    Returns:
        By split, the name of the file.
    """
    names = {}
    for split, path in ((split, Path(path)) for split, path in target.arrays.items()):
        kept = np.array([name not in unreadable for name in listing.of(split, listing.names)], dtype=bool)
        made = path if kept.all() else path.with_name(f"{split}-readable.npy")
        names[split] = made.name
        if made == path:
            with named_errors(path), path.open("r+b") as file:
                file.write(_header((len(kept), *target.shape)))
                file.flush()
                os.fsync(file.fileno())
            continue
        # Copied, not moved within the file: after a process that was killed here this is simply done again.
        rows = np.memmap(path, dtype=np.uint8, mode="r", offset=OFFSET, shape=(len(kept), *target.shape))
        step = max(1, _COPIED // rows[0].nbytes)
        with replacing(made) as temporary, temporary.open("wb") as file:
            file.write(_header((int(kept.sum()), *target.shape)))
            for begin in range(0, len(rows), step):
                file.write(rows[begin : begin + step][kept[begin : begin + step]])
    return names


def _header(shape: tuple[int, ...]) -> bytes:
    """What a file of numpy's begins with, as long as is reserved for it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    assert header.tell() == OFFSET, "numpy fills a header up to a multiple of 64 bytes"
    return header.getvalue()


def _make_room(into: Path, arrays: dict[str, Path], sizes: dict[str, int]) -> None:
    (into / "journal.json").unlink(missing_ok=True)
    for path in arrays.values():
        path.unlink(missing_ok=True)
    room, needed = shutil.disk_usage(into), sum(sizes.values())
    if room.total and room.free < needed:
        raise DatasetError(
            f"the decoded pictures need {needed / 1e6:,.0f} MB in {into.parent}, where {room.free / 1e6:,.0f} MB are "
            "free. Make room, or choose another data.root=<dir> or a smaller data.dataset.size=[<height>,<width>]"
        )
    for split, path in arrays.items():
        with named_errors(path), path.open("wb") as file:
            file.truncate(sizes[split])


def _save(journal: _Journal, arrays: dict[str, Path], into: Path) -> None:
    """Pixels first: after a power failure, what the journal says is done is done."""
    for path in arrays.values():
        with named_errors(path), path.open("r+b") as file:
            os.fsync(file.fileno())
    journal.save(into / "journal.json")
