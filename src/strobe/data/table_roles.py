"""Which columns of a table are the target, and which the features."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from strobe.data.table_column import Mode
from strobe.errors import ConfigError

Kind = Literal["classes", "numbers", "labels"]
"""What a target is: one class of several, one or several numbers, or several yes-or-no labels."""


@dataclass(frozen=True)
class Roles:
    """What the columns are for.

    Attributes:
        targets: The target columns.
        features: The others that are used, in the order of the net's inputs.
        categorical: Those of the features that become one input for each of their texts.
    """

    targets: tuple[str, ...]
    features: tuple[str, ...]
    categorical: frozenset[str]

    def modes(self, kind: Kind | None) -> dict[str, Mode]:
        """How each column is to be read, where the target is of this kind, or may be of any."""
        target: Mode = "text" if kind == "classes" else "number" if kind == "numbers" else "auto"
        features: dict[str, Mode] = {name: "text" if name in self.categorical else "auto" for name in self.features}
        return {**features, **dict.fromkeys(self.targets, target)}


def roles(
    path: Path,
    names: Sequence[str],
    *,
    target: Sequence[str],
    features: Sequence[str] | None,
    drop: Sequence[str],
    categorical: Sequence[str],
) -> Roles:
    """Tell the columns apart.

    Raises:
        ConfigError: If a column is not there, is named twice, or for two things at once.
    """
    lists = {"target": target, "features": features or (), "drop": drop, "categorical": categorical}
    for setting, listed in lists.items():
        for name, count in Counter(listed).items():
            if name not in names:
                guess = difflib.get_close_matches(name, names, n=1)
                advice = f"did you mean {guess[0]!r}?" if guess else f"it has {_enumerated(names)}"
                raise ConfigError(f"data.{setting}: {path} has no column {name!r}: {advice}")
            if count > 1:
                raise ConfigError(f"data.{setting}: {name!r} is named twice")
    for setting, other in (("features", "target"), ("drop", "target"), ("categorical", "target"), ("drop", "features")):
        if both := [name for name in lists[setting] if name in lists[other]]:
            raise ConfigError(f"data.{setting}: {both[0]!r} is in data.{other} too: it can't be both")
    left_out = {*target, *drop}
    chosen = tuple(name for name in names if name not in left_out) if features is None else tuple(features)
    if not chosen:
        raise ConfigError(f"data.features: {path} has no column left to learn from, beside {_enumerated(names)}")
    if strange := [name for name in categorical if name not in chosen]:
        raise ConfigError(f"data.categorical: {strange[0]!r} is not among the features")
    return Roles(tuple(target), chosen, frozenset(categorical))


def _enumerated(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
