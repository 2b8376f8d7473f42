"""The reference that the site shows: complete, each thing with a meaning."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from _reference.commands import FLAGS_OF_CONFIGS, OF_CONFIGS, parser_of
from _reference.configuration import anchor, page_of
from _reference.links import targets
from _reference.meanings import Meanings, leaves
from _reference.pages import reference
from _reference.record import errors
from _reference.words import FILES, GROUPS, KEYS, METRICS, REPORT, STATUSES, VARIABLES

from strobe.commands.candidates import FLAGS
from strobe.commands.config_files import ConfigFiles
from strobe.commands.names import COMMANDS
from strobe.config.place import CONF
from strobe.config.tasks import _SHIPPED
from strobe.record import layout, shapes
from strobe.record.report import Report
from tests.conftest import ROOT

FILES_OF_CONF = ConfigFiles([CONF])
OPTIONS = [(group, option) for group, options in FILES_OF_CONF.groups().items() for option in options]


@pytest.fixture(scope="module")
def meanings() -> Meanings:
    return Meanings(FILES_OF_CONF)


def test_every_key_of_every_option_has_a_meaning(meanings: Meanings) -> None:
    without = []
    for group, option in [*OPTIONS, ("", "train")]:
        file = FILES_OF_CONF.option(group, option) if group else FILES_OF_CONF.file(option)
        before = "" if file.everywhere or not group else f"{group.replace('/', '.')}."
        for name, entry in leaves(file.keys, before):
            if not meanings.of(name, entry) and name not in KEYS:
                without.append(f"{group}={option}: {name}")
    assert without == [], "write a comment beside it"


def test_every_group_and_option_has_its_place() -> None:
    for group, option in OPTIONS:
        page = reference()[f"reference/{page_of(group)}"]
        assert f"## {group}={option} {{ #{anchor(group, option)} }}" in page
    assert [group for group in FILES_OF_CONF.groups() if group not in GROUPS] == [], "say what it is for"


@pytest.mark.parametrize(
    "key", ["optimizer.lr", "hydra.launcher.slots", "hydra.sweeper.n_trials", "hydra.launcher.qos"]
)
def test_a_key_is_found_with_what_it_means(key: str) -> None:
    rows = [line for page in reference().values() for line in page.splitlines() if line.startswith(f"| `{key}` |")]
    assert rows
    assert [row for row in rows if not row.split("|")[3].strip()] == []


def test_every_command_and_flag_has_a_meaning() -> None:
    page = reference()["reference/commands.md"]
    for command in COMMANDS:
        assert f"## {command} {{ #{command} }}" in page
        if command in OF_CONFIGS:
            assert [flag for flag in FLAGS[command] if flag not in FLAGS_OF_CONFIGS] == []
            continue
        silent = [action.dest for action in parser_of(command)._actions if not action.help]
        assert silent == [], f"{command}: an argument without help"


def test_every_status_exit_code_and_exception_is_told() -> None:
    assert set(STATUSES) == set(shapes.STATUSES) | {"waiting"}
    page = reference()["reference/statuses.md"]
    for kind in errors():
        if kind.__module__ == "strobe.errors":
            assert f"`{kind.__name__}`" in page
            assert f"| `{kind.exit_code}` |" in page or kind.exit_code == 2


def test_every_file_field_and_metric_of_a_run_is_told() -> None:
    assert set(REPORT) == set(Report.__annotations__)
    names = (layout.REPORT, layout.CONFIG, layout.EPOCHS, layout.PACKAGES, layout.CHANGES)
    assert set(names) <= set(FILES)
    assert {f"{layout.CHECKPOINTS}/{layout.BEST}", f"{layout.CHECKPOINTS}/{layout.LAST}"} <= set(FILES)
    assert {metric for task in _SHIPPED.values() for metric in task.metrics or {}} == set(METRICS)


def test_every_variable_that_is_read_is_told() -> None:
    told = [re.compile(name.replace("*", ".*")) for name in VARIABLES]
    read = set()
    for path in (ROOT / "src" / "strobe").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        read |= set(re.findall(r"environ(?:ment)?(?:\.get\(|\.setdefault\(|\[)\"([A-Z][A-Z_]+)\"", text))
        read |= set(re.findall(r"VARIABLE = \"([A-Z_]+)\"", text))
    assert read
    assert [name for name in sorted(read) if not any(pattern.fullmatch(name) for pattern in told)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere_in_the_repository_too(page: Path) -> None:
    source = page.relative_to(ROOT).as_posix()
    for target in targets(page.read_text(encoding="utf-8"), source):
        made = target.removeprefix("docs/") in reference()
        assert made or (ROOT / target).exists(), f"{source}: {target}"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs pip install -e '.[docs]'")
def test_the_site_is_built_without_a_warning_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert (
            re.findall(r"<(?:script|img|iframe)[^>]*src=\"https?:|<link[^>]*rel=\"stylesheet\"[^>]*\"https?:", html)
            == []
        )
    assert not (tmp_path / "site" / "_reference").exists()
