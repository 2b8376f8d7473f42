"""The groups, options and keys of config files with the comments beside them, for help and completion; without Hydra.

An answer to a Tab must not take the half second in which Hydra composes, and Hydra knows nothing of comments.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from strobe.record.find import OUTPUTS
from strobe.record.layout import REPORT, TOKEN

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_COMMENT = re.compile(r"(?:^|\s)#\s?(.*)")
_OF_PLUGINS = {"hydra/launcher": ["local"], "hydra/sweeper": ["grid", "optuna"]}  # they are no files
_DEEPEST = 8  # of files that begin with each other
_NESTED = 4  # of groups in each other


@dataclass(frozen=True)
class Entry:
    """A key of a config.

    Attributes:
        value: As the file writes it; None where there are keys below.
        comment: What stands beside it, or above it.
        keys: Those below.
    """

    value: str | None
    comment: str = ""
    keys: Mapping[str, "Entry"] = field(default_factory=dict)


Keys = Mapping[str, Entry]


@dataclass(frozen=True)
class File:
    """A config file.

    Attributes:
        about: The comments at its head, line by line.
        everywhere: Whether its keys are those of the whole config, as an experiment's are.
        defaults: Hydra's list.
        keys: Its own.
    """

    about: Sequence[str] = ()
    everywhere: bool = False
    defaults: Sequence[object] = ()
    keys: Keys = field(default_factory=dict)

    @property
    def chosen(self) -> dict[str, str]:
        """The options that it chooses, by group."""
        return {
            str(group).removeprefix("override ").lstrip("/"): str(option)
            for default in self.defaults
            if isinstance(default, Mapping)
            for group, option in default.items()
            if option is not None
        }


class ConfigFiles:
    """The config files in some directories.

    Args:
        places: A user's own first.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = places

    def groups(self) -> dict[str, list[str]]:
        """Every group with its options, in the order of their names; `base` is for files, not for people."""
        found: dict[str, set[str]] = {group: set(options) for group, options in _OF_PLUGINS.items()}
        for place in self._places:
            for group, option in _options(place):
                if group not in (".", "base", "hydra", "hydra/job_logging", "hydra/hydra_logging"):
                    found.setdefault(group, set()).add(option)
        return {group: sorted(found[group]) for group in sorted(found)}

    def file(self, name: str) -> File:
        """A file by its name, as in ``model/cnn``; an empty one where there is none that can be read."""
        for place in self._places:
            path = place / f"{name}.yaml"
            try:
                return _read(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                continue
        return File()

    def option(self, group: str, option: str, depth: int = 0) -> File:
        """An option with the keys of the files that it begins with."""
        file = self.file(f"{group}/{option}")
        keys: Keys = {}
        own = False
        for default in file.defaults if depth < _DEEPEST else ():
            if default == "_self_":
                keys, own = merged(keys, file.keys), True
            elif isinstance(default, str):
                name, _, package = default.partition("@")
                folder, _, stem = name.lstrip("/").rpartition("/")
                there = self.option(folder if name.startswith("/") else group, stem, depth + 1).keys
                inside = package not in ("", "_here_", "_group_")
                keys = merged(keys, {package: Entry(None, "", there)} if inside else there)
        return replace(file, keys=keys if own else merged(keys, file.keys))

    def choices(self, typed: Mapping[str, str]) -> dict[str, str]:
        """The option of every group, where these were typed; experiments and the like choose for other groups."""
        chosen = {**self.file("train").chosen, **typed}
        by_others: dict[str, str] = {}
        for group, option in chosen.items():
            file = self.file(f"{group}/{option}")
            if file.everywhere:
                by_others |= {name: value for name, value in file.chosen.items() if not name.startswith("hydra/")}
        return {**chosen, **by_others, **typed}

    def whole(self, typed: Mapping[str, str]) -> dict[str, Entry]:
        """All keys of a config with these options."""
        keys = dict(self.file("train").keys)
        late: list[File] = []
        for group, option in self.choices(typed).items():
            file = self.option(group, option)
            if file.everywhere:
                late.append(file)
            elif "/" not in group:
                keys[group] = Entry(None, "", file.keys)
        for file in late:
            keys = merged(keys, file.keys)
        return keys


def _options(place: Path) -> Iterator[tuple[str, str]]:
    """The files of a config directory as group and option; it may be a project's, with runs and much else in it."""
    for folder, inner, files in os.walk(place):  # passes over what can't be read, or is gone by now
        group = Path(folder).relative_to(place)
        is_of_runs = REPORT in files or TOKEN in files
        deeper = [] if is_of_runs or len(group.parts) == _NESTED else inner
        inner[:] = [name for name in deeper if not name.startswith(".") and group / name != OUTPUTS]
        if is_of_runs:
            continue
        yield from ((group.as_posix(), name.removesuffix(".yaml")) for name in files if name.endswith(".yaml"))


def merged(first: Keys, second: Keys) -> dict[str, Entry]:
    """Keys with others on top; a comment stays where the other has none."""
    keys = dict(first)
    for key, entry in second.items():
        before = keys.get(key)
        if before is not None:
            below = merged(before.keys, entry.keys) if entry.value is None else {}
            entry = replace(entry, comment=entry.comment or before.comment, keys=below)
        keys[key] = entry
    return keys


def _read(text: str) -> File:
    lines = text.split("\n")  # as YAML counts them
    head = list(_head(lines))
    about = [line for line in head if not line.startswith("@package")]
    everywhere = "@package _global_" in head
    node = yaml.compose(text, Loader=_LOADER)
    if not isinstance(node, yaml.MappingNode):
        return File(about, everywhere)
    keys = _entries(node, text, lines, len(head))
    defaults = next((value for key, value in node.value if key.value == "defaults"), None)
    listed = yaml.load(text, Loader=_LOADER)["defaults"] if isinstance(defaults, yaml.SequenceNode) else []
    keys.pop("defaults", None)
    return File(about, everywhere, listed, keys)


def _head(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("#"):
            return
        yield line.lstrip("# ")


def _entries(node: yaml.MappingNode, text: str, lines: Sequence[str], head: int) -> dict[str, Entry]:
    entries = {}
    for key, value in node.value:
        above = _above(lines, key.start_mark.line, head)
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            comment = _beside(lines, key.end_mark) or above
            entries[str(key.value)] = Entry(None, comment, _entries(value, text, lines, head))
        elif isinstance(value, yaml.SequenceNode) and not value.flow_style:
            items = ", ".join(_source(item, text) for item in value.value)
            entries[str(key.value)] = Entry(f"[{items}]", _beside(lines, key.end_mark) or above)
        else:
            comment = _beside(lines, value.end_mark) or above
            entries[str(key.value)] = Entry(_source(value, text) or "null", comment)
    return entries


def _source(node: yaml.Node, text: str) -> str:
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _beside(lines: Sequence[str], mark: Any) -> str:
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    found = _COMMENT.search(rest)
    return found[1].strip() if found else ""


def _above(lines: Sequence[str], line: int, head: int) -> str:
    """The comment in the lines over a key; the head of the file is not that of its first key."""
    first = line
    while first > head and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(lines[number].lstrip("# ") for number in range(first, line))
