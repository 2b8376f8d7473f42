"""The reference's page of the Python interface: read from the sources, nothing is imported."""

import ast
from collections.abc import Iterator

from strobe.config.place import CONF

_OF_A_TASK = "[step, summarize, batch_size, measure]"
_ERRORS = "[RunError, ConfigError, DatasetError, CheckpointError]"
_SOURCES = CONF.parent / "src" / "strobe"


def api() -> dict[str, str]:
    """The page by its address."""
    return {"reference/api.md": "\n".join(_page())}


def public_names() -> list[str]:
    """What `import strobe` offers, as its ``__all__`` says."""
    tree = ast.parse((_SOURCES / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def _page() -> Iterator[str]:
    yield "# Python\n"
    names = public_names()
    if names:
        yield "All that a command does, from Python or a notebook: `import strobe`.\n"
    for name in names:
        yield f"::: strobe.{name}\n"
    yield f"::: strobe.tasks.Task\n    options:\n      members: {_OF_A_TASK}\n"
    yield "A page on it: [a task of your own](../tasks.md).\n"
    yield f"::: strobe.errors\n    options:\n      members: {_ERRORS}\n"
    yield "All of them: [statuses and exit codes](statuses.md).\n"
