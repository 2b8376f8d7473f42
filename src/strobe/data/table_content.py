"""A table's content, ready to be served: read, split, and encoded by what the training rows teach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from strobe.data.dataset import permuted
from strobe.data.table_column import Mode, Table, Texts
from strobe.data.table_encoding import Encoding, encoding
from strobe.data.table_file import column_names, read_table
from strobe.data.table_roles import Kind, Roles, roles
from strobe.errors import ConfigError


@dataclass(frozen=True)
class RowSplit:
    """The rows of one split.

    Attributes:
        features: ``(N, F)`` float64, not yet normalized: as float32 a time in seconds would be minutes off.
        targets: ``(N,)`` int64 or float32, or ``(N, K)`` float32.
    """

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Content:
    """What a table holds.

    Attributes:
        table: The file, its columns no longer.
        test: Likewise the file of the test rows, where they have one of their own.
        encoding: What the inputs and outputs of a net are.
        splits: ``train``, ``val`` and ``test``.
        mean: To subtract from each input.
        std: To divide each input by.
    """

    table: Table
    test: Table | None
    encoding: Encoding
    splits: Mapping[str, RowSplit]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class TableSource:
    """Where a table is, and what to make of it; see `strobe.data.table.TableDataModule` for what is not said here.

    Attributes:
        target: The target columns.
        single: Whether there is one of them, whose values make targets ``(N,)`` rather than ``(N, 1)``.
    """

    path: Path
    test_path: Path | None
    target: Sequence[str]
    single: bool
    kind: Kind | None
    features: Sequence[str] | None
    drop: Sequence[str]
    categorical: Sequence[str]
    val_size: float
    test_size: float
    split_seed: int
    normalize: bool

    def look(self) -> Roles:
        """What the columns are for, by their names alone.

        Raises:
            ConfigError: If a setting doesn't fit the file, or there is none.
            DatasetError: If the file is no table.
        """
        return roles(
            self.path,
            column_names(self.path, "data.path"),
            target=self.target,
            features=self.features,
            drop=self.drop,
            categorical=self.categorical,
        )

    def read(self) -> Content:
        """Read the file, or both.

        Raises:
            ConfigError: If a setting doesn't fit the file, or there is none.
            DatasetError: If the file is no table, or a value in a column that is used can't be.
        """
        named = self.look()
        table = read_table(self.path, "data.path", named.modes(self.kind))
        positions = self._positions(table.rows)
        learnt = encoding(table, named, self.kind, positions["train"])
        own_test = None if self.test_path is None else self._read_test(self.test_path, table)
        features, targets = learnt.features(table), learnt.targets(table, single=self.single)
        splits = {}
        for name, rows in positions.items():
            _require_known(table, learnt, targets, rows, name)
            splits[name] = RowSplit(torch.from_numpy(features[rows]), torch.from_numpy(targets[rows]))
        if own_test is not None:
            targets = learnt.targets(own_test, single=self.single)
            _require_known(own_test, learnt, targets, np.arange(own_test.rows), "test")
            splits["test"] = RowSplit(torch.from_numpy(learnt.features(own_test)), torch.from_numpy(targets))
        mean, std = _mean_and_std(splits["train"].features.numpy(), learnt.is_number & self.normalize)
        # The columns take memory, and what is served has been made of them.
        return Content(table.without_columns(), own_test and own_test.without_columns(), learnt, splits, mean, std)

    def _read_test(self, path: Path, table: Table) -> Table:
        """The test rows, each column read as in the training file."""
        names = set(column_names(path, "data.test_path"))
        if absent := [name for name in table.columns if name not in names]:
            raise ConfigError(f"data.test_path={path}: it has no column {absent[0]!r}, and {table.path} has one")
        modes: dict[str, Mode] = {
            name: "text" if isinstance(column, Texts) else "number" for name, column in table.columns.items()
        }
        return read_table(path, "data.test_path", modes)

    def _positions(self, rows: int) -> dict[str, np.ndarray]:
        """Which rows are in which split: with another number of validation rows, the test rows are the same.

        Raises:
            ConfigError: If a split has none.
        """
        test = 0 if self.test_path else _count("test_size", self.test_size, rows)
        val = _count("val_size", self.val_size, rows)
        if test + val >= rows:
            raise ConfigError(
                f"data.val_size={self.val_size!r} and data.test_size={self.test_size!r} are {val} and {test} rows of "
                f"{rows} in {self.path}: there is none left to train on"
            )
        shuffled = permuted(rows, self.split_seed).numpy()
        # Sorted: without shuffling, the training rows come in the order of the file.
        return {
            "train": np.sort(shuffled[test + val :]),
            "val": np.sort(shuffled[test : test + val]),
            "test": np.sort(shuffled[:test]),
        }


def _count(name: str, size: float, rows: int) -> int:
    """How many rows a share of them is, or a whole number."""
    count = size if isinstance(size, int) else int(size * rows + 0.5)
    if size and not count:
        raise ConfigError(f"data.{name}={size!r} of {rows} rows is none: choose a larger share, or 0 for no such rows")
    return count


def _require_known(table: Table, learnt: Encoding, targets: np.ndarray, rows: np.ndarray, split: str) -> None:
    """Refuse a class that no training row has: no net could learn to name it.

    Raises:
        DatasetError: If there is one.
    """
    unknown = rows[targets[rows] == -1] if learnt.kind == "classes" else rows[:0]
    if len(unknown):
        raise table.refusal(
            int(unknown[0]),
            learnt.roles.targets[0],
            f"its class is that of {split} rows alone, with no row to learn it from: choose another data.split_seed, "
            "or sizes that leave more rows to train on, or remove classes of few rows",
        )


def _mean_and_std(features: np.ndarray, normalized: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each input over the rows; 0 and 1 where it is not to be normalized, and 1 for a deviation of 0."""
    constant = features.min(axis=0) == features.max(axis=0)  # rounding leaves such a deviation, too, above 0
    mean = np.where(normalized, np.where(constant, features[0], features.mean(axis=0)), 0.0)
    std = np.where(normalized & ~constant, features.std(axis=0), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
