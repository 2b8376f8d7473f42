"""A resolved config as data."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


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


def is_plain(value: Any) -> bool:
    """Whether it is made of nothing but numbers, text, None, lists, tuples and mappings by text."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def strict(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
