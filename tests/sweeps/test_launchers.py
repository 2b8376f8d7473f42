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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["hydra/launcher=ray", "+hydra.launcher.typo=1"], "hydra.launcher.typo: hydra/launcher=ray has no such key"),
        (["hydra/launcher=slurm", "+hydra.launcher.typo=1"], "hydra.launcher.typo: there is no such setting"),
        (["hydra/launcher=slurm", "hydra.launcher.additional_parameters={array:0-3}"], "array: a sweep gives that"),
        (["hydra.launcher.slots=many"], "hydra.launcher.slots=many: must be a whole number of at least 1, or auto"),
    ],
)
def test_a_wrong_setting_of_a_launcher_is_one_line(
    command: Command, tmp_path: Path, settings: list[str], said: str
) -> None:
    done = command("train", "-m", "seed=1", *settings)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "cwd").iterdir()) == []
