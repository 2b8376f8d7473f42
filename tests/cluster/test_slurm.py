"""Sweeps on a real SLURM of two virtual nodes: what dies, is taken away or is left alone, and what comes of it."""

import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.patient import EPOCHS, patient
from tests.cluster.slurm import NODES, Slurm, slurm_group, until
from tests.conftest import report
from tests.same_runs import differences
from tests.sweeps.started import Sweeps, finish, has_trained, jobs, says

pytestmark = [pytest.mark.slow, slurm_group]


@pytest.fixture
def slurm(slurm_cluster: Slurm) -> Slurm:
    """The cluster, whole and without jobs."""
    slurm_cluster.cancel_all()
    for node in NODES:
        slurm_cluster.restart_node(node)
    return slurm_cluster


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path, tiny_root: Path) -> Sweeps:
    """Start a sweep called `s` on the cluster."""
    return Sweeps(tmp_path, tiny_root, ["hydra/launcher=slurm"], slurm.env)


def of_job(slurm: Slurm, name: str) -> str:
    """Number of the one job that was submitted under a name."""
    (number,) = [number for number, each in slurm.jobs().items() if each == name and not slurm.is_over(number)]
    return number


def starts(directory: Path) -> int:
    """How often a run has begun or gone on."""
    return (directory / "console.log").read_text().count(" parameters, cpu")


def statuses(tmp_path: Path) -> list[str]:
    return [each["status"] for each in jobs(tmp_path).values()]


def test_a_grid_with_a_failing_job_ends_as_it_does_on_one_machine(sweep: Sweeps, slurm: Slurm, tmp_path: Path) -> None:
    # As from within a job of somebody's: its variables are none of our jobs' business.
    inside = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "64", "SLURM_MEM_PER_NODE": "1000000"}
    code, output = finish(sweep("model=misbehaving", "model.how=nothing,raise", **inside))
    assert code == 1
    assert "1 of 2 jobs did not complete" in output
    assert "the net is broken" in output
    found = jobs(tmp_path)
    assert {name: each["status"] for name, each in found.items()} == {
        "000_model.how=nothing": "completed",
        "001_model.how=raise": "failed",
    }
    directory = tmp_path / "outputs/sweeps/s"
    assert "the net is broken" in (directory / "001_model.how=raise/console.log").read_text()
    assert (directory / "summary.csv").exists()
    code, output = finish(sweep("model=misbehaving", "model.how=nothing,raise"))
    assert "2 finished before (1 of them failed" in output
    assert jobs(tmp_path) == found


def test_a_job_whose_node_dies_ends_as_if_nothing_had_happened(sweep: Sweeps, slurm: Slurm, tmp_path: Path) -> None:
    for place in ("whole", "hurt"):
        (tmp_path / place).mkdir()
    arguments = ("seed=1", *patient(tmp_path / "gate"))
    process = sweep(*arguments, cwd=tmp_path / "hurt")
    until(lambda: has_trained(tmp_path / "hurt", 1), "nothing trains")
    job = of_job(slurm, "000")
    node = slurm.field(job, "NodeList")
    slurm.kill_node(node)
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 0, output
    assert slurm.field(job, "Restarts") == "1"
    assert slurm.field(job, "NodeList") != node
    code, output = finish(sweep(*arguments, "hydra/launcher=local", cwd=tmp_path / "whole"))
    assert code == 0, output
    assert starts(tmp_path / "hurt/outputs/sweeps/s/000") == 2
    assert differences(tmp_path / "whole", tmp_path / "hurt") == []


def test_a_job_that_somebody_cancels_has_failed_and_the_others_go_on(
    sweep: Sweeps, slurm: Slurm, tmp_path: Path
) -> None:
    process = sweep("seed=1,2", *patient(tmp_path / "gate"))
    until(lambda: has_trained(tmp_path, 2), "nothing trains")
    job = of_job(slurm, "001_seed=2")
    slurm.call("scancel", job)
    until(lambda: statuses(tmp_path)[1] != "running", "it goes on")
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 1, output
    assert statuses(tmp_path) == ["completed", "failed"]
    assert jobs(tmp_path)["001_seed=2"]["error"]["message"] == f"cancelled (scancel {job})"


