"""What the config of a run that this user has not written may name, found by looking: nothing is imported for it."""

import importlib.machinery
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strobe.config.rules import TOP_LEVEL
from strobe.errors import ConfigError
from strobe.record.config_file import shortened
from strobe.record.layout import REPORT
from strobe.record.settings import leaves

_SAFE = (
    *("torch.nn.", "torch.optim.", "torchvision.models.", "torchvision.ops.", "torchmetrics.classification."),
    *("lightning.pytorch.", "lightning.fabric."),
    *("strobe.callbacks.", "strobe.data.", "strobe.models.", "strobe.tasks."),
)
"""Where classes live that do no more than they say; the kind that each place of a config takes is checked besides."""

_PACKAGES = ("torch", "torchvision", "torchmetrics", "lightning", "strobe")
_NAMED = re.compile(r"_target_['\"]?\s*[:=]\s*['\"]?([A-Za-z_][\w.]*)")
_MOST_FILES, _LARGEST_FILE = 2_000, 100_000  # of a config directory
_LONGEST_NAME = 100
_PLACE = re.compile(r"(^|_)(dir|dirpath|path|root|folder|file|filename|uri|url|host|registry)$")
_WORDS = ("name", "note", "tags", "resume")  # of the top: text that nothing opens


@dataclass(frozen=True)
class Allowed:
    """What else may be named: what this user has typed, or wrote into a config directory.

    Attributes:
        packages: Everything in them.
        targets: These alone.
    """

    packages: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    @classmethod
    def of(cls, trusted: Iterable[str], typed: Iterable[str] = (), folders: Iterable[Path] = ()) -> "Allowed":
        """From a command.

        Args:
            trusted: Packages that ``--trust`` names.
            typed: Arguments.
            folders: The user's config directories.

        Raises:
            ConfigError: If what is trusted can't be the name of a package.
        """
        packages = list(trusted)
        for name in packages:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ConfigError(f"--trust {name!r}: must be the name of a package, for example --trust my_models")
        targets = {target for text in [*typed, *_texts(folders)] for target in _NAMED.findall(text)}
        own = {target.partition(".")[0] for target in targets} - {*_PACKAGES}
        return cls(frozenset([*packages, *own]), frozenset(targets))

    def holds(self, target: str) -> bool:
        """Whether a target may be imported."""
        parts = target.split(".")
        if not all(part.isidentifier() for part in parts):
            return False
        if target in self.targets or any(target.startswith(f"{package}.") for package in self.packages):
            return True
        known = target.startswith(_SAFE) or (len(parts) == 2 and parts[0] == "torchmetrics")
        return known and not any(part.startswith("_") for part in parts) and _is_in_a_module(parts)


@dataclass(frozen=True)
class Foreign:
    """Something that a stranger's config may not say.

    Attributes:
        path: Where.
        what: Is wrong with it.
        package: That it is from, if to trust it would do.
    """

    path: str
    what: str
    package: str | None = None


def foreign(config: Mapping[Any, Any], allowed: Allowed) -> Iterator[Foreign]:
    """What a stranger's config may not say.

    Args:
        config: Plain containers, interpolations as they were written.
        allowed: What may be named.
    """
    for key in config:
        if key not in TOP_LEVEL:
            yield Foreign(key, "is no key of a config")
    for path, value in leaves(config, into_lists=True):
        if not isinstance(value, str):
            continue
        last = path.rpartition(".")[2]
        shown = shortened(repr(value))
        if "${" in value:
            yield Foreign(path, f"{shown} would be looked up on this machine")
        elif last == "_target_":
            if not allowed.holds(value):
                package = value.partition(".")[0]
                trustable = package.isidentifier() and len(package) <= _LONGEST_NAME
                yield Foreign(path, f"{shown} may run anything", package if trustable else None)
        elif path.partition("[")[0] not in _WORDS and (_leads_out(value) or _PLACE.search(last.partition("[")[0])):
            yield Foreign(path, f"{shown} is a place on this machine or another")


def links_out(directory: Path) -> Iterator[Path]:
    """The links in a run directory through which a run that goes on would write elsewhere."""
    top = directory.resolve()
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in [*folders, *files]):
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                yield path


def _is_in_a_module(parts: Sequence[str]) -> bool:
    """Whether a name stands in a module that exists, rather than in what a module has imported; imports nothing."""
    spec = importlib.util.find_spec(parts[0])
    for end in range(2, len(parts)):
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:end]), spec.submodule_search_locations)
    return spec is not None


def _leads_out(text: str) -> bool:
    return text.startswith(("/", "\\", "~")) or "://" in text or ".." in re.split(r"[/\\]", text)


def _texts(folders: Iterable[Path]) -> Iterator[str]:
    """The YAML files of config directories; run directories that lie in them are none."""
    count = 0
    for top in folders:
        for folder, inner, files in os.walk(top):
            if REPORT in files:
                inner.clear()
                continue
            inner[:] = [name for name in inner if not name.startswith(".")]
            for path in (Path(folder, name) for name in files if name.endswith((".yaml", ".yml"))):
                count += 1
                if count <= _MOST_FILES and path.is_file() and path.stat().st_size <= _LARGEST_FILE:
                    yield path.read_text(encoding="utf-8", errors="replace")
