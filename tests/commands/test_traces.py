"""A refused command leaves no directory and no file, whatever it was refused for and wherever it was to write."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from strobe.commands import traces
from strobe.commands.traces import make_directory, require_writable, take_back
from strobe.errors import ConfigError
from tests.conftest import ROOT, TEST_CONF, Command


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Where `command` runs, with what can be in the way of a directory."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    (folder / "file").touch()
    (folder / "old").mkdir()
    (folder / "old" / "mine").write_text("mine")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def refused(command: Command, cwd: Path, *arguments: str) -> str:
    before = everything(cwd)
    done = command("train", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert everything(cwd) == before
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


PLACES = ["/dev/null/x", "file", "file/x", "dangling", "dangling/x", "/proc/x", "x" * 300, "/".join(["x" * 200] * 30)]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:20])
def test_a_place_that_can_not_be_written_is_refused(cwd: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cwd)
    before = everything(cwd)
    for make in (require_writable, partial(make_directory, log="train.log", new=True)):
        with pytest.raises(ConfigError, match="can't be written to") as caught:
            make(Path(place))
        assert len(str(caught.value)) < 450
    assert everything(cwd) == before


def test_it_is_said_in_one_line(command: Command, cwd: Path) -> None:
    assert refused(command, cwd, "hydra.run.dir=/dev/null/x").startswith("hydra.run.dir='/dev/null/x': can't be")
    assert refused(command, cwd, "-m", "seed=1,2", "hydra.sweep.dir=file").startswith("hydra.sweep.dir=")
    search = ["optimizer.lr=interval(0.1,1)", "hydra/sweeper=optuna"]
    assert refused(command, cwd, "-m", *search, "hydra.sweep.dir=dangling/x").startswith("hydra.sweep.dir=")


def test_a_run_that_another_process_has_is_not_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_made", None)
    make_directory(tmp_path / "run", "train.log", new=True)
    (tmp_path / "run" / "report.json").write_text('{"status": "running", "pid": 1}')
    (tmp_path / "run" / "config.yaml").touch()
    before = everything(tmp_path)
    take_back()
    assert everything(tmp_path) == before
    (tmp_path / "run" / "report.json").write_text(f'{{"status": "failed", "pid": {os.getpid()}}}')
    (tmp_path / "run" / "of mine").touch()
    take_back()
    assert everything(tmp_path) == {"run", "run/of mine"}


def test_what_was_trained_is_not_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_made", None)
    make_directory(tmp_path / "run", "train.log", new=True)
    (tmp_path / "run" / "train.log").touch()
    (tmp_path / "run" / "checkpoints").mkdir()
    take_back()
    assert everything(tmp_path) == {"run", "run/train.log", "run/checkpoints"}


@pytest.mark.parametrize("place", ["new/a/b", "old"])
def test_what_takes_torch_to_refuse_leaves_nothing_either(command: Command, cwd: Path, place: str) -> None:
    line = refused(command, cwd, "model=mlp", "model.hidden=512", f"hydra.run.dir={place}")
    assert line == "model.hidden=512: MLP takes a list of whole numbers"


def test_what_is_found_wrong_when_the_run_is_built_leaves_nothing_either(
    command: Command, cwd: Path, tiny_root: Path
) -> None:
    tiny = [f"--config-dir={TEST_CONF}", "data=tiny", f"data.root={tiny_root}", "trainer=cpu"]
    line = refused(command, cwd, *tiny, "data.val_size=640", "hydra.run.dir=new/run")
    assert line.startswith("data.val_size=640")


def test_a_refused_sweep_leaves_nothing(command: Command, cwd: Path) -> None:
    assert refused(command, cwd, "-m", "seed=-1", "tags=[a],[b]").startswith("seed=-1")
    search = ["optimizer.lr=interval(0.1,1)", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=0"]
    assert refused(command, cwd, "-m", *search).startswith("hydra.sweeper.n_trials=0")


def test_a_search_that_is_refused_at_its_first_trial_leaves_nothing(command: Command, cwd: Path) -> None:
    before = everything(cwd)
    done = command("train", "-m", "optimizer.lr=interval(0.1,1)", "hydra/sweeper=optuna", "seed=-1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert everything(cwd) == before


@pytest.mark.parametrize(
    "arguments", [["--cfg", "job"], ["--help"], ["validate=only"], ["-m", "seed=1", "validate=only"]]
)
def test_a_command_that_only_looks_leaves_nothing(command: Command, cwd: Path, arguments: list[str]) -> None:
    before = everything(cwd)
    assert command("train", *arguments).returncode == 0
    assert everything(cwd) == before


def test_a_run_that_lies_there_is_not_touched_by_a_second_one(command: Command, cwd: Path) -> None:
    (cwd / "old" / "report.json").write_text('{"status": "completed", "pid": 1}')
    assert "already holds a run" in refused(command, cwd, "hydra.run.dir=old", "model=mlp")
    assert "already holds a run" in refused(command, cwd, "hydra.run.dir=old", "model=mlp", "model.hidden=512")


def test_a_resumed_run_that_is_refused_keeps_every_file(command: Command, cwd: Path) -> None:
    done = command("train", "trainer.fast_dev_run=true", "nope=1")
    assert done.returncode == 2
    (cwd / "old" / "report.json").write_text('{"status": "completed"}')
    (cwd / "old" / "config.yaml").write_text("seed: 1\n")
    before = everything(cwd)
    assert command("train", "resume=old").returncode == 2
    assert everything(cwd) == before


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for entry in ("train", "evaluate", "report"):
        gone.mkdir()
        script = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from src.{entry} import main; main()"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "the working directory is not there any more: change to one that is, with cd\n"
