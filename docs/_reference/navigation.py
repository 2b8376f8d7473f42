"""The site's navigation: what exists is listed, in the order in which a person needs it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from _reference.configuration import page_of
from _reference.links import pages_of_examples
from _reference.meanings import of_groups
from strobe.commands.config_files import ConfigFiles
from strobe.config.place import CONF

_EXPLAINED = ("tasks", "resume", "guarantees", "profiling", "performance", "tensorboard", "loggers", "exporting")
_LATER = ("many-machines", "docker", "secrets")


def navigation(root: Path, reference: Mapping[str, str]) -> list[dict[str, Any]]:
    """MkDocs' ``nav``.

    Args:
        root: Of the repository.
        reference: The pages that are made.
    """
    docs = root / "docs"
    listed = [
        {"Start": "index.md"},
        {"Tutorial": _folder(docs, "tutorial")},
        {"How to": _folder(docs, "how-to")},
        {"In depth": [*_there(docs, _EXPLAINED), *_there(docs, _LATER), "security.md"]},
        {"Reference": _reference(root, reference)},
        {"Glossary": "glossary.md"},
        {"Changes": "changelog.md"},
    ]
    mentioned = str(listed)
    rest = [path.name for path in sorted(docs.glob("*.md")) if f"'{path.name}'" not in mentioned]
    if rest:
        listed.insert(-2, {"More": rest})
    return [entry for entry in listed if all(entry.values())]


def _folder(docs: Path, name: str) -> list[str]:
    """The pages of a folder that may have none yet, `index` first."""
    found = sorted((docs / name).glob("*.md"), key=lambda path: (path.stem != "index", path.name))
    return [path.relative_to(docs).as_posix() for path in found]


def _there(docs: Path, names: Iterable[str]) -> list[str]:
    return [f"{name}.md" for name in names if (docs / f"{name}.md").is_file()]


def _reference(root: Path, reference: Mapping[str, str]) -> list[Any]:
    by_page = {f"reference/{page_of(group)}": group for group in _groups()}
    groups = [{group: page} for page, group in by_page.items() if page in reference]
    examples = ["reference/examples.md", *pages_of_examples(root).values()]
    others = ("commands", "statuses", "run-directory", "metrics", "environment", "api")
    return [
        "reference/index.md",
        {"Configuration": ["reference/configuration.md", *groups]},
        *(f"reference/{name}.md" for name in others),
        {"Examples": examples},
    ]


def _groups() -> list[str]:
    return of_groups(ConfigFiles([CONF]).groups())
