"""The server of a sweep begins before Hydra is there, where the sweep's jobs will surely be its forks."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from strobe.commands import ahead, sweep
from strobe.config.place import CONF


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What servers were begun with."""
    modules: list[Any] = []

    class Server:
        def __init__(self, module: str) -> None:
            self.module = module

        def start(self) -> None:
            modules.append(self.module)

    monkeypatch.setattr(ahead, "WarmServer", Server)
    monkeypatch.setattr(ahead, "settle_waiting", lambda busy: modules.append(busy))
    monkeypatch.setattr(ahead, "available_cpus", lambda: 4)
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
        "-m seed=1,2 experiment=nowhere",
        "-m experiment=mnist_cnn,nowhere",
        "-m seed=1,2 --config-dir mine",
        "-m seed=1,2 hydra.searchpath=[mine]",
        "-m seed=1,2 sweep=../elsewhere",
    ],
)
def test_nothing_else_does(begun: list[Any], line: str) -> None:
    ahead.begin_server(shlex.split(line))
    assert begun == []


def test_a_config_that_chooses_another_launcher_is_looked_at(
    begun: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {"hydra/default.yaml": (CONF / "hydra/default.yaml").read_text()}
    for name, text in {**shipped, "experiment/far.yaml": "defaults:\n  - override /hydra/launcher: slurm\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(ahead, "CONF", tmp_path)
    ahead.begin_server(["-m", "seed=1,2", "experiment=far"])
    assert begun == []
    ahead.begin_server(["-m", "seed=1,2"])
    assert begun
    begun.clear()
    path = tmp_path / "hydra/default.yaml"
    path.write_text(path.read_text().replace("launcher: local", "launcher: ray"))
    ahead.begin_server(["-m", "seed=1,2"])
    assert begun == []
