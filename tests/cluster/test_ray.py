"""Sweeps on a real Ray cluster of two nodes: what dies, comes and goes, and what becomes of the jobs."""

import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.cluster.patient import patient
from tests.cluster.ray_cluster import RayCluster, ray_cluster, ray_group, ray_is_here
from tests.same_runs import differences
from tests.sweeps.started import Sweeps, finish, has_trained, is_alive, jobs, until

__all__ = ["ray_cluster"]
pytestmark = [pytest.mark.slow, ray_is_here, ray_group]

SLEEPER = """
import os
import time
from strobe.models.simple_nn import SimpleNN

class Sleeper(SimpleNN):
    def forward(self, images):
        if self.training:
            time.sleep(float(os.environ.get("NAP", 0)))
        return super().forward(images)
"""


@pytest.fixture
def cluster(ray_cluster: RayCluster) -> RayCluster:
    """The cluster, with its two nodes."""
    ray_cluster.restore("node1", "node2")
    return ray_cluster


@pytest.fixture
def sweep(cluster: RayCluster, tmp_path: Path, tiny_root: Path) -> Sweeps:
    """Start a sweep called `s` on the cluster."""
    return Sweeps(tmp_path, tiny_root, ["hydra/launcher=ray"], cluster.env)


def is_over(pids: list[int]) -> bool:
    return not any(is_alive(pid) for pid in pids)


def pids(tmp_path: Path) -> list[int]:
    return [each["pid"] for each in jobs(tmp_path).values()]


def test_a_job_that_ends_badly_ends_alone(sweep: Sweeps, tmp_path: Path) -> None:
    expected = {"nothing": "completed", "raise": "failed", "os_exit": "failed", "kill": "failed", "term": "preempted"}
    arguments = ("model=misbehaving", f"model.how={','.join(expected)}", "sweep.retries=1")
    code, output = finish(sweep(*arguments))
    first = jobs(tmp_path)
    assert {name.partition("=")[2]: each["status"] for name, each in first.items()} == expected
    assert code == 1
    assert "2 at a time on 2 nodes of Ray, 1 thread(s) each" in output
    assert "4 of 5 jobs did not complete" in output
    assert "killed by SIGKILL (by the system, if memory ran out) (begun again 1 time)" in output
    assert not (tmp_path / "outputs/sweeps/s/.ray").exists()
    code, output = finish(sweep(*arguments, "model.how=nothing,raise"))
    assert "2 finished before" in output
    assert {name: jobs(tmp_path)[name] for name in first} == first


def test_a_job_goes_on_elsewhere_when_its_node_dies_and_ends_the_same(
    cluster: RayCluster, sweep: Sweeps, tmp_path: Path
) -> None:
    arguments = ("seed=1,2", *patient(tmp_path / "gate"))
    process = sweep(*arguments)
    until(lambda: has_trained(tmp_path, 2))
    cluster.kill("node2")
    (tmp_path / "gate").touch()
    code, output = finish(process)
    assert code == 0, output
    assert "Ray lost it: Task failed because the node it was running on is dead" in output
    assert "it is resumed from its checkpoint (1/3)" in output
    other = tmp_path / "undisturbed"
    other.mkdir()
    finish(sweep(*arguments, "hydra/launcher=local", cwd=other))
    assert differences(tmp_path / "outputs", other / "outputs") == []


def test_a_job_that_may_not_be_begun_again_has_failed_with_its_node(
    cluster: RayCluster, sweep: Sweeps, tmp_path: Path
) -> None:
    process = sweep("seed=1,2", *patient(tmp_path / "gate"), "sweep.retries=0")
    until(lambda: has_trained(tmp_path, 2))
    cluster.kill("node1")
    (tmp_path / "gate").touch()
    code, _ = finish(process)
    assert code == 1
    found = jobs(tmp_path)
    assert sorted(each["status"] for each in found.values()) == ["completed", "failed"]
    (error,) = [each["error"] for each in found.values() if each["status"] == "failed"]
    assert error["message"].startswith("Ray lost it: Task failed because the node it was running on is dead")


def test_ctrl_c_twice_ends_at_once_what_would_not_stop(sweep: Sweeps, tmp_path: Path, tiny_root: Path) -> None:
    (tmp_path / "own.py").write_text(SLEEPER)  # found because the command finds it, in its working directory
    arguments = ("model._target_=own.Sleeper", "data.root=${oc.env:MY_DATA}", "seed=1,2,3")
    process = sweep(*arguments, MY_DATA=str(tiny_root), NAP="600")
    until(lambda: len(pids(tmp_path)) == 2)
    working = pids(tmp_path)
    process.send_signal(signal.SIGINT)
    until(lambda: any(tmp_path.glob("outputs/sweeps/s/.ray/*.signal")))
    assert not is_over(working)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    until(lambda: is_over(working))
    assert [each["status"] for each in jobs(tmp_path).values()] == ["interrupted"] * 2


def test_a_node_that_joins_gets_jobs(cluster: RayCluster, sweep: Sweeps, tmp_path: Path) -> None:
    cluster.kill("node2")
    process = sweep("seed=1,2,3", *patient(tmp_path / "gate"), "trainer.max_epochs=1000")
    until(lambda: has_trained(tmp_path, 1))
    assert len(pids(tmp_path)) == 1
    cluster.add("node2")
    until(lambda: sum(is_alive(pid) for pid in pids(tmp_path)) == 2)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 143, output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["hydra.launcher.num_cpus=3"],
            "no node of the Ray cluster has the 3 CPU that each job takes, the most is 1 CPU",
        ),
        (["hydra.launcher.resources={disk: 1}"], "no node of the Ray cluster has the 1 CPU, 1 disk"),
        (["trainer.num_nodes=2"], "a Ray job is on one node: trainer.num_nodes=2 needs hydra/launcher=slurm"),
    ],
)
def test_what_no_node_can_do_is_refused_before_anything_starts(
    sweep: Sweeps, tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, output = finish(sweep("seed=1,2", *arguments))
    assert code == 2
    assert said in output
    assert len(output.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_a_cluster_that_is_lost_ends_the_sweep_which_another_continues(
    tmp_path: Path, sweep: Sweeps, cluster: RayCluster
) -> None:
    (tmp_path / "own.py").write_text(SLEEPER)
    arguments = ("model._target_=own.Sleeper", "seed=1,2", "trainer.max_epochs=40")
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    # By itself Ray waits for a minute, in case that the cluster's head is started again.
    mortal = RayCluster(directory, "node1", "node2", RAY_gcs_rpc_server_reconnect_timeout_s="5")
    try:
        process = sweep(*arguments, **mortal.env, NAP="0.3")
        until(lambda: has_trained(tmp_path, 2))
        working = pids(tmp_path)
        mortal.kill_head()
        code, output = finish(process)
        assert code == 1, output
        assert "the Ray cluster is gone (Failed to connect to GCS within 5 seconds" in output
        assert "the same command with the same sweep.name continues the sweep" in output
        until(lambda: is_over(working))
    finally:
        mortal.close()
        shutil.rmtree(directory, ignore_errors=True)
    code, output = finish(sweep(*arguments))
    assert "2 to continue" in output
    assert code == 0, output
