"""A sweep whose earlier driver is gone, with jobs on other machines that may be gone too."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strobe.record import alive
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import rejoin
from strobe.sweeps.planning import Planner
from tests.sweeps.pretend import Pretend, well

BATCH = [["sweep.name=s", f"seed={seed}"] for seed in (1, 2)]


class Clock:
    """Stands in for the time that passes while a sweep watches: half of what is silence, whenever it is asked.

    Attributes:
        meanwhile: What the other machine does each time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        self.meanwhile()
        self._now += 2 * alive.BEAT_S
        return self._now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(alive, "time", clock)
    return clock


@pytest.fixture
def interrupted(tmp_path: Path, planner: Planner, clock: Clock) -> Pretend:
    """A grid of which another machine seems to train the first job."""
    pretend = Pretend(tmp_path / "s", planner)
    (job, _) = pretend.grid(BATCH)
    beat(job.directory)
    return pretend


def beat(directory: Path, **fields: object) -> None:
    path = directory / "report.json"
    heartbeat = datetime.now(UTC).isoformat()
    report = json.loads(path.read_text()) | {"status": "running", "host": "elsewhere", "heartbeat": heartbeat, **fields}
    path.write_text(json.dumps(report))


def test_a_job_whose_machine_falls_silent_is_begun_again(
    interrupted: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = interrupted.grid(BATCH)
    assert [job.status for job in jobs] == ["completed", "completed"]
    assert interrupted.trained == ["000_seed=1", "001_seed=2", "000_seed=1"]
    said = capsys.readouterr().out
    assert "1 finished before, 1 being trained by other processes" in said
    assert "on elsewhere: watched, and gone on with if that is gone" in said
    assert "000_seed=1: its machine is silent; it is begun again" in said


def test_a_job_that_another_machine_goes_on_with_is_left_to_it(interrupted: Pretend, clock: Clock) -> None:
    directory = interrupted.directory / "000_seed=1"
    left = iter([True] * 12)
    clock.meanwhile = lambda: beat(
        directory, **({} if next(left, None) else {"status": "completed", "objective": 0.75})
    )
    jobs = interrupted.grid(BATCH)
    assert (jobs[0].status, jobs[0].objective) == ("completed", 0.75)
    assert interrupted.trained == ["000_seed=1", "001_seed=2"]


@pytest.mark.usefixtures("clock")
def test_a_trial_whose_machine_falls_silent_is_begun_again(tmp_path: Path, planner: Planner) -> None:
    def stopped(job: object, count: int) -> dict[str, object]:
        return well(job, count) if count else {"status": "interrupted"}  # type: ignore[arg-type]

    pretend = Pretend(tmp_path / "s", planner, stopped)
    jobs, _ = pretend.search(n_trials=2)
    assert sorted(job.status for job in jobs) == ["completed", "interrupted"]
    beat(next(job.directory for job in jobs if job.status == "interrupted"))
    jobs, troubles = pretend.search(n_trials=2)
    assert ([job.status for job in jobs], troubles) == (["completed", "completed"], [])
    assert len(pretend.trained) == 3


def test_a_job_that_has_ended_since_it_was_planned_is_not_run_again(tmp_path: Path, planner: Planner) -> None:
    pretend = Pretend(tmp_path / "s", planner)
    done, _ = pretend.grid(BATCH)
    engine = pretend.settings().engine
    for plan in ("run", "resume"):  # as it looked while it was in a queue, or had just been stopped
        job = Job(0, done.overrides, [], done.directory, done.hash, plan=plan)  # type: ignore[arg-type]
        rejoin(job, engine, None)
        assert (job.plan, job.status, job.objective) == ("skip", "completed", done.objective)
        job = Job(0, done.overrides, [], done.directory, done.hash, plan=plan)  # type: ignore[arg-type]
        rejoin(job, engine, "all")
        assert job.plan == "run"
    other = Job(0, [], [], done.directory, "another")
    rejoin(other, engine, None)
    assert other.plan == "run"
