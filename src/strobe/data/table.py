"""Serves the rows of a CSV or Parquet table, to learn a class, numbers or labels from the other columns."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from strobe.data.loaders import Batch
from strobe.data.memory import MemoryDataModule
from strobe.data.order import BatchOrder
from strobe.data.root import expanded
from strobe.data.table_content import Content, RowSplit, TableSource
from strobe.data.table_roles import Kind
from strobe.errors import ConfigError

_AT_HAND = 2**20  # bytes of a file that is read in a moment


class RowLoader:
    """Iterates over batches of rows: features ``(B, F)`` float32, and targets.

    Lightning finds ``sampler`` and tells it the epoch, as it does with torch's DataLoader.
    """

    batch_sampler = None  # Lightning asks for it wherever there is a sampler

    def __init__(self, features: Tensor, targets: Tensor, order: BatchOrder) -> None:
        self.features = features
        self.targets = targets
        self.sampler = order

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for key in self.sampler:
            yield self.features.index_select(0, key.indices), self.targets.index_select(0, key.indices)


class TableDataModule(MemoryDataModule):
    """Serves the rows of a table, split into training, validation and test rows.

    Which row is in which split follows from the number of rows, the sizes and ``split_seed`` alone. What is learnt from
    the table (mean, deviation, classes, texts of categorical columns) is learnt from its training rows.

    The targets of a regression are served as they are in the file: its loss is in their unit, squared or not.

    Args:
        path: A CSV file (UTF-8, with a header; commas, semicolons or tabs between cells) or a Parquet file.
        target: The column to predict, or several.
        kind: ``classes``, ``numbers`` or ``labels`` (each column 0 or 1). None decides: one column of texts, truth
            values or at most 20 different whole numbers holds classes, several columns of 0 and 1 hold labels, all else
            numbers.
        features: The columns to learn from; None takes all others.
        drop: Columns to leave out.
        categorical: Features with an input for each text that a training row has; 0 in all of them for another text.
        batch_size: Training rows per step and device.
        eval_batch_size: Validation and test rows per step and device.
        val_size: Validation rows, as a share in (0, 1) of the rows of ``path`` or a whole number; 0 for none.
        test_size: Likewise test rows; of no effect with ``test_path``.
        split_seed: Chooses which; apart from ``seed``, so that runs with different seeds stay comparable.
        seed: Orders the training rows.
        shuffle: False gives the training rows in the order of the file.
        normalize: Whether columns of numbers get mean 0 and deviation 1 over the training rows.
        test_path: A file of its own with the test rows.

    Attributes:
        trained_with: Mean and deviation to normalize with, where a net was trained with others than this table's.

    Raises:
        ConfigError: If a value is out of range.
    """

    unit = "rows"

    def __init__(
        self,
        *,
        path: str,
        target: str | Sequence[str],
        kind: Kind | None = None,
        features: str | Sequence[str] | None = None,
        drop: str | Sequence[str] = (),
        categorical: str | Sequence[str] = (),
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        val_size: float = 0.15,
        test_size: float = 0.15,
        split_seed: int = 0,
        seed: int = 0,
        shuffle: bool = True,
        normalize: bool = True,
        test_path: str | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed, shuffle=shuffle)
        for name, size in (("val_size", val_size), ("test_size", test_size)):
            whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
            if not whole and not (isinstance(size, float) and 0 <= size < 1):
                raise ConfigError(f"data.{name}={size!r}: choose a share from 0 to below 1, or a whole number of rows")
        if kind not in (None, "classes", "numbers", "labels"):
            raise ConfigError(f"data.kind={kind!r}: choose classes, numbers or labels, or null to have it decided")
        self.target: str | list[str] = str(target) if isinstance(target, str | int) else _names(target)
        if not self.target:
            raise ConfigError(f"data.target={self.target!r}: name a column")
        self.source = TableSource(
            path=expanded(str(path), "data.path"),
            test_path=None if test_path is None else expanded(str(test_path), "data.test_path"),
            target=[self.target] if isinstance(self.target, str) else self.target,
            single=isinstance(self.target, str),
            kind=kind,
            features=None if features is None else _names(features),
            drop=_names(drop),
            categorical=_names(categorical),
            val_size=val_size,
            test_size=test_size,
            split_seed=split_seed,
            normalize=normalize,
        )
        self.splits: Mapping[str, RowSplit] = {}
        self.trained_with: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @cached_property
    def _content(self) -> Content:
        return self.source.read()

    @property
    def in_shape(self) -> tuple[int]:
        """``(features,)`` of a row."""
        return (len(self._content.mean),)

    @property
    def num_classes(self) -> int:
        """How many outputs the net has: one for each class, label or target number."""
        return self._content.encoding.outputs

    def facts(self) -> dict[str, Any]:
        """What a net and its user have to know, as plain containers; reads the file, once.

        ``num_classes`` and ``out_features`` are how many outputs the net has, for each kind of target; ``classes`` are
        the names of the classes or labels, and empty for numbers. ``features`` names the inputs; from each its ``mean``
        is subtracted, and it is divided by ``std`` (0 and 1: it is left alone).

        Raises:
            ConfigError: If a setting doesn't fit the file, or there is none.
            DatasetError: If the file is no table, or a value in a column that is used can't be.
        """
        content = self._content
        learnt = content.encoding
        own_test = content.test and {"title": content.test.path.name, "sha256": content.test.sha256}
        return {
            "title": content.table.path.name,
            "sha256": content.table.sha256,
            "test_file": own_test,
            "in_shape": list(self.in_shape),
            "num_features": len(content.mean),
            "num_classes": learnt.outputs,
            "out_features": learnt.outputs,
            **({"num_outputs": learnt.outputs} if learnt.kind == "numbers" else {}),
            "kind": learnt.kind,
            "target": self.target if isinstance(self.target, str) else list(self.target),
            "classes": list(learnt.classes),
            "features": list(learnt.inputs),
            "categorical": {name: list(levels) for name, levels in learnt.levels.items()},
            "mean": list(content.mean),
            "std": list(content.std),
            "split": {**{name: len(split) for name, split in content.splits.items()}, "seed": self.source.split_seed},
        }

    def facts_at_hand(self) -> dict[str, Any]:
        """The same where the file can be read in a moment; of a larger one nothing, and its columns are looked at.

        Raises:
            ConfigError: If a setting doesn't fit the file, or there is none.
            DatasetError: If the file is no table, or a value in a column that is used can't be.
        """
        self.source.look()
        return self.facts() if self.source.path.stat().st_size <= _AT_HAND else {}

    def setup(self, stage: str | None = None) -> None:
        """Read the file, unless that has been done.

        Raises:
            ConfigError: If a setting doesn't fit the file, or a stage has no rows.
            DatasetError: If the file is no table, or a value in a column that is used can't be.
        """
        self.splits = self._content.splits
        if stage == "test" and not len(self.splits["test"]):
            raise ConfigError("data.test_size=0 leaves no rows to test on: choose a share of them, or test=false")

    def _loader(self, split: str, order: BatchOrder) -> RowLoader:
        content = self._content
        rows = content.splits[split]
        mean, std = (
            torch.tensor(values, dtype=torch.float64) for values in self.trained_with or (content.mean, content.std)
        )
        features, targets = rows.features.sub(mean).div_(std).float(), rows.targets
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if device.type == "cuda" and _fits(features, device):
            features, targets, order.device = features.to(device), targets.to(device), device
        return RowLoader(features, targets, order)


def _names(columns: str | Sequence[str]) -> list[str]:
    """Several names, or one without brackets around it; a column may be named by a number."""
    return [columns] if isinstance(columns, str) else [str(name) for name in columns]


def _fits(features: Tensor, device: torch.device) -> bool:
    """Whether the features take at most a quarter of the device's free memory."""
    free, _ = torch.cuda.mem_get_info(device)
    return features.numel() * 4 * 4 <= free