def test_a_job_whose_time_is_nearly_up_is_queued_again_and_goes_on(sweep: Sweeps, slurm: Slurm, tmp_path: Path) -> None:
    process = sweep("seed=1", *patient(tmp_path / "gate"))
    until(lambda: has_trained(tmp_path, 1), "nothing trains")
    job = of_job(slurm, "000")
    slurm.call("scancel", "--signal=USR1", job)  # what SLURM sends then
    until(lambda: slurm.field(job, "Restarts") == "1", "it is not queued again")
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 0, output
    assert starts(tmp_path / "outputs/sweeps/s/000") == 2
    assert len((tmp_path / "outputs/sweeps/s/000/metrics.csv").read_text().splitlines()) == 1 + EPOCHS


def test_a_job_trains_on_both_nodes(sweep: Sweeps, tmp_path: Path) -> None:
    world = ("trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2", "hydra.launcher.cpus_per_task=1")
    code, output = finish(sweep("seed=1,2", *world, "hydra.launcher.slots=1"))
    assert code == 0, output
    assert [each["effective"]["world_size"] for each in jobs(tmp_path).values()] == [2, 2]
    assert (tmp_path / "outputs/sweeps/s/000_seed=1/console_rank_1.log").exists()


def test_a_sweep_that_was_left_alone_is_collected_later(sweep: Sweeps, slurm: Slurm, tmp_path: Path) -> None:
    arguments = ("seed=1,2", *patient(tmp_path / "gate"))
    code, output = finish(sweep(*arguments, "hydra.launcher.detach=true", "hydra.launcher.slots=1"))
    assert code == 0, output
    assert "2 of 2 jobs; the same command collects them" in output
    assert len(slurm.jobs()) >= 2
    second = sweep(*arguments)
    says(second, "2 under way")
    (tmp_path / "gate").touch()
    code, output = finish(second)
    assert (code, statuses(tmp_path)) == (0, ["completed"] * 2), output
    assert [starts(path) for path in (tmp_path / "outputs/sweeps/s").glob("[0-9]*")] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra.launcher.partition=nix"], "invalid partition specified: nix"),
        (["hydra.launcher.mem_gb=900"], "Requested node configuration is not available"),
        (["hydra.launcher.nodes=2"], "hydra.launcher.nodes=2: trainer.num_nodes is 1"),
        (["hydra.launcher.slots=0"], "hydra.launcher.slots=0: must be a whole number"),
    ],
)
def test_what_no_node_has_is_refused_before_anything_is_submitted(
    sweep: Sweeps, slurm: Slurm, tmp_path: Path, arguments: list[str], said: str
) -> None:
    before = slurm.jobs()
    code, output = finish(sweep("seed=1,2", *arguments))
    assert code == 2, output
    assert said in output
    assert len(output.splitlines()) == 1
    assert slurm.jobs() == before
    assert not (tmp_path / "outputs").exists()


def test_the_same_runs_without_slurm(sweep: Sweeps, tmp_path: Path) -> None:
    arguments = ("hydra.launcher.cluster=local", "hydra.launcher.slots=2")
    arguments = (*arguments, *patient(tmp_path / "gate"))
    first = sweep("seed=1,2", *arguments, PATH=str(Path(sys.executable).parent))
    until(lambda: has_trained(tmp_path, 2), "nothing trains")
    first.kill()
    first.communicate()
    second = sweep("seed=1,2", *arguments)
    says(second, "2 under way")
    (tmp_path / "gate").touch()
    code, output = finish(second)
    assert (code, statuses(tmp_path)) == (0, ["completed"] * 2), output
    assert [starts(path) for path in (tmp_path / "outputs/sweeps/s").glob("[0-9]*")] == [1, 1]
    (tmp_path / "gate").unlink()
    process = sweep("seed=3", *arguments)
    until(lambda: has_trained(tmp_path, 3), "nothing trains")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert report(tmp_path / "outputs/sweeps/s/000")["status"] == "interrupted"
