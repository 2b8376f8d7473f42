"""Launchers that are not ours stay usable."""

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import Command, report


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_sweep_runs_with_another_launcher(
    command: Command, tiny_arguments: list[str], tmp_path: Path, launcher: str
) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher") is None:
        pytest.skip(f"hydra-{launcher.partition('_')[0]}-launcher is an extra")
    done = command("train", "-m", *tiny_arguments, f"hydra/launcher={launcher}", "seed=1,2", "sweep.name=s")
    assert done.returncode == 0, done.stderr
    found = sorted((tmp_path / "cwd" / "outputs" / "sweeps" / "s").glob("[0-9]/report.json"))
    assert [report(path.parent)["status"] for path in found] == ["completed", "completed"]


@pytest.mark.parametrize("choice", ["hydra/launcher=slurm", "hydra.launcher.slots=2"])
def test_a_launcher_of_a_single_run_is_refused(command: Command, tmp_path: Path, choice: str) -> None:
    done = command("train", choice)
    assert done.returncode == 2
    assert done.stderr == f"{choice}: says where the jobs of a sweep run, and this is a single run: add -m\n"
    assert list((tmp_path / "cwd").iterdir()) == []
