"""A person's own pictures, sorted into one folder per class."""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from strobe.data.dataset import ImageDataset, SplitName
from strobe.data.picture import ENDINGS, MODES, Fit, read_picture
from strobe.data.root import expanded
from strobe.errors import ConfigError, DatasetError
from strobe.record.files import replacing, write_atomically

log = logging.getLogger(__name__)

_SHOWN = 5  # unreadable files named in a message


class ImageFolder(ImageDataset):
    """``<folder>/<class>/**/<picture>``, decoded and scaled once, kept as tensors below the data root.

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
            DatasetError: If too many can't be read, or a split would be empty.
        """
        files = self._files()
        cache = self._cache(root)
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".lock"):
            fingerprint = self._fingerprint(files)
            if self._recorded(cache).get("fingerprint") != fingerprint:
                self._decode(files, cache, fingerprint)

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        """See `ImageDataset.load`."""
        cache = self._cache(root)
        self._facts = self._recorded(cache)
        try:
            images = np.load(cache / f"{split}-images.npy", mmap_mode="c")
            labels = np.load(cache / f"{split}-labels.npy")
        except (OSError, ValueError) as error:
            raise DatasetError(f"{cache} is damaged: {error}. Delete it, it will be made anew") from error
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _files(self) -> list[Path]:
        paths = [path for name in self.classes for path in sorted((self.folder / name).rglob("*"))]
        files = [path for path in paths if path.suffix.lower() in ENDINGS and path.is_file()]
        if not files:
            raise DatasetError(f"{self.folder} holds no pictures ({', '.join(sorted(ENDINGS))})")
        return files

    def _cache(self, root: Path) -> Path:
        # What was made before there was a choice stays of use: it was stretched.
        fit = [] if self.fit == "stretch" else [self.fit]
        settings = json.dumps([str(self.folder), self.shape, self.test_share, self.split_seed, *fit])
        return root / "image_folder" / f"{self.folder.name}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def _fingerprint(self, files: Sequence[Path]) -> str:
        stats = [(str(path.relative_to(self.folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        settings = [self.classes, self.max_unreadable, stats]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def _recorded(self, cache: Path) -> dict[str, Any]:
        try:
            recorded = json.loads((cache / "split.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return recorded if isinstance(recorded, dict) else {}

    def _is_test(self, path: Path) -> bool:
        text = f"{self.split_seed}:{path.relative_to(self.folder).as_posix()}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < self.test_share * 2**64

    def _decode(self, files: Sequence[Path], cache: Path, fingerprint: str) -> None:
        names: dict[SplitName, list[str]] = {"train": [], "test": []}
        images: dict[SplitName, list[np.ndarray]] = {"train": [], "test": []}
        labels: dict[SplitName, list[int]] = {"train": [], "test": []}
        unreadable = []
        for path in files:
            try:
                pixels = read_picture(path, self.shape, self.fit)
            except Exception as error:  # Pillow's readers raise SyntaxError, TypeError and others on damaged files
                unreadable.append(f"{path.relative_to(self.folder)}: {error}")
                continue
            split: SplitName = "test" if self._is_test(path) else "train"
            names[split].append(path.relative_to(self.folder).as_posix())
            images[split].append(pixels)
            labels[split].append(self.classes.index(path.relative_to(self.folder).parts[0]))
        shown = "; ".join(unreadable[:_SHOWN]) + (" ..." if len(unreadable) > _SHOWN else "")
        if len(unreadable) > self.max_unreadable * len(files):
            raise DatasetError(
                f"{len(unreadable)} of {len(files)} files in {self.folder} can't be read: {shown}. "
                "Mend or remove them, or allow it: data.dataset.max_unreadable=<share>"
            )
        if unreadable:
            log.warning("Left out, because they can't be read: %s", shown)
        for split, files_of_split in names.items():
            if not files_of_split:
                raise DatasetError(f"{self.folder} is too small: no picture is left for the {split} split")
        (cache / "split.json").unlink(missing_ok=True)  # while arrays are replaced, they don't belong together
        for split in names:
            _save(cache / f"{split}-images.npy", np.stack(images[split]))
            _save(cache / f"{split}-labels.npy", np.array(labels[split], dtype=np.int64))
        mean, std = _mean_and_std(np.stack(images["train"]))
        facts: dict[str, Any] = {
            "fingerprint": fingerprint,
            "classes": self.classes,
            "mean": mean,
            "std": std,
            "unreadable": unreadable,
            "train": names["train"],
            "test": names["test"],
        }
        write_atomically(cache / "split.json", json.dumps(facts, indent=1))  # last: it makes the rest valid


def _save(path: Path, array: np.ndarray) -> None:
    """Replace a file; a run that has mapped the old one keeps it."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _mean_and_std(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Per channel of ``(N, C, H, W)`` uint8 images scaled to [0, 1]; from counts, without a copy in floating point."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].ravel(), minlength=256)
        mean = float((counts * values).sum() / counts.sum())
        variance = float((counts * (values - mean) ** 2).sum() / counts.sum())
        means.append(mean)
        stds.append(max(math.sqrt(variance), 1e-3))  # of pictures that are all alike
    return means, stds
