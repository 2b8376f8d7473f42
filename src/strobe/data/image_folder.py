"""A person's own pictures, sorted into one folder per class."""

import hashlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from strobe.data.dataset import ImageDataset, SplitName
from strobe.data.decoding import SPLITS, decode_all, finish, target_in
from strobe.data.listing import Listing, listed
from strobe.data.picture import ENDINGS, MODES, Fit
from strobe.data.places import locked, places
from strobe.data.root import expanded
from strobe.errors import ConfigError, DatasetError
from strobe.record.files import replacing, write_atomically

log = logging.getLogger(__name__)

_SHOWN = 5  # unreadable files named in a message
_LARGE = 2**28  # bytes; a set of more is mapped to be read only


class ImageFolder(ImageDataset):
    """``<folder>/<class>/**/<picture>``, decoded and scaled once, kept as files below the data root that are mapped.

    All processors decode; what a decoding that was stopped has done is not done again. Neither that nor training holds
    the pictures in memory: a set may be larger. Where the data root can't be written, they are kept in another place.

    Whether a picture is a test picture follows from its path and ``split_seed`` alone, so it stays one when others are
    added or removed. Which are is written beside the tensors, in ``split.json``.

    Args:
        folder: Holds one folder per class; their names, in order, are the classes.
        size: ``[height, width]`` that pictures are scaled to.
        fit: ``crop`` keeps a picture's proportions and the middle of it, ``stretch`` all of it: see `read_picture`. A
            run that was saved before there was a choice does not say, and stretched.
        channels: 3 for color, 1 for gray.
        test_share: Share of the pictures kept for the test, in (0, 1).
        split_seed: Chooses which.
        max_unreadable: Share of the files that may be unreadable; they are named and left out.

    Raises:
        ConfigError: If a value is out of range, or the folder holds no classes.
    """

    def __init__(
        self,
        *,
        folder: str | None,
        size: Sequence[int] = (32, 32),
        fit: Fit = "stretch",
        channels: int = 3,
        test_share: float = 0.2,
        split_seed: int = 0,
        max_unreadable: float = 0.05,
    ) -> None:
        if folder is None:
            raise ConfigError("data.dataset.folder: has no value yet, give it one: data.dataset.folder=<dir>")
        if channels not in MODES:
            raise ConfigError(f"data.dataset.channels={channels}: must be 1 or 3")
        if len(size) != 2 or min(size) < 1:
            raise ConfigError(f"data.dataset.size={list(size)}: must be [height, width] in pixels")
        if fit not in get_args(Fit):
            raise ConfigError(f"data.dataset.fit={fit}: must be {' or '.join(get_args(Fit))}")
        if not 0 < test_share < 1 or not 0 <= max_unreadable <= 1:
            raise ConfigError("data.dataset.test_share and max_unreadable: must be shares between 0 and 1")
        self.folder = expanded(folder, "data.dataset.folder").resolve()
        if not self.folder.is_dir():
            raise ConfigError(f"data.dataset.folder={folder}: there is no such directory")
        self.title = self.folder.name
        self.shape = (channels, int(size[0]), int(size[1]))
        self.fit = fit
        folders = [entry.name for entry in self.folder.iterdir() if entry.is_dir()]
        self.classes = tuple(sorted(name for name in folders if not name.startswith(".")))
        if len(self.classes) < 2:
            raise ConfigError(f"data.dataset.folder={folder}: needs a folder for each of at least two classes")
        self.test_share = test_share
        self.split_seed = split_seed
        self.max_unreadable = max_unreadable
        self._facts: dict[str, Any] = {}

    @property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        """Of the training pictures; known once they have been decoded."""
        return tuple(self._facts["mean"])

    @property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        """Of the training pictures; known once they have been decoded."""
        return tuple(self._facts["std"])

    def facts(self) -> dict[str, Any]:
        """See `ImageDataset.facts`; and how `predict` is to fit a picture."""
        return {**super().facts(), "fit": self.fit}

    def prepare(self, root: Path, *, download: bool) -> None:
        """Decode the pictures, unless that has been done and none has changed since.

        Raises:
            DatasetError: If too many can't be read, or a split would be empty, or there is no room for the pixels.
        """
        listing = self._listing()
        fingerprint = listing.fingerprint(self.classes, self.max_unreadable)
        caches = self._caches(root)
        if any(self._recorded(cache).get("fingerprint") == fingerprint for cache in caches):
            return
        with locked(caches) as cache:
            if self._recorded(cache).get("fingerprint") != fingerprint:
                self._decode(listing, cache, fingerprint)

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        """See `ImageDataset.load`; the images of a large set must not be written to."""
        cache = self._found(root)
        self._facts = self._recorded(cache)
        images = cache / self._facts.get("arrays", {}).get(split, f"{split}-images.npy")
        try:
            return _mapped(images), torch.from_numpy(np.load(images.with_name(f"{split}-labels.npy")))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{cache} is damaged: {error}. Delete it, it will be made anew") from error

    def _listing(self) -> Listing:
        listing = listed(self.folder, self.classes, self.test_share, self.split_seed)
        if not listing.names:
            raise DatasetError(f"{self.folder} holds no pictures ({', '.join(sorted(ENDINGS))})")
        return listing

    def _caches(self, root: Path) -> list[Path]:
        """Where decoded pictures may be kept, the best place first."""
        # What was made before there was a choice stays of use: it was stretched.
        fit = [] if self.fit == "stretch" else [self.fit]
        settings = json.dumps([str(self.folder), self.shape, self.test_share, self.split_seed, *fit])
        name = f"{self.folder.name}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
        return [place / "image_folder" / name for place in places(root)]

    def _found(self, root: Path) -> Path:
        """Where they are kept, also if it was another process that has decoded them."""
        caches = self._caches(root)
        kept = {cache: found for cache in caches if (found := self._recorded(cache))}
        if len(kept) > 1:  # one may be of before a picture was changed
            fingerprint = self._listing().fingerprint(self.classes, self.max_unreadable)
            kept = {cache: found for cache, found in kept.items() if found.get("fingerprint") == fingerprint} or kept
        return next(iter(kept), caches[0])

    def _recorded(self, cache: Path) -> dict[str, Any]:
        try:
            recorded = json.loads((cache / "split.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return recorded if isinstance(recorded, dict) else {}

    def _decode(self, listing: Listing, cache: Path, fingerprint: str) -> None:
        pixels = listing.fingerprint(self.classes)
        recorded = self._recorded(cache)
        if recorded.get("pixels") == pixels:  # they may be more, or fewer, than are allowed now
            self._judge(recorded["unreadable"], len(listing.names))
            write_atomically(cache / "split.json", json.dumps({**recorded, "fingerprint": fingerprint}, indent=1))
            return
        into = cache / pixels[:12]
        into.mkdir(exist_ok=True)
        target = target_in(into, self.folder, self.shape, self.fit)
        unreadable, counts = decode_all(listing, target, pixels)
        named = [f"{name}: {unreadable[name]}" for name in listing.names if name in unreadable]
        self._judge(named, len(listing.names))
        kept = listing.without(unreadable)
        for split in SPLITS:
            if split not in kept.splits:
                raise DatasetError(f"{self.folder} is too small: no picture is left for the {split} split")
        arrays = finish(listing, target, unreadable)
        for split in SPLITS:
            _save(into / f"{split}-labels.npy", np.array(kept.of(split, kept.labels), dtype=np.int64))
        mean, std = _mean_and_std(counts)
        facts: dict[str, Any] = {
            "fingerprint": fingerprint,
            "pixels": pixels,
            "arrays": {split: f"{into.name}/{name}" for split, name in arrays.items()},
            "classes": self.classes,
            "mean": mean,
            "std": std,
            "unreadable": named,
            **{split: kept.of(split, kept.names) for split in SPLITS},
        }
        write_atomically(cache / "split.json", json.dumps(facts, indent=1))  # last: it makes the rest valid
        _tidy(cache, into, arrays)

    def _judge(self, unreadable: Sequence[str], files: int) -> None:
        shown = "; ".join(unreadable[:_SHOWN]) + (" ..." if len(unreadable) > _SHOWN else "")
        if len(unreadable) > self.max_unreadable * files:
            raise DatasetError(
                f"{len(unreadable)} of {files} files in {self.folder} can't be read: {shown}. "
                "Mend or remove them, or allow it: data.dataset.max_unreadable=<share>"
            )
        if unreadable:
            log.warning("Left out, because they can't be read: %s", shown)


def _mapped(path: Path) -> Tensor:
    """The array of a file, of which only what is looked at takes memory."""
    if path.stat().st_size < _LARGE:
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    # A copy that may be written to, if only in memory, counts against limits as if all of it were.
    images = np.load(path, mmap_mode="r")
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that it must not be written to
        return torch.from_numpy(images)


def _tidy(cache: Path, into: Path, arrays: Mapping[str, str]) -> None:
    """Delete what is of no more use; a run that has mapped it keeps it."""
    for path in cache.iterdir():
        if path.is_dir() and path != into:
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".npy":  # of a version that kept them here
            path.unlink(missing_ok=True)
    (into / "journal.json").unlink(missing_ok=True)
    for split, name in arrays.items():
        if name != f"{split}-images.npy":
            (into / f"{split}-images.npy").unlink(missing_ok=True)


def _save(path: Path, array: np.ndarray) -> None:
    """Replace a file; a run that has mapped the old one keeps it."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _mean_and_std(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Per channel of images scaled to [0, 1], from how often each of their levels occurs, ``(C, 256)`` int64."""
    values = np.arange(256) / 255
    means, stds = [], []
    for of_channel in counts:
        mean = float((of_channel * values).sum() / of_channel.sum())
        variance = float((of_channel * (values - mean) ** 2).sum() / of_channel.sum())
        means.append(mean)
        stds.append(max(math.sqrt(variance), 1e-3))  # of pictures that are all alike
    return means, stds
