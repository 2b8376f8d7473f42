"""A resolved config as data: its leaves, and the hash that tells one experiment from another."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# What may differ between two runs of the same experiment.
_NOT_HASHED = {"name", "tags", "resume", "validate", "sweep", "data.root", "data.download"}


def leaves(node: Any, path: str = "", *, into_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Every value of nested settings with its path, ``a.b.c``; an empty mapping has none.

    Args:
        node: Mappings, lists and values.
        path: Where it stands itself.
        into_lists: Whether a list is gone through, as ``a.b[0].c``, or is a value.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key), into_lists=into_lists)
    elif into_lists and isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, f"{path}[{index}]", into_lists=True)
    else:
        yield path, node


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that are equal for two configs which ask for the same experiment."""
    kept: dict[str, Any] = {key: value for key, value in config.items() if key not in _NOT_HASHED}
    for dotted in _NOT_HASHED:
        group, _, key = dotted.partition(".")
        if key and isinstance(kept.get(group), dict):
            kept[group] = {name: value for name, value in kept[group].items() if name != key}
    text = json.dumps(strict(kept), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def strict(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
