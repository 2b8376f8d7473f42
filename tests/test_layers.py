"""The house: every folder is a layer, imports run down only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "strobe"

# From the ground up. A layer imports those below it; the members of one layer don't know each other.
LAYERS = [
    ["errors"],
    ["machine"],
    ["record"],
    ["data", "models"],
    ["tasks"],
    ["callbacks", "distributed", "config"],
    ["run", "report"],
    ["sweeps", "benchmark"],
    ["commands"],
    ["api"],
    ["cli"],
    ["__main__", "__init__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
MAY_IMPORT_LATE = ("commands/", "api/", "cli.py", "report/write.py")  # what has to answer without torch


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports, each with whether it does so within a function."""
    tree = ast.parse(path.read_text())
    late = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        yield from ((module, id(node) in late) for module in modules)


def imports_of_ours(path: Path) -> set[str]:
    """Those of the modules that are written here."""
    return {module for module, _ in imports(path) if module.split(".")[0] in ("strobe", "src", "hydra_plugins")}


def room(path: Path) -> str:
    """The folder, or file, directly in the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def file_of(module: str) -> Path | None:
    """Where a module is written; None for a name within one."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def test_every_room_has_its_floor() -> None:
    rooms = {room(path) for path in FILES}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down_only(path: Path) -> None:
    for module in imports_of_ours(path):
        assert module.split(".")[0] == "strobe", f"{module} is not of the package"
        if len(parts := module.split(".")) > 1:
            inside = parts[1] == room(path)
            assert inside or FLOOR[parts[1]] < FLOOR[room(path)], f"{path.relative_to(PACKAGE)} imports {module}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    below = {path: {other for module in imports_of_ours(path) if (other := file_of(module))} - {path} for path in FILES}
    while ready := [path for path, others in below.items() if not others]:
        for path in ready:
            del below[path]
        for others in below.values():
            others.difference_update(ready)
    assert not below, "a circle among " + ", ".join(sorted(str(path.relative_to(PACKAGE)) for path in below))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_commands_import_within_functions(path: Path) -> None:
    if not str(path.relative_to(PACKAGE)).startswith(MAY_IMPORT_LATE):
        assert [module for module, late in imports(path) if late] == []


@pytest.mark.parametrize("path", sorted((ROOT / "src").glob("*.py")), ids=lambda path: path.name)
def test_a_module_of_the_checkout_only_calls_its_command(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 10
    command = f"strobe.commands.{path.stem}"
    end = "strobe.machine.leaving"
    assert imports_of_ours(path) == {command, f"{command}.main", end, f"{end}.leave"}
