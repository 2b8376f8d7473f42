"""The SLURM engine before a stand-in for the cluster: what it asks, and what it makes of the answers."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from strobe.errors import ConfigError
from strobe.record.token import sweep_token
from strobe.sweeps.engine import End
from strobe.sweeps.engines.slurm import here, task
from strobe.sweeps.engines.slurm.engine import SlurmEngine
from strobe.sweeps.engines.slurm.here import SubmittedHere
from strobe.sweeps.engines.slurm.queue import Entry, SlurmQueue
from strobe.sweeps.engines.slurm.resources import Resources
from strobe.sweeps.engines.slurm.settings import slurm_engine
from strobe.sweeps.engines.slurm.submission import Submission
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.remote import NOT_SHARED, Order
from strobe.sweeps.slots import Slot
from tests.sweeps.started import until

ONE = Demand()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put stand-ins for SLURM's commands on the PATH; each writes down how it was called, then does as it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def commands(**scripts: str) -> Path:
        for name in ("sbatch", "srun", "squeue", "scancel", "sinfo", *scripts):
            path = folder / name
            path.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{scripts.get(name, "true")}\n')
            path.chmod(0o755)
        return calls

    return commands


@pytest.fixture
def job(tmp_path: Path) -> Job:
    directory = tmp_path / "sweep" / "003_seed=4"
    directory.mkdir(parents=True)
    return Job(3, ["seed=4"], ["seed=4"], directory, "hash")


def queue_line(state: str, status: int = 0, reason: str = "None", comment: str = "") -> str:
    return f"echo '12|{state}|{status}|{reason}|node1|{comment}|'"


def engine(job: Job, **resources: object) -> SlurmEngine:
    return SlurmEngine(job.directory.parent, Resources.of(resources))


def ended(cluster: Callable[..., Path], job: Job, squeue: str, asked: int | None = None) -> End | None:
    """Submit a job; how it has ended by what the queue says then."""
    cluster(sbatch="echo Submitted batch job 12", squeue=squeue)
    place = engine(job)
    place.start(job, ["seed=4"])
    if asked is not None:
        place.ask(job, asked)
    over = dict(place.wait(0.01))
    return over.get(job)


@pytest.mark.parametrize(
    ("state", "status", "how", "code"),
    [
        ("COMPLETED", 0, "exited", 0),
        ("FAILED", 1 << 8, "exited", 1),
        ("FAILED", 139 << 8, "exited", -signal.SIGSEGV),
        ("FAILED", 137 << 8, "exited", -signal.SIGKILL),
        ("FAILED", 143 << 8, "lost", None),
        ("OUT_OF_MEMORY", 125 << 8, "exited", 125),
        ("CANCELLED", 15, "cancelled", None),
        ("NODE_FAIL", 0, "lost", None),
        ("PREEMPTED", 0, "lost", None),
        ("TIMEOUT", 0, "lost", None),
    ],
)
def test_each_state_of_the_cluster_s_means_one_end(
    cluster: Callable[..., Path], job: Job, state: str, status: int, how: str, code: int | None
) -> None:
    end = ended(cluster, job, f"echo began > {job.directory / 'console.log'}; {queue_line(state, status)}")
    assert end is not None
    assert (end.how, end.code) == (how, code)
    assert end.reason is None or "12" in end.reason


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"])
def test_a_job_that_is_queued_again_is_still_under_way(cluster: Callable[..., Path], job: Job, state: str) -> None:
    assert ended(cluster, job, queue_line(state)) is None


@pytest.mark.parametrize(
    ("reason", "in_vain"),
    [("PartitionTimeLimit", True), ("BadConstraints", True), ("Priority", False), ("Resources", False)],
)
def test_why_a_job_waits_in_vain_is_said_once(
    cluster: Callable[..., Path], job: Job, caplog: pytest.LogCaptureFixture, reason: str, in_vain: bool
) -> None:
    cluster(sbatch="echo Submitted batch job 12", squeue=queue_line("PENDING", reason=reason))
    place = engine(job)
    place.start(job, ["seed=4"])
    for _ in range(3):
        assert place.wait(2.0) == []
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"SLURM job 12 and its like wait, because of {reason}"] * in_vain


def test_a_cluster_that_does_not_answer_ends_no_job(cluster: Callable[..., Path], job: Job) -> None:
    silent = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    assert ended(cluster, job, silent) is None


def test_a_job_that_the_cluster_has_forgotten_ended_as_its_run_says(cluster: Callable[..., Path], job: Job) -> None:
    forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    lost = ended(cluster, job, forgotten)
    assert lost is not None
    assert (lost.how, lost.reason) == ("lost", "SLURM does not know job 12 any more")
    (job.directory / "report.json").write_text('{"status": "completed"}')
    assert ended(cluster, job, forgotten) == End()


def test_a_job_that_was_asked_to_end_is_nobody_else_s(cluster: Callable[..., Path], job: Job) -> None:
    assert ended(cluster, job, queue_line("CANCELLED", 15), signal.SIGINT) == End(code=143)
    calls = cluster().read_text()
    assert "scancel --quiet --state=PENDING 12" in calls
    assert "scancel --quiet --signal=INT 12" in calls


def test_a_job_that_never_began_says_why(cluster: Callable[..., Path], job: Job) -> None:
    log = job.directory.parent / ".slurm" / job.directory.name / "12_0_log.err"
    said = "node1 does not see /sweep (No such file or directory)"
    prints = f"echo '{said}' > {log}; echo 'srun: error: node1: task 0: Exited' >> {log};"
    assert ended(cluster, job, prints + queue_line("FAILED", NOT_SHARED << 8)) == End(code=NOT_SHARED, reason=said)
    end = ended(cluster, job, queue_line("FAILED", 53))
    assert end is not None
    assert end.reason is not None
    assert end.reason.startswith("SLURM job 12 on node1 ended with code -53: it printed nothing: does its machine see ")


def test_what_sbatch_refuses_is_a_failed_job_and_what_it_can_t_take_now_is_tried_again(
    cluster: Callable[..., Path], job: Job
) -> None:
    cluster(sbatch="echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    place = engine(job)
    place.start(job, [])
    ((_, end),) = place.wait(0.01)
    assert "Invalid account" in (end.reason or "")
    cluster(sbatch="echo Thank you")
    place.start(job, [])
    ((_, end),) = place.wait(2)
    assert 'SLURM did not take it: Could not make sense of sbatch output "Thank you"' in (end.reason or "")
    cluster(sbatch="echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2; exit 1")
    place.start(job, [])
    assert not place.has_room
    assert place.wait(0.01) == []
    place.ask(job, signal.SIGTERM)
    assert place.wait(2) == [(job, End(code=143))]


POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (["error: QOSMaxWallDurationPerJobLimit", f"error: Batch job submission failed: {POLICY}"], POLICY),
        (["error: QOSMaxSubmitJobPerUserLimit", f"error: Batch job submission failed: {POLICY}"], None),
        (["error: AssocMaxSubmitJobLimit", f"error: Batch job submission failed: {POLICY}"], None),
        (["Welcome to the cluster", "error: invalid partition specified: x", "see our pages"], "invalid partition"),
        (["allocation failure: Requested node configuration is not available"], "Requested node configuration"),
        (["allocation failure: Requested nodes are busy"], None),
        (["error: Batch job submission failed: Unable to contact slurm controller (connect failure)"], None),
        (["error: Batch job submission failed: Socket timed out on send/recv operation"], None),
        (["error: Batch job submission failed: Resource temporarily unavailable"], None),
    ],
)
def test_only_what_the_cluster_would_never_take_is_refused_with_its_reason(
    cluster: Callable[..., Path], job: Job, said: list[str], refusal: str | None
) -> None:
    prints = "; ".join(f'echo "sbatch: {line}" >&2' for line in said)
    cluster(sbatch=f"{prints}; exit 1")
    problem = engine(job).problem(ONE)
    assert (problem is None) == (refusal is None)
    assert refusal is None or (refusal in (problem or "") and "sbatch: " not in (problem or ""))


def test_a_job_of_an_earlier_driver_is_found_and_given_what_that_left_undone(
    cluster: Callable[..., Path], job: Job
) -> None:
    token = sweep_token(job.directory.parent)
    cluster(squeue=queue_line("RUNNING", comment=f"strobe {token} {job.directory.name}"))
    folder = job.directory.parent / ".slurm" / job.directory.name
    folder.mkdir(parents=True)
    (folder / "0123.pkl").touch()  # that driver died before it renamed this
    (folder / "asked_to_stop").touch()
    with engine(job) as place:
        cluster(squeue="exit 1")  # of what was there when the context was entered, nobody asks again
        assert place.find(job)
        assert (folder / "12_submitted.pkl").exists()
        assert place.is_running(job)
        other = Job(4, [], [], job.directory.with_name("004_seed=5"), "other")
        assert not place.find(other)
        cluster(squeue=queue_line("CANCELLED"))
        assert place.wait(0.01) == [(job, End(code=143))]  # the earlier driver has asked it
        place.ask(job, signal.SIGTERM)  # of a job that is gone, nothing
        place.kill(job)


def test_a_job_asks_for_what_its_trainer_takes(cluster: Callable[..., Path], job: Job) -> None:
    calls = cluster(sbatch="cat $1 >> $0.script; echo Submitted batch job 12")
    place = engine(job, cpus_per_task=3, mem_gb=1.5, partition="main", additional_parameters={"exclude": "node7"})
    job.demand = Demand(devices=2, nodes=2)
    assert place.problem(job.demand) is None
    place.start(job, [])
    script = (calls.parent / "bin/sbatch.script").read_text()
    wanted = ["nodes=2", "ntasks-per-node=2", "cpus-per-task=3", "mem=1536M", "partition=main", "exclude=node7"]
    wanted += ["signal=USR1@90", "requeue", "open-mode=append", "job-name=003_seed=4"]
    assert "wckey" not in script
    for flag in wanted:
        assert f"#SBATCH --{flag}" in script.replace("'", "").splitlines()
    assert "--cpus-per-task=3" in script.split("# command")[1]
    assert "--test-only --nodes=2 --ntasks-per-node=2" in calls.read_text()


def test_a_job_that_the_cluster_took_without_our_hearing_of_it_is_not_submitted_twice(
    cluster: Callable[..., Path], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strobe.sweeps.engines.slurm.engine._AGAIN_S", 0.0)
    calls = cluster(sbatch="echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1")
    token = sweep_token(job.directory.parent)
    with engine(job) as place:
        place.start(job, [])
        assert place.undelivered
        assert place.wait(0.01) == []  # it is tried again, in vain
        cluster(squeue="exit 1")
        assert place.wait(2) == []
        cluster(squeue=queue_line("RUNNING", comment=f"strobe {token} {job.directory.name}"))
        assert place.wait(2) == []
        assert place.is_running(job)
        assert not place.undelivered
        assert len(list((job.directory.parent / ".slurm").rglob("12_submitted.pkl"))) == 1
    assert calls.read_text().count("sbatch") == 2


@pytest.mark.parametrize("answers", [True, False])
def test_leaving_ends_what_is_still_there_and_raises_nothing(
    cluster: Callable[..., Path], job: Job, answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cluster(sbatch="echo Submitted batch job 12")
    with engine(job) as place:
        place.start(job, [])
        calls = cluster(**({} if answers else {"squeue": "exit 1", "scancel": "exit 1"}))
    assert "scancel --quiet 12" in calls.read_text()
    assert ("squeue --me lists them" in caplog.text) != answers


@pytest.mark.parametrize("detach", [False, True])
def test_leaving_this_machine_ends_its_jobs_unless_they_are_to_be_left(job: Job, detach: bool) -> None:
    place = SubmittedHere(job.directory.parent, [Slot(threads=1)], Resources(), detach)
    with subprocess.Popen(["sh", "-c", "sleep 60; true"], start_new_session=True) as keeper:
        with place:
            process = psutil.Process(keeper.pid)
            until(lambda: bool(process.children()))
            place._jobs[job] = here._UnderWay(Submission(job), process, None)
            (child,) = process.children()
        if detach:
            assert child.is_running()
            place.kill(job)
        assert keeper.wait(120) == 0
    assert Submission(job).was_asked
    assert place.wait(1) == [(job, End())]
    place.ask(job, signal.SIGTERM)  # of a job that is gone, nothing
    place.kill(job)


def test_leaving_jobs_behind_waits_for_those_that_the_cluster_has_not_yet(
    cluster: Callable[..., Path], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strobe.sweeps.engines.slurm.engine._AGAIN_S", 0.0)
    other = Job(4, [], [], job.directory.with_name("004_seed=5"), "other")
    calls = cluster(sbatch="echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2; exit 1")
    with SlurmEngine(job.directory.parent, Resources(), detach=True) as place:
        place.start(job, [])
        assert place.undelivered
        assert not place.has_room
        cluster(sbatch="echo Submitted batch job 12", squeue="echo '12|PENDING|0|None|||'")
        assert place.wait(2) == []
        assert (place.undelivered, place.has_room) == (False, True)
        cluster(sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1", squeue="echo '12|PENDING|0|None|||'")
        place.start(other, [])
        assert place.undelivered
        ((gone, end),) = place.wait(2)
        assert (gone, end.reason) == (other, "SLURM did not take it: Invalid account")
        assert not place.undelivered
    assert "scancel" not in calls.read_text()


@pytest.mark.parametrize(
    ("resources", "demand", "key"),
    [
        ({"tasks_per_node": 2}, ONE, "tasks_per_node=2: trainer.devices is 1"),
        ({"nodes": 1}, Demand(nodes=2), "nodes=1: trainer.num_nodes is 2"),
        ({"gpus_per_node": 4}, Demand(devices=2, gpu=True), "gpus_per_node=4: trainer.devices is 2"),
        ({"gpus_per_node": 1}, ONE, "gpus_per_node=1: trainer.accelerator uses no GPU"),
    ],
)
def test_what_contradicts_the_trainer_is_refused(
    job: Job, resources: dict[str, object], demand: Demand, key: str
) -> None:
    problem = engine(job, **resources).problem(demand)
    assert problem is not None
    assert problem.startswith(f"hydra.launcher.{key}")


def test_gpus_are_asked_for_where_there_are_some(cluster: Callable[..., Path], job: Job) -> None:
    calls = cluster(sinfo="echo gpu:a100:8")
    place = engine(job)
    place.problem(ONE)
    assert "--gpus-per-node" not in calls.read_text()
    place.problem(Demand(devices=4, gpu=True))
    assert "--gpus-per-node=4" in calls.read_text()
    calls.write_text("")
    cluster(sinfo="echo '(null)'")
    engine(job).problem(Demand(devices=4, gpu=True))
    assert "--gpus-per-node" not in calls.read_text()


@pytest.mark.parametrize(
    "settings",
    [
        {"cluster": "cloud"},
        {"slots": 0},
        {"detach": "maybe"},
        {"cpus_per_task": 0},
        {"mem_gb": "much"},
        {"setup": "module load cuda"},
        {"setup": [1]},
        {"srun_args": [2]},
        {"additional_parameters": ["exclude"]},
        {"gpu": 1},
    ],
)
def test_a_setting_that_can_t_be_is_named(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{next(iter(settings))}"):
        slurm_engine(tmp_path, {}, **settings)


@pytest.mark.parametrize("cluster_name", ["slurm", "local"])
def test_a_directory_whose_name_slurm_would_fill_in_is_refused(
    cluster: Callable[..., Path], tmp_path: Path, cluster_name: str
) -> None:
    cluster()
    place = slurm_engine(tmp_path / "50%jobs", {"accelerator": "cpu", "devices": 1}, cluster=cluster_name)
    with pytest.raises(ConfigError, match=r"50%jobs' has a % in its path, .*choose another sweep\.name"), place:
        pass


def test_keys_lie_where_others_can_t_read_them_and_only_as_long_as_they_are_needed(
    cluster: Callable[..., Path], job: Job
) -> None:
    cluster(sbatch="echo Submitted batch job 12", squeue=queue_line("RUNNING"))
    folder = job.directory.parent / ".slurm"
    folder.mkdir()
    with engine(job) as place:
        place.start(job, ["logger.api_key=secret"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.rglob("*.pkl"))
        assert place.wait(0.01) == []
        cluster(squeue=f"echo began > {job.directory / 'console.log'}; {queue_line('COMPLETED')}")
        assert place.wait(2) == [(job, End(code=0))]
        assert list(folder.iterdir()) == []
        cluster(sbatch="echo Submitted batch job 13", squeue="echo '13|FAILED|256|None|node1||'")
        place.start(job, ["logger.api_key=secret"])
        assert place.wait(2)
    assert not list(folder.rglob("*.pkl"))
    assert list(folder.rglob("13_submission.sh"))


def test_without_slurm_there_is_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no sbatch, .* on this machine; hydra\.launcher\.cluster=local"):
        SlurmQueue().require()


def test_a_cluster_that_is_down_is_said_in_a_line(cluster: Callable[..., Path]) -> None:
    cluster(sinfo="echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ConfigError, match=r"SLURM does not answer \(slurm_load_partitions: Unable"):
        SlurmQueue().require()


def test_what_a_driver_has_of_a_job_that_it_is_in_does_not_reach_its_own(
    cluster: Callable[..., Path], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "8")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    calls = cluster(sbatch="env | grep ^SLURM_ >> $0.env; echo Submitted batch job 12")
    engine(job).start(job, [])
    assert (calls.parent / "bin/sbatch.env").read_text() == "SLURM_CONF=/etc/slurm.conf\n"
    assert os.environ["SLURM_JOB_ID"] == "8"


@pytest.mark.parametrize("missing", ["token", "directory", "cwd"])
def test_a_machine_that_does_not_see_the_sweep_says_so_before_torch(tmp_path: Path, job: Job, missing: str) -> None:
    sweep_dir = job.directory.parent
    order = Order.of(job, [], sweep_dir, sweep_token(sweep_dir))
    fields = {"token": {"token": "another"}, "directory": {"directory": "/none"}, "cwd": {"cwd": "/none"}}[missing]
    code = (
        "import sys\n"
        "from strobe.sweeps.remote import Order, become_command\n"
        f"order = Order(**{ {**vars(order), **fields}!r})\n"
        "assert 'torch' not in sys.modules\n"
        "become_command(order)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == NOT_SHARED, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "has to be shared" in done.stderr


def test_an_entry_that_slurm_prints_oddly_is_no_end() -> None:
    assert Entry("12", "SPECIAL_EXIT", None, "", "", "").end is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"additional_parameters": {"array": "0-3"}}, "additional_parameters: array: a sweep gives that itself"),
        ({"additional_parameters": {"job_name": "x", "exclude": "n1"}}, "additional_parameters: job-name: a sweep"),
        ({"timeout_min": 1}, "signal_delay_s=90: must be less than the 60 seconds of timeout_min"),
        ({"timeout_min": 2, "signal_delay_s": 120}, "signal_delay_s=120: must be less than the 120 seconds"),
    ],
)
def test_what_a_sweep_needs_of_slurm_is_not_to_be_changed(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        Resources.of(settings)


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({}, 0),
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "8"}, 3),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"}, 4),
        ({"SLURM_CPUS_ON_NODE": "1", "SLURM_STEP_TASKS_PER_NODE": "2"}, 0),
    ],
)
def test_a_task_has_the_threads_that_slurm_gives_it(environment: dict[str, str], cores: int) -> None:
    assert task._cores(environment) == cores
