"""What a sweep gives, it gives at every engine: on this machine, on a SLURM cluster, on a Ray cluster."""

import csv
import os
import signal
from pathlib import Path

import pytest

from tests.cluster.patient import EPOCHS, patient
from tests.cluster.ray_cluster import RayCluster, ray_cluster, ray_group, ray_is_here
from tests.cluster.slurm import NODES, Slurm, slurm_group
from tests.same_runs import differences
from tests.sweeps.started import LONG, Sweeps, finish, has_trained, is_alive, jobs, says, until

__all__ = ["ray_cluster"]
pytestmark = pytest.mark.slow

TWO = ("hydra.launcher.slots=2",)


@pytest.fixture(
    params=["local", pytest.param("slurm", marks=slurm_group), pytest.param("ray", marks=[ray_is_here, ray_group])]
)
def sweep(request: pytest.FixtureRequest, tmp_path: Path, tiny_root: Path) -> Sweeps:
    """Two jobs at once at an engine."""
    match request.param:
        case "slurm":
            slurm: Slurm = request.getfixturevalue("slurm_cluster")
            slurm.cancel_all()
            for node in NODES:
                slurm.restart_node(node)
            return Sweeps(tmp_path, tiny_root, ["hydra/launcher=slurm", *TWO], slurm.env)
        case "ray":
            cluster: RayCluster = request.getfixturevalue("ray_cluster")
            cluster.restore("node1", "node2")
            return Sweeps(tmp_path, tiny_root, ["hydra/launcher=ray", *TWO], cluster.env)
    return Sweeps(tmp_path, tiny_root, TWO)


def survives_its_driver(sweep: Sweeps) -> bool:
    """Whether jobs go on when the driver is killed: they are the cluster's then."""
    return "hydra/launcher=slurm" in sweep.arguments


def pids(tmp_path: Path) -> list[int]:
    return [each["pid"] for each in jobs(tmp_path).values()]


def test_a_failing_job_fails_alone_and_the_same_command_repeats_nothing(sweep: Sweeps, tmp_path: Path) -> None:
    arguments = ("model=misbehaving", "model.how=nothing,raise,os_exit,segfault")
    code, output = finish(sweep(*arguments))
    first = jobs(tmp_path)
    assert {name: each["status"] for name, each in first.items()} == {
        "000_model.how=nothing": "completed",
        "001_model.how=raise": "failed",
        "002_model.how=os_exit": "failed",
        "003_model.how=segfault": "failed",
    }, output
    assert code == 1
    assert "3 of 4 jobs did not complete" in output
    assert "Traceback" not in output
    assert "SIGSEGV" in first["003_model.how=segfault"]["error"]["message"]
    assert "the net is broken" in (sweep.directory / "001_model.how=raise" / "train.log").read_text()
    assert "Segmentation fault" in (sweep.directory / "003_model.how=segfault" / "console.log").read_text()
    assert (sweep.directory / "report.html").exists()
    with (sweep.directory / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    code, output = finish(sweep(*arguments))
    assert (code, jobs(tmp_path)) == (1, first)
    assert "4 finished before (3 of them failed" in output
    finish(sweep(*arguments, "sweep.rerun=failed"))
    second = jobs(tmp_path)
    assert second.pop("000_model.how=nothing") == first.pop("000_model.how=nothing")
    assert all(second[name]["started"] != first[name]["started"] for name in first)


def test_ctrl_c_saves_what_runs_and_the_same_command_goes_on(sweep: Sweeps, tmp_path: Path) -> None:
    arguments = ("seed=1,2,3", *patient(tmp_path / "gate"))
    process = sweep(*arguments)
    until(lambda: has_trained(tmp_path, 2))
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert [each["status"] for each in jobs(tmp_path).values()][:2] == ["interrupted", "interrupted"]
    (tmp_path / "gate").touch()
    code, output = finish(sweep(*arguments))
    assert "1 to run, 2 to continue" in output
    assert code == 0, output
    assert [each["status"] for each in jobs(tmp_path).values()] == ["completed"] * 3
    with (sweep.directory / "000_seed=1" / "metrics.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(EPOCHS))


def test_ctrl_c_again_ends_all_at_once_and_the_same_command_goes_on(sweep: Sweeps, tmp_path: Path) -> None:
    process = sweep("seed=1,2", *LONG, "trainer.max_epochs=100000")
    until(lambda: has_trained(tmp_path, 2))
    stopped = pids(tmp_path)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)  # so that they can't end by themselves
    process.send_signal(signal.SIGINT)
    says(process, "Ctrl-C again")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    until(lambda: not any(map(is_alive, stopped)))
    assert [each["status"] for each in jobs(tmp_path).values()] == ["interrupted", "interrupted"]
    process = sweep("seed=1,2", *LONG, "trainer.max_epochs=100000")
    until(lambda: set(pids(tmp_path)).isdisjoint(stopped))
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 143, output
    assert "2 to continue" in output


def test_a_driver_is_killed_and_the_same_command_repeats_and_loses_nothing(sweep: Sweeps, tmp_path: Path) -> None:
    arguments = ("seed=1,2,3", *patient(tmp_path / "gate"))
    process = sweep(*arguments)
    until(lambda: has_trained(tmp_path, 2))
    before = jobs(tmp_path)
    process.kill()
    process.communicate()
    if not survives_its_driver(sweep):
        until(lambda: not any(is_alive(each["pid"]) for each in before.values()))
    process = sweep(*arguments)
    says(process, "2 under way" if survives_its_driver(sweep) else "2 to continue")
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 0, output
    after = jobs(tmp_path)
    assert [each["status"] for each in after.values()] == ["completed"] * 3
    goes_on = [after[name]["pid"] == each["pid"] for name, each in before.items()]
    assert goes_on == [survives_its_driver(sweep)] * 2
    assert not (sweep.directory / ".replaced").exists()
    for name in after:
        with (sweep.directory / name / "metrics.csv").open() as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(EPOCHS))


