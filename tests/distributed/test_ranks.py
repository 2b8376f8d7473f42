"""Which process this is, and where the processes of one run meet."""

import pytest

from strobe.distributed.rendezvous import shared_arguments
from strobe.machine.rank import process_rank

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
