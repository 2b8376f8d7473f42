"""The pictures in folders of classes: their names, their split, and what tells whether one has changed."""

import hashlib
import json
import os
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strobe.data.picture import ENDINGS


@dataclass
class Listing:
    """Files, in the order in which they are decoded.

    Attributes:
        names: Paths within the folder, with ``/``.
        labels: Number of the class of each.
        sizes: Of each, in bytes.
        changed: When each was changed, in nanoseconds.
        splits: Of each: ``train`` or ``test``.
    """

    names: list[str] = field(default_factory=list)
    labels: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]  # of int
    sizes: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]
    changed: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]
    splits: list[str] = field(default_factory=list)

    def without(self, names: Collection[str]) -> "Listing":
        """The others."""
        kept = [index for index, name in enumerate(self.names) if name not in names]
        return Listing(
            [self.names[index] for index in kept],
            array("q", (self.labels[index] for index in kept)),
            array("q", (self.sizes[index] for index in kept)),
            array("q", (self.changed[index] for index in kept)),
            [self.splits[index] for index in kept],
        )

    def of(self, split: str, values: Iterable[Any]) -> list[Any]:
        """Those of the values, one of each file, that belong to a split."""
        return [value for value, its in zip(values, self.splits, strict=True) if its == split]

    def fingerprint(self, *settings: Any) -> str:
        """Hash of the settings and of what tells whether a file has changed."""
        digest = hashlib.sha256(f"[{', '.join(map(json.dumps, settings))}, [".encode())
        for index, name in enumerate(self.names):
            stat = json.dumps([str(Path(name)) if os.sep != "/" else name, self.sizes[index], self.changed[index]])
            digest.update(f"{', ' if index else ''}{stat}".encode())
        digest.update(b"]]")
        return digest.hexdigest()


def listed(folder: Path, classes: Sequence[str], test_share: float, split_seed: int) -> Listing:
    """Find the pictures, however deep below the folder of their class.

    Args:
        folder: Holds the folders of the classes.
        classes: Their names.
        test_share: Share of the pictures that are for the test.
        split_seed: Chooses which.
    """
    listing = Listing()
    for label, name in enumerate(classes):
        for parts, stat in sorted(_pictures(folder / name, (name,))):
            listing.names.append("/".join(parts))
            listing.labels.append(label)
            listing.sizes.append(stat[0])
            listing.changed.append(stat[1])
            listing.splits.append("test" if _is_test(listing.names[-1], test_share, split_seed) else "train")
    return listing


def _pictures(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Each with its path in parts, its size and the time of its change; links to folders are not followed."""
    try:
        entries = os.scandir(folder)
    except PermissionError:  # as `Path.rglob` has it
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _pictures(folder / entry.name, (*above, entry.name))
            elif entry.name[entry.name.rfind(".") :].lower() in ENDINGS and entry.is_file():
                stat = entry.stat()
                yield (*above, entry.name), (stat.st_size, stat.st_mtime_ns)


def _is_test(name: str, test_share: float, split_seed: int) -> bool:
    text = f"{split_seed}:{name}"
    number = int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")
    return number < test_share * 2**64
