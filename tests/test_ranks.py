"""Which process this is, and where the processes of one run meet."""

from pathlib import Path

import pytest

from src.cli import with_resume
from src.ranks import process_rank, requeued_directory, shared_arguments
from tests.conftest import Train

SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "2"}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1),
        ({"RANK": "5", "LOCAL_RANK": "1"}, 5),
        (SLURM | {"SLURM_PROCID": "3"}, 3),
        ({"RANK": "x"}, 0),
    ],
)
def test_the_rank_is_that_of_the_launcher(environment: dict[str, str], rank: int) -> None:
    assert process_rank(environment) == rank


def test_tasks_of_a_slurm_step_share_a_directory_and_only_the_first_writes_hydras_record() -> None:
    first, second = (shared_arguments(["seed=1"], SLURM | {"SLURM_PROCID": rank}) for rank in ("0", "1"))
    assert first == ["hydra.run.dir=outputs/train/slurm/77_2"]
    assert second == [*first, "hydra.output_subdir=null", "hydra.job.name=train_rank_1"]
    assert shared_arguments(["hydra.run.dir=here"], SLURM | {"SLURM_PROCID": "1"}) == second[1:]


def test_a_single_process_keeps_its_command() -> None:
    assert shared_arguments(["seed=1"], {}) == []
    assert shared_arguments(["hydra.run.dir=here"], {}) == []
    assert shared_arguments(["seed=1"], {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}) == []


def test_a_requeued_job_goes_on_where_it_was(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny("trainer.max_epochs=1")
    arguments = [f"hydra.run.dir={run}", "trainer.max_epochs=3"]
    assert requeued_directory(arguments, {"SLURM_RESTART_COUNT": "0"}) is None
    assert requeued_directory([f"hydra.run.dir={tmp_path / 'new'}"], {"SLURM_RESTART_COUNT": "1"}) is None
    assert requeued_directory(arguments, {"SLURM_RESTART_COUNT": "1"}) == str(run)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert f"resume='{run}'" in with_resume(arguments)
