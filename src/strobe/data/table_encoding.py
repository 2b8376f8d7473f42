"""From the columns of a table to what a net takes and what it learns: one row of numbers each, and a target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from strobe.data.table_column import Column, Table, Texts, is_number, shown
from strobe.data.table_roles import Kind, Roles
from strobe.errors import ConfigError, DatasetError

_MOST_LEVELS = 1_000  # one input for each; more are an identifier rather than a category
_MOST_CLASSES = 10_000
_FEW = 20  # whole numbers of a target that are classes unless a person says otherwise
_TRUTH = {"false": 0.0, "true": 1.0}


@dataclass(frozen=True)
class Encoding:
    """What was learnt from the training rows, and is applied to all.

    Attributes:
        roles: Of the columns.
        kind: Of the target.
        classes: Of kind ``classes``: their names; of kind ``labels``: the target columns; else none.
        levels: The texts of each categorical column that have an input of their own.
    """

    roles: Roles
    kind: Kind
    classes: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What each input of the net is: a column, or ``column=text``."""
        return tuple(
            text
            for name in self.roles.features
            for text in ([f"{name}={level}" for level in self.levels[name]] if name in self.levels else [name])
        )

    @property
    def is_number(self) -> np.ndarray:
        """Which inputs are numbers rather than one text of several, ``(F,)`` bool."""
        widths = [len(self.levels[name]) if name in self.levels else 1 for name in self.roles.features]
        return np.repeat([name not in self.levels for name in self.roles.features], widths)

    @property
    def outputs(self) -> int:
        """How many numbers a net has to give: one for each class, label or target."""
        return len(self.classes) if self.kind == "classes" else len(self.roles.targets)

    def features(self, table: Table) -> np.ndarray:
        """The inputs, ``(N, F)`` float64; a text that no training row has is 0 in all inputs of its column."""
        inputs = np.zeros((table.rows, len(self.inputs)))
        place = 0
        for name in self.roles.features:
            column = table.columns[name]
            if name not in self.levels:
                inputs[:, place] = _feature(table, name, column)
                place += 1
                continue
            assert isinstance(column, Texts), "categorical columns are read as texts"
            of_level = _positions(column.levels, self.levels[name])
            codes = of_level[column.codes]
            known = np.flatnonzero(codes >= 0)
            inputs[known, place + codes[known]] = 1
            place += len(self.levels[name])
        return inputs

    def targets(self, table: Table, *, single: bool) -> np.ndarray:
        """The targets.

        Args:
            table: Any with the same columns.
            single: Whether one target column makes ``(N,)`` rather than ``(N, 1)``.

        Returns:
            Of classes ``(N,)`` int64, -1 for one that no training row has; else float32 ``(N, K)``, or ``(N,)``.

        Raises:
            DatasetError: If a label is neither 0 nor 1.
        """
        if self.kind == "classes":
            return self._classes(table.columns[self.roles.targets[0]])
        columns = []
        for name in self.roles.targets:
            values = _numbers(table.columns[name])
            if values is None or (self.kind == "labels" and not np.isin(values, (0, 1)).all()):
                raise _no_label(table, name)
            columns.append(values)
        stacked = np.stack(columns, axis=1).astype(np.float32)
        return stacked[:, 0] if single and self.kind == "numbers" else stacked

    def _classes(self, column: Column) -> np.ndarray:
        """``(N,)`` int64, -1 for a class that is none of these."""
        if not isinstance(column, Texts):
            values, codes = np.unique(column, return_inverse=True)
            return np.take(_positions([_plain(float(value)) for value in values], self.classes), codes)
        # A file may write 1.0 where another has 1; as it stands a text is looked up first, for names such as 01.
        known = set(self.classes)
        names = [_plain(float(level)) if level not in known and is_number(level) else level for level in column.levels]
        positions: np.ndarray = _positions(names, self.classes)[column.codes]
        return positions


