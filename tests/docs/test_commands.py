"""Every command that README and docs print is one: it is checked as it stands; those of README and tutorial are run."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from _reference.commands import parser_of

from strobe.commands.names import COMMANDS
from strobe.commands.train import main as train
from strobe.config.compose import composed
from tests.conftest import ROOT, TEST_CONF
from tests.docs import scene
from tests.docs.exceptions import ELSEWHERE, NOT_CHECKED, NOT_EXECUTED, REFUSED, reason
from tests.docs.lines import Line, command_of, commands, filled, is_known, pages, parts

LINES = [line for page in pages() for line in commands(page)]
_IMAGES = re.compile(r"data=(mnist|fashion_mnist|kmnist|cifar10|cifar100)")
_SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=4", "trainer.limit_val_batches=1")
_SECONDS = 900  # for all commands of a page, on a slow and busy machine


def _of_ours(line: Line) -> list[tuple[str, list[str]]]:
    found = [command_of(words) for words in parts(filled(line.text, scene.RUN, scene.FOLDER))]
    return [each for each in found if each is not None]


OURS = [
    pytest.param(line, command, arguments, id=f"{line.page}:{line.number}")
    for line in LINES
    for command, arguments in _of_ours(line)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Path:
    return scene.make(tmp_path_factory.mktemp("scene"), tiny_root)


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("STROBE_STORAGE", f"sqlite:///{made}/study.db")
    return made


def test_pages_print_commands() -> None:
    assert len(OURS) > 40
    assert {"train", "evaluate", "predict", "report"} <= {param.values[1] for param in OURS}


def test_every_line_of_a_block_of_commands_is_of_a_known_kind() -> None:
    assert [str(line) for line in LINES if not is_known(line)] == [], "add its program to tests/docs/lines.py"


def test_every_command_of_ours_is_one() -> None:
    assert [str(param.values[0]) for param in OURS if param.values[1] not in COMMANDS] == []


def test_every_extra_that_a_page_installs_is_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = [
        (line, name)
        for line in LINES
        for names in re.findall(r"\.\[([\w,-]+)\]", line.text)
        for name in names.split(",")
    ]
    assert [f"{line}: {name}" for line, name in asked if line.text.startswith("pip") and name not in extras] == []


@pytest.mark.parametrize(("line", "command", "arguments"), OURS)
def test_a_command_is_right_as_it_is_printed(
    here: Path,
    hydra_here: None,
    line: Line,
    command: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if (why := reason(NOT_CHECKED, line.text)) is not None:
        pytest.skip(str(why))
    if {"--help", "-h", "--version"} & set(arguments):
        return
    if command == "train":
        elsewhere = reason(ELSEWHERE, line.text) or ()
        assert isinstance(elsewhere, tuple)
        monkeypatch.setattr(sys, "argv", ["strobe train", *arguments, *elsewhere, "validate=only"])
        code = train()
        said = capsys.readouterr()
        assert code == (2 if reason(REFUSED, line.text) else 0), f"{line}\n{said.out}{said.err}"
    elif command == "summary":
        composed([word for word in arguments if not word.startswith("-")], None)
    else:
        parser = parser_of(command)
        parse = parser.parse_intermixed_args if command == "evaluate" else parser.parse_args
        try:
            parse(arguments)
        except SystemExit:
            pytest.fail(f"{line}\n{capsys.readouterr().err}")


def _shortened(command: str, arguments: Sequence[str], data_root: Path, longest: int) -> list[str]:
    """The arguments of a command, of `train` with what makes it short; a resumed run has trained ``longest`` epochs."""
    if command == "rm":
        return [*arguments, "--yes"]
    if command != "train" or {"--help", "-h", "--version"} & set(arguments):
        return list(arguments)
    if any(word.startswith("resume=") for word in arguments):
        return list(arguments) if _epochs(arguments) else [*arguments, f"trainer.max_epochs={longest + 1}"]
    kept = [word for word in arguments if not _IMAGES.fullmatch(word)]
    own = any(word.startswith("data=") for word in kept)
    data = [] if own else [f"--config-dir={TEST_CONF}", "data=tiny", f"data.root={data_root}"]
    length = [] if any(word.startswith("debug=") for word in kept) else list(_SHORT)
    trials = ["hydra.sweeper.n_trials=2"] if "sweep=optuna" in kept else []
    trials += ["seed=1"] if "sweep=lr" in kept else []
    return [*data, *kept, *length, *trials]


def _epochs(arguments: Sequence[str]) -> int:
    """How long a command trains, as it says; 0 if it doesn't."""
    asked = [word.partition("=")[2] for word in arguments if word.startswith("trainer.max_epochs=")]
    return int(asked[-1]) if asked and asked[-1].isdigit() else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in pages() if page.name == "README.md" or "tutorial" in page.parts],
    ids=lambda page: page.stem,
)
def test_the_commands_of_a_page_do_what_it_says_one_after_the_other(
    page: Path, tmp_path: Path, tiny_root: Path
) -> None:
    scene.make(tmp_path, tiny_root)
    asked = []
    longest = 1
    for line in commands(page):
        if reason(NOT_EXECUTED, line.text):
            continue
        expected = 2 if reason(REFUSED, line.text) else 0
        for command, arguments in _of_ours(line):
            shown = _shortened(command, arguments, tiny_root, longest)
            longest = max(longest, _epochs(shown))
            asked.append({"line": str(line), "command": command, "arguments": shown, "expected": expected})
    if not asked:
        pytest.skip("it prints none that can be run here")
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.session"],
        input=json.dumps(asked),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = [each for each in map(json.loads, done.stdout.splitlines()) if each["code"] != each["expected"]]
    told = "\n\n".join(
        f"{each['line']}\n{' '.join(each['arguments'])}\nexit {each['code']}\n{each['said']}" for each in wrong
    )
    assert wrong == [], told
