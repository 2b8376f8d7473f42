"""The server of a sweep begins before Hydra is there, where the sweep's jobs will surely be its forks."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from strobe.commands import ahead, sweep
from strobe.config.place import CONF
from strobe.machine import threads
from strobe.sweeps import warm


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What servers were begun with."""
    modules: list[Any] = []

    class Server:
        def __init__(self, module: str) -> None:
            self.module = module

        def start(self) -> None:
            modules.append(self.module)

    monkeypatch.setattr(warm, "WarmServer", Server)
    monkeypatch.setattr(threads, "settle_waiting", lambda busy: modules.append(busy))
    monkeypatch.setattr(ahead, "available_cpus", lambda: 4)
    monkeypatch.setattr(ahead, "visible_gpus", lambda: [])
    return modules


@pytest.mark.parametrize(
    ("line", "busy"),
    [
        ("-m seed=1,2", 3),
        ("seed=1,2 --multirun hydra.launcher.slots=2", 1),
        ("-m hydra.launcher.slots=auto seed=1,2", 3),
        ("sweep=lr model=mlp", 3),
        ("sweep=optuna model.dropout='interval(0,0.5)' hydra.sweeper.n_trials=30", 3),
        ("-m experiment=mnist_cnn seed=1,2", 3),
        ("--multi seed=1,2 --trust my_models", 3),
        ("-m seed=1,2 trainer.devices=2 hydra.launcher.slots=3", 2),
    ],
)
def test_a_sweep_here_begins_with_the_server_of_its_jobs(begun: list[Any], line: str, busy: int) -> None:
    ahead.begin_server(shlex.split(line))
    assert begun == [busy, sweep.run_job.__module__]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "seed=1",
        "sweep=default",
        "seed=1 sweep=lr hydra.run.dir='o/1' hydra.mode=RUN",  # a job of one
        "-m seed=1,2 validate=only",
        "-m --cfg job",
        "-m -c job",
        "-m --info",
        "-m seed=1,2 hydra/launcher=slurm",
        "-m seed=1,2 hydra.launcher._target_=mine.Launcher",
        "-m seed=1,2 --config-dir mine",
        "-m seed=1,2 hydra.searchpath=[mine]",
        "-m seed=1,2 hydra=cluster",
        "-m seed=1,2 trainer.devices=2",
        "-m seed=1,2 trainer=ddp_cpu",
    ],
)
def test_nothing_else_does(begun: list[Any], line: str) -> None:
    ahead.begin_server(shlex.split(line))
    assert begun == []


@pytest.mark.parametrize("file", ["experiment/far.yaml", "train.yaml", "trainer/cluster.yaml", "hydra/default.yaml"])
def test_a_config_that_chooses_another_launcher_is_looked_at(
    begun: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.setattr(ahead, "CONF", tmp_path / "conf")
    ahead.begin_server(["-m", "seed=1,2"])
    assert begun
    begun.clear()
    (tmp_path / "conf" / file).write_text("defaults:\n  - override /hydra/launcher: slurm\n")
    ahead.begin_server(["-m", "seed=1,2"])
    assert begun == []


def test_where_there_are_gpus_each_is_a_slot(begun: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "visible_gpus", lambda: ["0"])
    ahead.begin_server(["-m", "seed=1,2"])
    assert begun == []


@pytest.mark.parametrize("error", [OSError("AF_UNIX path too long"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_a_server_that_cannot_begin_is_left_for_later(
    begun: list[Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(module: str) -> None:
        raise error

    monkeypatch.setattr(warm, "WarmServer", fails)
    ahead.begin_server(["-m", "seed=1,2"])