def encoding(table: Table, roles: Roles, kind: Kind | None, train: np.ndarray) -> Encoding:
    """Learn from the training rows what the inputs and the classes are.

    Args:
        table: The table.
        roles: Of its columns.
        kind: Of the target; None to decide from its values.
        train: Numbers of the training rows.

    Raises:
        ConfigError: If the target is not of this kind, there are too many classes or texts, or all rows are one class.
    """
    kind = kind or _decided_kind(table, roles)
    if kind == "classes" and len(roles.targets) > 1:
        raise ConfigError("data.target: several columns can't be one class; give one, or data.kind=labels or numbers")
    levels = {}
    for name in roles.features:
        if name in roles.categorical:
            column = table.columns[name]
            assert isinstance(column, Texts), "categorical columns are read as texts"
            found = [column.levels[code] for code in np.unique(column.codes[train])]
            if len(found) > _MOST_LEVELS:
                raise ConfigError(
                    f"data.categorical: {name!r} has {len(found):,} different texts, at most {_MOST_LEVELS:,} can have "
                    f"an input each: leave it out with data.drop=[{name}]"
                )
            levels[name] = tuple(_sorted(found))
    classes: tuple[str, ...] = roles.targets if kind == "labels" else ()
    if kind == "classes":
        codes, names = class_codes(table.columns[roles.targets[0]])
        classes = tuple(names[code] for code in np.unique(codes[train]))
        target = f"data.target={roles.targets[0]}"
        if len(names) < 2:
            raise ConfigError(f"{target}: all rows are of the one class {shown(names[0])}: there is nothing to learn")
        if len(classes) > _MOST_CLASSES:
            raise ConfigError(
                f"{target}: {len(classes):,} classes; at most {_MOST_CLASSES:,}. Is it data.kind=numbers?"
            )
    return Encoding(roles, kind, classes, levels)


def class_codes(column: Column) -> tuple[np.ndarray, Sequence[str]]:
    """The class of each row, ``(N,)`` int64, and the names, in the order of the numbers if all are numbers."""
    if isinstance(column, Texts) and not all(map(is_number, column.levels)):
        names = sorted(column.levels)
        return _positions(column.levels, names)[column.codes], names
    if isinstance(column, Texts):
        numbers: np.ndarray = np.array(column.levels, dtype=np.float64)[column.codes]
    else:
        numbers = column
    values, codes = np.unique(numbers, return_inverse=True)
    return codes.astype(np.int64), [_plain(float(value)) for value in values]


def _decided_kind(table: Table, roles: Roles) -> Kind:
    columns = [table.columns[name] for name in roles.targets]
    if len(columns) > 1:
        binary = []
        for name, column in zip(roles.targets, columns, strict=True):
            if (values := _numbers(column)) is None:
                raise ConfigError(
                    f"data.target: {name!r} holds texts; several target columns have to hold numbers, or labels 0 and 1"
                )
            binary.append(bool(np.isin(values, (0, 1)).all()))
        return "labels" if all(binary) else "numbers"
    if isinstance(columns[0], Texts):
        return "classes"
    different = np.unique(columns[0])
    return "classes" if len(different) <= _FEW and bool((different == np.round(different)).all()) else "numbers"


def _numbers(column: Column) -> np.ndarray | None:
    """The values of a column of numbers, or of true and false; None where it is neither."""
    if not isinstance(column, Texts):
        return column
    if any(level.lower() not in _TRUTH for level in column.levels):
        return None
    truth: np.ndarray = np.array([_TRUTH[level.lower()] for level in column.levels])[column.codes]
    return truth


def _no_label(table: Table, name: str) -> DatasetError:
    """Of the first row that holds something else than a label."""
    column = table.columns[name]
    if isinstance(column, Texts):
        wrong = np.array([level.lower() not in _TRUTH for level in column.levels])[column.codes]
    else:
        wrong = ~np.isin(column, (0, 1))
    index = int(wrong.argmax())
    value = column.levels[column.codes[index]] if isinstance(column, Texts) else _plain(float(column[index]))
    return table.refusal(index, name, f"{shown(value)} is no label: it has to be 0 or 1 (or false or true)")


def _feature(table: Table, name: str, column: Column) -> np.ndarray:
    """See `_numbers`.

    Raises:
        ConfigError: If the column holds texts.
    """
    if (values := _numbers(column)) is None:
        assert isinstance(column, Texts)
        some = ", ".join(shown(level) for level in column.levels[:3])
        raise ConfigError(
            f"data.features: {name!r} in {table.path} holds texts ({some}): have an input for each of them with "
            f"data.categorical=[{name}], or leave the column out with data.drop=[{name}]"
        )
    return values


def _positions(texts: Sequence[str], among: Sequence[str]) -> np.ndarray:
    """Where each text is in a list, int64; -1 where it isn't."""
    places = {text: place for place, text in enumerate(among)}
    return np.array([places.get(text, -1) for text in texts], dtype=np.int64)


def _sorted(texts: Sequence[str]) -> list[str]:
    return sorted(texts, key=float) if all(map(is_number, texts)) else sorted(texts)


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
