"""`config.yaml` of a run as data, whoever wrote it: a file of bounded size that holds plain values and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from strobe.errors import ConfigError, first_line
from strobe.record.files import read_bounded
from strobe.record.layout import CONFIG
from strobe.record.signature import is_signed

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LARGEST = 1_000_000  # bytes; a shipped config has 5,000
_DEEPEST = 40
_MOST_VALUES = 50_000  # keys included
_LONGEST_PLAIN = 50_000  # characters that are not quoted: such may be numbers, whose digits cost their square
_MOST_INTERPOLATED = 5_000  # characters of values with ${...}, together: their parser is slow and recursive
_LARGEST_NUMBER = 2**63

_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))


@dataclass(frozen=True)
class ConfigText:
    """What a run's `config.yaml` says, not yet made a config.

    Attributes:
        path: The file.
        text: Its content, which is one YAML mapping, not too large, deep or clever.
        own: Whether this user wrote it, and nobody has changed it.
    """

    path: Path
    text: str
    own: bool


def read_config(directory: Path) -> ConfigText:
    """The config of a run directory.

    Raises:
        ConfigError: If it has none, or the file is something else, damaged, too large or too deeply nested.
    """
    path = directory / CONFIG
    try:
        text = read_bounded(path, _LARGEST).decode()
    except FileNotFoundError:
        raise ConfigError(f"{directory} has no {CONFIG}: it is no run, or was not copied whole") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is damaged: it is no UTF-8 text") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} can't be read: {why}") from None
    try:
        if wrong := next(_refusals(text), None):
            raise ConfigError(f"{path} is not the config of a run: it {wrong}")
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {first_line(error)}") from None
    return ConfigText(path, text, is_signed(text))


def plain_values(config: ConfigText) -> dict[str, Any]:
    """The config as plain containers, for a comparison; interpolations are text.

    Raises:
        ConfigError: If a value can't be read.
    """
    try:
        loaded = yaml.load(config.text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{config.path} is damaged: {first_line(error)}") from None
    assert isinstance(loaded, dict), "read_config has seen to that"
    return loaded


def odd_entries(node: Any, path: str = "") -> Iterator[str]:
    """What is wrong with the keys and numbers of nested settings, a line each.

    A key with a dot is another key to whoever looks it up by its dotted name. One that is no text may name a plain
    value (``scheduling: {0: 4}``), but nothing that could be an object.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            name = f"{path}.{key}" if path else str(key)
            shown = f"{shortened(path) or 'config'}: the key {shortened(repr(key))}"
            if isinstance(key, str) and ("." in key or not key.isprintable()):
                yield f"{shown} holds a dot or a control character; write nested keys, or another name"
            elif not isinstance(key, str) and (not path or isinstance(value, dict | list)):
                yield f"{shown} is no text; give it a name"
            else:
                yield from odd_entries(value, name)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from odd_entries(value, f"{path}[{index}]")
    elif isinstance(node, int) and abs(node) >= _LARGEST_NUMBER:
        yield f"{shortened(path)}: a number of {node.bit_length()} bits; 63 are the most"


def shortened(text: str, length: int = 100) -> str:
    """A text that has to fit into a line."""
    return text if len(text) <= length else f"{text[:length]}..."


def _refusals(text: str) -> Iterator[str]:
    """What a run's config never has, found without making anything of the text."""
    depth = values = interpolated = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield "holds several documents"
            continue
        if isinstance(event, yaml.AliasEvent):
            yield f"uses an alias (*{shortened(str(event.anchor))})"
        if not isinstance(event, yaml.NodeEvent):
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        values += 1
        if values == 1 and not isinstance(event, yaml.MappingStartEvent):
            yield "holds no mapping"
        if values > _MOST_VALUES:
            yield f"holds more than {_MOST_VALUES:,} values"
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _TAGS:
            yield f"holds a tag ({shortened(tag)!r})"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                yield f"is nested more than {_DEEPEST} deep"
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > _LONGEST_PLAIN and event.style is None:
                yield f"holds a value of {len(event.value):,} characters"
            interpolated += len(event.value) if "${" in event.value else 0
            if interpolated > _MOST_INTERPOLATED:
                yield f"holds more than {_MOST_INTERPOLATED:,} characters of interpolations"
    if values == 0:
        yield "is empty"
