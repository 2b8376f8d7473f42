"""The settings of a run that are not the defaults."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from strobe.config.compose import CONF, composed, plain
from strobe.errors import ConfigError
from strobe.record.files import read_bounded
from strobe.record.settings import leaves
from strobe.report.collect import flat_config

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_GROUPS = ("data", "model", "optimizer", "scheduler", "loss", "metrics", "task", "trainer", "callbacks", "logger")
_PRESETS = ("experiment", "debug")  # what they change is shown, not taken for a default
_BOOKKEEPING = ("name", "tags", "note", "sweep")  # the page's head has them, or nobody chose them
_LIMIT = 1_000_000  # bytes of Hydra's record
_OPTION = re.compile(r"\w[\w-]*")
_ABSENT = "-"


def changed_settings(directory: Path) -> list[list[str]]:
    """A header, then key, value and default of each setting that differs; nothing where there is none, or no config.

    First the options that were chosen, ``model = mlp``; then what differs from the defaults of those. Where an option
    is not a shipped one, all that it brings is shown.

    Args:
        directory: The run directory.
    """
    values = flat_config(directory)
    if not values:
        return []
    try:
        usual = _usual_options()
        chosen = _chosen(directory, usual)
        defaults = _defaults({group: option for group, option in chosen.items() if group in _GROUPS})
    except ConfigError:  # the shipped configs, in the hands of someone who has changed them
        return []
    rows = [[group, option, usual.get(group, "null")] for group, option in chosen.items()]
    for key, value in values.items():
        known = key in defaults
        if key.partition(".")[0] in _BOOKKEEPING or (known and _same(value, defaults[key])):
            continue
        if known or value is not None:  # of what the defaults lack, null says nothing
            rows.append([key, _text(value), _text(defaults[key]) if known else _ABSENT])
    return [["setting", "this run", "default"], *rows] if rows else []


def _chosen(directory: Path, usual: Mapping[str, str]) -> dict[str, str]:
    """Group -> option, where that is not the usual one; nothing where Hydra's record is not there, or damaged."""
    try:
        record = yaml.load(read_bounded(directory / ".hydra" / "hydra.yaml", _LIMIT), Loader=_Loader)
        choices = record["hydra"]["runtime"]["choices"]
        found = {group: choices.get(group) for group in (*_PRESETS, *_GROUPS)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError):
        return {}
    options = {
        group: option for group, option in found.items() if isinstance(option, str) and _OPTION.fullmatch(option)
    }
    return {group: option for group, option in options.items() if option != usual.get(group)}


def _usual_options() -> dict[str, str]:
    """Group -> option of a config that nothing was chosen for."""
    listed = yaml.load((CONF / "train.yaml").read_text(encoding="utf-8"), Loader=_Loader)["defaults"]
    pairs = (pair for entry in listed if isinstance(entry, dict) for pair in entry.items())
    return {str(group): str(option) for group, option in pairs if option is not None}


def _defaults(options: Mapping[str, str]) -> dict[str, Any]:
    """What a config with these options of groups would have; nothing of a group whose option is not shipped."""
    typed, left_open = [], set()
    for group, option in options.items():
        if (path := CONF / group / f"{option}.yaml").is_file():
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
            left_open |= {f"{group}.{key}" for key, value in content.items() if value == "???"}
            typed.append(f"{group}={option}")
    values = plain(composed([*typed, *(f"{key}=any" for key in left_open)]))
    of_others = tuple(f"{group}." for group, option in options.items() if f"{group}={option}" not in typed)
    return {key: value for key, value in leaves(values) if key not in left_open and not key.startswith(of_others)}


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) or _text(left) == _text(right)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list | tuple) else _shown(value)


def _shown(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # of integers, Python writes 4,300 digits at most
        return "a number of very many digits"
