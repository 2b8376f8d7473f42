"""SLURM, as its variables and signals make it look: tasks that meet, jobs that resume when they are queued again."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from strobe.commands.resumed import resumed_run
from strobe.distributed import slurm
from strobe.errors import ConfigError
from strobe.run.story import train
from tests.conftest import Train, report
from tests.distributed.test_ddp import columns, finish, start
from tests.sweeps.test_sweeps import until

JOB = {
    "SLURM_JOB_ID": "4242",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
}


@pytest.fixture
def scontrol(tmp_path: Path) -> Path:
    """Where a stand-in for SLURM's command writes what it was asked; it stands in ``bin`` beside this file."""
    path, asked = tmp_path / "bin" / "scontrol", tmp_path / "asked"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    path.chmod(0o755)
    return asked


def tasks(count: int, restarts: int, port: int, tmp_path: Path, *arguments: str) -> list:
    """What srun starts: the same command once per task."""
    job = JOB | {
        "SLURM_NTASKS": str(count),
        "SLURM_NTASKS_PER_NODE": str(count),
        "SLURM_RESTART_COUNT": str(restarts),
        "MASTER_PORT": str(port),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }
    places = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(count)]
    return [start(tmp_path, *arguments, **job, **place) for place in places]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "number"), [(2, signal.SIGUSR1), (1, signal.SIGUSR1), (2, signal.SIGTERM)])
def test_a_job_whose_time_is_up_goes_on_when_it_is_queued_again(
    tmp_path: Path, tiny_arguments: list[str], unused_port: int, scontrol: Path, count: int, number: int
) -> None:
    world = ("trainer=ddp_cpu", "trainer.devices=2") if count == 2 else ("trainer=cpu",)
    arguments = [*tiny_arguments, *world, "trainer.max_epochs=300", "name=queued"]
    first = tasks(count, 0, unused_port, tmp_path, *arguments)
    until(lambda: any((tmp_path / "outputs").rglob("metrics.csv")))
    for task in first:
        task.send_signal(number)
    ends = [finish(task) for task in first]
    assert [code for code, _ in ends] == [143] * count, ends
    (run,) = [path.parent for path in (tmp_path / "outputs").rglob("report.json")]
    assert report(run)["status"] == "preempted"
    assert (scontrol.read_text() == "requeue 4242\n") if number == signal.SIGUSR1 else not scontrol.exists()
    done = len(columns(run))
    assert done < 300

    second = tasks(count, 1, unused_port, tmp_path, *arguments)
    ends = [finish(task) for task in second]
    assert [code for code, _ in ends] == [0] * count, ends
    assert [path.parent for path in (tmp_path / "outputs").rglob("report.json")] == [run]
    assert report(run)["status"] == "completed"
    assert len(columns(run)) == 300


@pytest.mark.slow
def test_a_job_of_one_task_starts_its_ranks_itself(
    tmp_path: Path, tiny_arguments: list[str], unused_port: int, scontrol: Path
) -> None:
    (task,) = tasks(1, 0, unused_port, tmp_path, *tiny_arguments, "trainer=ddp_cpu", "trainer.devices=2")
    code, output = finish(task)
    assert code == 0, output
    (run,) = [path.parent for path in (tmp_path / "outputs").rglob("report.json")]
    assert report(run)["effective"]["world_size"] == 2


@pytest.mark.slow
def test_another_number_of_tasks_than_devices_is_refused(
    tmp_path: Path, tiny_arguments: list[str], unused_port: int, scontrol: Path
) -> None:
    started = tasks(2, 0, unused_port, tmp_path, *tiny_arguments, "trainer=ddp_cpu", "trainer.devices=3")
    for code, output in map(finish, started):
        assert code == 2, output
        assert "--ntasks-per-node=2" in output
        assert "Traceback" not in output


