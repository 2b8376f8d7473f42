"""What tells one experiment from another: the settings that change its result, as far as they aren't the defaults."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from strobe.record.settings import leaves, strict

_TARGET = "_target_"
_TASK_OF_OLD = ("task._target_", "strobe.tasks.classifier.Classifier")  # what runs did that name no task
_FIRST_DEFAULTS = Path(__file__).with_name("first_defaults.json")
_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that are equal for two resolved configs which ask for the same experiment."""
    text = json.dumps(strict(identity(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make an experiment the one it is, by their dotted names.

    Left out is what ``identity.ignore`` and ``identity.also_ignore`` of the config name, and every setting that has the
    first default it ever had: a key that an update adds makes no finished run another experiment, a default that an
    update or a person changes does. Classes (``_target_``) are never left out.

    Args:
        config: As `config.yaml` holds it.
    """
    lists = config.get("identity") or {}
    ignored = [str(name) for key in ("ignore", "also_ignore") for name in lists.get(key) or ()]
    kept = _without(config, set(ignored))
    assert isinstance(kept, Mapping), "a config is a mapping"
    top, groups = first_defaults()["top"], _defaults_of(kept)
    found = {}
    for path, value in leaves(kept):
        if (path, value) == _TASK_OF_OLD:
            continue
        if path.rpartition(".")[2] != _TARGET:
            group, _, name = path.partition(".")
            option = groups.get(group, {})
            default = option[name] if name in option else top.get(path)
            if isinstance(default, str) and (reference := _INTERPOLATION.fullmatch(default)):
                default = _at(config, reference[1])
            if _same(default, value):
                continue
        found[path] = value
    return found


@cache
def first_defaults() -> dict[str, Any]:
    """The first default that each key of the shipped configs ever had, by group and option."""
    loaded: dict[str, Any] = json.loads(_FIRST_DEFAULTS.read_text(encoding="utf-8"))
    return loaded


def _defaults_of(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Group -> first defaults, by dotted name, of the option that its classes are those of."""
    shipped = first_defaults()
    found = {}
    for group, options in shipped["groups"].items():
        node = config.get(group)
        if not isinstance(node, Mapping):
            continue
        alike = {name: option for name, option in options.items() if option.get(_TARGET) == node.get(_TARGET)}
        if not alike:
            continue
        classes, preferred = _classes(leaves(node)), shipped["preferred"].get(group)
        # By the classes alone, never by values: two experiments must not be compared with different defaults.
        shared = {name: len(classes & _classes(option.items())) for name, option in alike.items()}
        found[group] = alike[min(alike, key=lambda name: (-shared[name], name != preferred, name))]
    return found


def _classes(settings: Iterable[tuple[str, Any]]) -> set[tuple[str, str]]:
    """Where settings name classes, and which."""
    return {(path, str(value)) for path, value in settings if path.rpartition(".")[2] == _TARGET}


def _without(node: Any, ignored: set[str], path: str = "") -> Any:
    """A node without the settings and the classes that are ignored."""
    if not isinstance(node, Mapping):
        return node
    kept = {}
    for key, value in node.items():
        name = f"{path}.{key}" if path else str(key)
        if name in ignored or (isinstance(value, Mapping) and str(value.get(_TARGET)) in ignored):
            continue
        kept[str(key)] = _without(value, ignored, name)
    return kept


def _at(config: Mapping[str, Any], path: str) -> Any:
    node: Any = config
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _same(first: Any, second: Any) -> bool:
    """Equal as settings: 1 is 1.0, and true is not 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, Sequence) and isinstance(second, Sequence) and not isinstance(first, str):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)