def test_a_job_that_is_killed_ends_equal_to_one_undisturbed(sweep: Sweeps, tmp_path: Path, tiny_root: Path) -> None:
    arguments = ("seed=1", "data.augment=true", *patient(tmp_path / "gate"))
    process = sweep(*arguments)
    until(lambda: has_trained(tmp_path, 1))
    (pid,) = pids(tmp_path)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid))
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 0, output
    assert "resumed from its checkpoint (1/3)" in output
    undisturbed = Sweeps(tmp_path / "undisturbed", tiny_root, TWO)
    undisturbed.cwd.mkdir()
    assert finish(undisturbed(*arguments))[0] == 0
    assert differences(sweep.directory, undisturbed.directory) == []


def test_a_job_that_takes_too_long_is_stopped(sweep: Sweeps, tmp_path: Path) -> None:
    code, _ = finish(sweep("seed=1", "sweep.job_timeout=4", *LONG, "trainer.max_epochs=100000"))
    assert code == 1
    (found,) = jobs(tmp_path).values()
    assert (found["status"], found["error"]["message"]) == ("failed", "stopped after sweep.job_timeout")


def test_a_search_prunes_and_has_all_its_trials(sweep: Sweeps, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    space = ("sweep=optuna", "optimizer=sgd", "optimizer.lr=tag(log,interval(1e-6,1e-1))", "hydra.launcher.slots=4")
    code, output = finish(sweep(*space, "hydra.sweeper.n_trials=12", multirun=False, epochs=4))
    assert code == 0, output
    found = jobs(tmp_path)
    assert [name[:3] for name in found] == [f"{number:03d}" for number in range(12)]
    assert {each["status"] for each in found.values()} == {"completed", "pruned"}
    if "hydra/launcher=slurm" in sweep.arguments:
        slurm: Slurm = request.getfixturevalue("slurm_cluster")
        numbers = [number for number, name in slurm.jobs().items() if name in found]
        assert {slurm.field(number, "NodeList") for number in numbers} == set(NODES)
    code, output = finish(sweep(*space, "hydra.sweeper.n_trials=12", multirun=False, epochs=4))
    assert (code, jobs(tmp_path)) == (0, found)
    assert "12 finished before" in output


def test_what_is_wrong_is_said_before_anything_starts(sweep: Sweeps, tmp_path: Path) -> None:
    code, output = finish(sweep("optimizer.lr=0.1,-1"))
    assert code == 2
    assert "optimizer.lr=-1" in output
    assert not sweep.directory.exists()
