"""What becomes of jobs, wherever they run: lost, cancelled, too long, asked, killed."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from strobe.errors import ConfigError
from strobe.record.lock import RunLock
from strobe.record.report import read_report
from strobe.sweeps import pool as pool_module
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.pool import Pool

CHECKPOINT = "checkpoints/last.ckpt"


class Scripted(Engine):
    """An engine whose jobs do as they are told.

    Args:
        does: What each start of the job does; the last again and again. None: it goes on until it is asked or killed.
        queues: Whether jobs wait in a queue, for ever.
    """

    described = ""
    has_room = True

    def __init__(self, *does: Callable[[Job], End] | None, queues: bool = False) -> None:
        self.does = list(does)
        self.queues = queues
        self.under_way: dict[Job, Callable[[Job], End] | None] = {}
        self.asked: list[int] = []
        self.killed = 0

    def start(self, job: Job, arguments: Any) -> None:
        self.under_way[job] = self.does.pop(0) if len(self.does) > 1 else self.does[0]

    def is_running(self, job: Job) -> bool:
        return not self.queues

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        over = [(job, does(job)) for job, does in self.under_way.items() if does is not None]
        for job, _ in over:
            del self.under_way[job]
        return over

    def ask(self, job: Job, number: int) -> None:
        self.asked.append(number)

    def kill(self, job: Job) -> None:
        self.killed += 1
        self.under_way[job] = lambda job: End("lost", code=-signal.SIGKILL)


def ends(status: str, end: End, *, checkpoint: bool = False, **report: Any) -> Callable[[Job], End]:
    """Leaves a report, and a checkpoint or none, and ends."""

    def does(job: Job) -> End:
        job.directory.mkdir(exist_ok=True)
        written = {"pid": 2**22 + 5, "host": "elsewhere", "heartbeat": "2000-01-01T00:00:00+00:00", **report}
        (job.directory / "report.json").write_text(json.dumps({"status": status, **written}))
        if checkpoint:
            (job.directory / CHECKPOINT).parent.mkdir(exist_ok=True)
            (job.directory / CHECKPOINT).touch()
        return end

    return does


LOST = End("lost", reason="node2 is down")
WELL = ends("completed", End(code=0), objective=0.5)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(0, [], [], tmp_path / "000", "")


def until_over(engine: Engine, job: Job, retries: int = 3) -> list[str]:
    """How the job was begun each time."""
    begun = []
    with Pool(engine, retries=retries) as pool:
        pool.start(job, [])
        while not (over := pool.wait(timeout=0)):
            assert pool.lost.popleft() is job
            begun.append(job.plan)
            pool.start(job, [])
        assert over == [job]
    return begun


def test_a_lost_job_is_resumed_from_its_checkpoint_or_begun_anew(job: Job) -> None:
    with_checkpoint = ends("died", LOST, checkpoint=True)
    begun = until_over(Scripted(lambda job: LOST, ends("died", LOST), with_checkpoint, WELL), job)
    assert begun == ["run", "run", "resume"]
    assert (job.status, job.objective, job.retries, job.error) == ("completed", 0.5, 3, None)


def test_what_a_lost_job_leaves_is_not_taken_for_a_run_that_goes_on(job: Job) -> None:
    heartbeat = "2999-01-01T00:00:00+00:00"
    engine = Scripted(ends("running", LOST, heartbeat=heartbeat, checkpoint=True), WELL)
    with Pool(engine, retries=1) as pool:
        pool.start(job, [])
        assert pool.wait(timeout=0) == []
    report = read_report(job.directory)
    assert (report["status"], report["error"]) == ("preempted", {"type": "Killed", "message": "node2 is down"})


def test_a_job_that_is_killed_by_who_knows_whom_is_begun_again(job: Job) -> None:
    assert until_over(Scripted(ends("died", End(code=-9), checkpoint=True), WELL), job) == ["resume"]
    assert until_over(Scripted(ends("died", End(code=-11), checkpoint=True)), job) == []
    assert (job.status, job.error) == ("failed", "killed by SIGSEGV (begun again 1 time)")


@pytest.mark.parametrize(("retries", "said"), [(0, ""), (1, " (begun again 1 time)"), (2, " (begun again 2 times)")])
def test_a_job_that_is_lost_too_often_has_failed(job: Job, retries: int, said: str) -> None:
    begun = until_over(Scripted(ends("died", LOST, checkpoint=True)), job, retries)
    assert begun == ["resume"] * retries
    assert (job.status, job.error) == ("failed", f"node2 is down{said}")
    assert read_report(job.directory)["status"] == "failed"


def test_a_job_that_was_over_before_its_place_was_lost_is_over(job: Job) -> None:
    assert until_over(Scripted(ends("completed", LOST, objective=0.5)), job) == []
    assert (job.status, job.objective) == ("completed", 0.5)


@pytest.mark.parametrize("status", ["preempted", "died"])
def test_a_job_that_somebody_cancels_has_failed_also_if_it_saved_a_checkpoint(job: Job, status: str) -> None:
    cancelled = End("cancelled", reason="cancelled by scancel 7")
    assert until_over(Scripted(ends(status, cancelled, checkpoint=True)), job) == []
    assert (job.status, job.error) == ("failed", "cancelled by scancel 7")


def test_a_job_in_a_queue_does_not_run_out_of_time(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_GRACE_S", 0.0)
    engine = Scripted(None, queues=True)
    with Pool(engine, job_timeout=1e-9) as pool:
        pool.start(job, [])
        pool.wait(timeout=0)
        assert (job.status, engine.asked) == ("waiting", [])
        engine.queues = False
        pool.wait(timeout=0)
        assert (job.status, engine.asked, engine.killed) == ("running", [signal.SIGTERM], 0)
        pool.wait(timeout=0)
        assert engine.killed == 1
        assert pool.wait(timeout=0) == [job]
    assert (job.status, job.error) == ("failed", "stopped after sweep.job_timeout")


def test_jobs_that_are_killed_as_a_sweep_is_stopped_are_to_be_resumed(job: Job) -> None:
    engine = Scripted(None)
    with Pool(engine, retries=3) as pool:
        pool.start(job, [])
        ends("died", LOST)(job)
        pool.ask(signal.SIGINT)
        assert engine.asked == [signal.SIGINT]
    assert engine.killed == 1
    assert (job.status, read_report(job.directory)["status"]) == ("interrupted", "interrupted")


def test_jobs_of_an_engine_that_detaches_are_left(job: Job) -> None:
    engine = Scripted(None)
    engine.detaches = True
    with Pool(engine) as pool:
        pool.start(job, [])
    assert (engine.killed, job.status) == (0, "running")


@pytest.mark.parametrize(
    ("trainer", "demand"),
    [
        ({"devices": 2, "num_nodes": 3, "accelerator": "gpu"}, Demand(2, 3, True)),
        ({"devices": [0, 2], "num_nodes": 1, "accelerator": "auto"}, Demand(2, 1, True)),
        ({"devices": "auto", "num_nodes": 1, "accelerator": "cpu"}, Demand(1, 1, False)),
        ({"devices": -1}, Demand()),
    ],
)
def test_a_job_takes_what_its_trainer_says(trainer: dict[str, Any], demand: Demand) -> None:
    assert Demand.of(trainer) == Demand.of(OmegaConf.create(trainer)) == demand  # type: ignore[arg-type]


def test_a_job_that_is_queued_again_has_its_time_stopped(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(pool_module.time, "monotonic", lambda: clock[0])
    engine = Scripted(None)
    with Pool(engine, job_timeout=10) as pool:
        pool.start(job, [])
        for now, queues in [(6, True), (60, True), (61, False), (64, False)]:
            clock[0], engine.queues = now, queues
            pool.wait(timeout=0)
            assert (job.status, engine.asked) == ("waiting" if queues else "running", [])
        clock[0] = 66.0
        pool.wait(timeout=0)
        assert engine.asked == [signal.SIGTERM]


def test_a_job_that_a_place_has_missed_to_kill_is_killed_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, kill, missed = Scripted(None), Scripted.kill, [True]
    monkeypatch.setattr(engine, "kill", lambda job: None if missed and missed.pop() else kill(engine, job))
    with Pool(engine) as pool:
        pool.start(job, [])
        ends("died", LOST)(job)
    assert (engine.killed, job.status) == (1, "interrupted")


def test_a_place_that_never_answers_is_given_up(job: Job, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool_module, "_PATIENCE_S", 0.05)
    engine = Scripted(None)
    monkeypatch.setattr(engine, "kill", lambda job: None)
    with Pool(engine) as pool:
        pool.start(job, [])
    assert "Not known to have ended, though they were killed: 000" in caplog.text


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (2, "completed"), (1, "failed"), (-11, "failed")])
def test_a_job_that_found_its_run_completed_leaves_it_so(job: Job, code: int, status: str) -> None:
    assert until_over(Scripted(ends("completed", End(code=code), objective=0.5)), job) == []
    assert (job.status, read_report(job.directory)["status"]) == (status, status)


@pytest.mark.parametrize("is_held", [True, False])
def test_a_job_that_was_refused_its_run_is_another_process_s_if_the_lock_is_held(job: Job, is_held: bool) -> None:
    engine = Scripted(ends("interrupted", End(code=ConfigError.exit_code)))
    job.directory.mkdir()
    lock = RunLock(job.directory)  # of a run that is resumed, and says so only once it trains
    if not is_held:
        lock.release()
    assert until_over(engine, job) == []
    lock.release()
    if is_held:
        assert (job.plan, job.status, job.error) == ("watch", "running", "is being trained by another process")
    else:
        assert (job.plan, job.status) == ("run", "interrupted")