def test_a_requeued_command_finds_its_own_run_among_those_of_its_job(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = JOB | {"SLURM_RESTART_COUNT": "1"}
    first, second = train_tiny("seed=1", "trainer.max_epochs=1"), train_tiny("seed=2", "trainer.max_epochs=1")
    slurm.remember(first, job)
    slurm.remember(second, job)
    assert slurm.requeued_directory(["seed=2", "trainer.max_epochs=1", "hydra.verbose=true"], job) == str(second)
    assert slurm.requeued_directory(["seed=3"], job) is None
    assert slurm.requeued_directory(["seed=2", "trainer.max_epochs=1"], JOB) is None
    assert slurm.requeued_directory(["seed=2", "trainer.max_epochs=1"], job | {"SLURM_JOB_ID": "4243"}) is None
    slurm.forget(second, job)
    assert slurm.requeued_directory(["seed=2", "trainer.max_epochs=1"], job) is None


def test_a_requeued_job_goes_on_in_the_directory_it_was_given(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny("trainer.max_epochs=1")
    arguments = [f"hydra.run.dir={run}", "trainer.max_epochs=3"]
    assert slurm.requeued_directory(arguments, {"SLURM_RESTART_COUNT": "0"}) is None
    assert slurm.requeued_directory([f"hydra.run.dir={tmp_path / 'new'}"], {"SLURM_RESTART_COUNT": "1"}) is None
    assert slurm.requeued_directory(arguments, {"SLURM_RESTART_COUNT": "1"}) == str(run)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    resumed = resumed_run(arguments, [])
    assert resumed is not None
    assert (resumed.cfg.resume, resumed.cfg.trainer.max_epochs) == (str(run), 1)
    assert resumed.arguments.count(f"hydra.run.dir='{run}'") == len(resumed.arguments) - 2


def test_the_directory_that_a_job_was_given_is_read_as_hydra_does(tmp_path: Path) -> None:
    run = tmp_path / "o'brien" / "000_seed=1"
    run.mkdir(parents=True)
    (run / "report.json").touch()
    escaped = str(run).replace("'", r"\'")
    for written in (f"'{escaped}'", f'"{run}"'):
        assert slurm.requeued_directory([f"hydra.run.dir={written}"], {"SLURM_RESTART_COUNT": "1"}) == str(run)


@pytest.mark.parametrize("saved", [True, False])
def test_a_job_whose_node_is_lost_goes_on_at_once_on_another_one(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    """In the directory it was given, where its report was written seconds ago, also before its first checkpoint."""
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    run = train_tiny("trainer.max_epochs=3", directory=tmp_path / "run")
    first = report(run) | {"status": "running", "host": "lost", "pid": 1}
    if not saved:
        first["best"] = None
        shutil.rmtree(run / "checkpoints")
        (run / "metrics.csv").unlink()
    (run / "report.json").write_text(json.dumps(first))
    arguments = [f"hydra.run.dir='{run}'", "trainer.max_epochs=3"]
    with pytest.raises(ConfigError, match="is being trained by process 1 on lost"):
        resumed_run([f"resume={run}"], [])  # typed by someone in the same life
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    resumed = resumed_run(arguments, [])
    assert resumed is not None
    train(resumed.cfg, run, resumed.overrides)
    assert report(run)["status"] == "completed"
    assert report(run)["environment"]["slurm_restarts"] == 1


def test_a_job_queued_again_before_its_first_checkpoint_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = JOB | {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
    first = slurm.step_directory(job)
    assert first == "outputs/train/slurm/4242_0"
    (tmp_path / first).mkdir(parents=True)
    (tmp_path / first / "report.json").write_text("{}")
    second = slurm.step_directory(job | {"SLURM_RESTART_COUNT": "1"})
    assert second == f"{first}_1"
    assert slurm.requeued_directory([], job | {"SLURM_RESTART_COUNT": "1"}) is None
    (tmp_path / second / "checkpoints").mkdir(parents=True)
    (tmp_path / second / "report.json").write_text("{}")
    (tmp_path / second / "checkpoints" / "last.ckpt").touch()
    assert slurm.requeued_directory([], job | {"SLURM_RESTART_COUNT": "2"}) == second


def test_a_place_that_cannot_be_written_to_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("a file where a directory should be")
    slurm.remember(tmp_path / "run", JOB)
    assert "it will begin anew" in caplog.text


def test_nothing_is_noted_where_there_is_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slurm.remember(tmp_path / "run", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["missing", "refusing"])
def test_a_requeue_that_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if how == "refusing":
        (tmp_path / "scontrol").write_text("#!/bin/sh\necho not allowed >&2\nexit 1\n")
        (tmp_path / "scontrol").chmod(0o755)
    slurm.requeue(JOB)
    assert "SLURM did not queue job 4242 again" in caplog.text
    assert ("not allowed" in caplog.text) == (how == "refusing")


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5"])
def test_variables_that_are_no_numbers_are_as_if_not_set(value: str) -> None:
    environment = {"SLURM_NTASKS": value, "SLURM_RESTART_COUNT": value}
    assert slurm.tasks(environment) == 1
    assert slurm.requeued_directory([], environment) is None
