"""Whether a run on another machine is alive, whatever the clocks say; who was taken for lost leaves it alone."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from strobe.callbacks import recorder
from strobe.errors import ConfigError, PreemptedError
from strobe.record import alive, fence, files, run_record
from strobe.record.alive import Watch
from strobe.record.lock import require_idle
from strobe.record.report import Report, read_report, settle_report, write_report
from strobe.record.run_record import RunRecord
from tests.conftest import Train, report

MINUTE = 60.0
JOB = {"slurm_cluster": "alps", "slurm_job": "4242", "slurm_restarts": 0}


def written(directory: Path, *, clock: float = 0.0, silent: float = 0.0, **fields: Any) -> None:
    """A report as another machine has written it ``silent`` seconds ago, whose clock is ``clock`` seconds ahead."""
    then = (datetime.now(UTC) + timedelta(seconds=clock - silent)).isoformat()
    base = {"status": "running", "pid": 1, "host": "another", "started": then, "heartbeat": then}
    path = directory / "report.json"
    path.write_text(json.dumps(base | fields))
    os.utime(path, (time.time() - silent, time.time() - silent))


def named(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("clock", [0, 10 * MINUTE, -10 * MINUTE, 50 * MINUTE])
@pytest.mark.parametrize(("silent", "status"), [(0, "running"), (60, "running"), (130, "died"), (900, "died")])
def test_a_run_is_judged_by_its_silence_however_wrong_its_clock_is(
    tmp_path: Path, clock: float, silent: float, status: str
) -> None:
    written(tmp_path, clock=clock, silent=silent)
    assert read_report(tmp_path)["status"] == status
    if status == "running":
        with pytest.raises(ConfigError, match="is being trained by process 1 on another"):
            require_idle(tmp_path)
    else:
        require_idle(tmp_path)
    assert named(tmp_path) == ["report.json"]


@pytest.mark.parametrize("clock", [10 * MINUTE, -10 * MINUTE])
@pytest.mark.parametrize(("silent", "status"), [(60, "running"), (130, "died")])
def test_a_run_is_judged_by_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float, silent: float, status: str
) -> None:
    written(tmp_path, silent=silent)
    right = time.time
    monkeypatch.setattr(alive.time, "time", lambda: right() + clock)  # this machine's is wrong
    assert read_report(tmp_path)["status"] == status


@pytest.mark.parametrize("clock", [-2 * 24 * 60 * MINUTE, 24 * 60 * MINUTE, 2 * 60 * MINUTE])
def test_a_copy_of_a_lost_run_is_not_alive(tmp_path: Path, clock: float) -> None:
    written(tmp_path, clock=clock)  # its file is new
    assert read_report(tmp_path)["status"] == "died"


@pytest.mark.parametrize(("silent", "status"), [(0, "running"), (9 * MINUTE, "running"), (13 * MINUTE, "died")])
def test_where_nothing_can_be_written_clocks_may_differ_by_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: float, status: str
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refused)
    written(tmp_path, silent=silent)
    assert read_report(tmp_path)["status"] == status


def test_a_probe_without_unnamed_files_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    remove = os.unlink

    def unlink(path: str, **options: Any) -> None:
        made.append(Path(path))
        remove(path, **options)

    monkeypatch.setattr(files.tempfile, "_O_TMPFILE_WORKS", False)  # as on NFS
    monkeypatch.setattr(files.tempfile._os, "unlink", unlink)
    written(tmp_path, silent=130)
    assert read_report(tmp_path)["status"] == "died"
    (probe,) = made
    assert probe.parent == tmp_path
    assert probe.match(".*.tmp"), "what is left by a process that is killed has to be swept"
    assert named(tmp_path) == ["report.json"]


@pytest.mark.parametrize(
    "fields",
    [{"status": "completed"}, {"host": socket.gethostname(), "pid": os.getpid(), "started": "2999-01-01"}],
)
def test_only_a_run_on_another_machine_costs_a_look_at_a_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(alive, "_silence_s", lambda path: pytest.fail("the file system was asked"))
    written(tmp_path, **fields)
    read_report(tmp_path)


def test_who_looks_on_is_certain_after_four_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(alive.time, "monotonic", lambda: now)
    absent = Watch(tmp_path / "nothing")
    written(tmp_path, silent=900)  # by the file system's clock it is long gone
    watch = Watch(tmp_path)
    for now in (0.0, 60.0, 119.0):  # noqa: B007
        assert not watch.is_silent()
    written(tmp_path, silent=870)
    for now in (120.0, 239.0):  # noqa: B007
        assert not watch.is_silent()
    now = 241.0
    assert watch.is_silent()
    assert absent.is_silent()


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"SLURM_RESTART_COUNT": "1"}, "died"),
        ({"SLURM_RESTART_COUNT": "3"}, "died"),
        ({}, "running"),  # a second command in the same job
        ({"SLURM_RESTART_COUNT": "1", "SLURM_JOB_ID": "4243"}, "running"),
        ({"SLURM_RESTART_COUNT": "1", "SLURM_CLUSTER_NAME": "jura"}, "running"),
        ({"SLURM_RESTART_COUNT": "x"}, "running"),
    ],
)
def test_a_slurm_job_that_is_queued_again_takes_over_from_its_earlier_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], status: str
) -> None:
    written(tmp_path, environment=JOB)
    for name, value in ({"SLURM_JOB_ID": "4242", "SLURM_CLUSTER_NAME": "alps"} | environment).items():
        monkeypatch.setenv(name, value)
    assert read_report(tmp_path)["status"] == status


@pytest.mark.parametrize("environment", [None, [], {}, {"slurm_job": 4242}, JOB | {"slurm_restarts": None}])
def test_a_run_of_no_slurm_job_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: object
) -> None:
    written(tmp_path, **({} if not isinstance(environment, dict) else {"environment": environment}))
    assert read_report(tmp_path)["status"] == "running"
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert read_report(tmp_path)["status"] == "running"


def test_a_run_says_in_which_slurm_job_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_ID": "4242", "CLUSTER_NAME": "alps", "RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", []).close()
    assert report(tmp_path)["environment"].items() >= (JOB | {"slurm_restarts": 2}).items()


def taken(directory: Path) -> None:
    """Another machine has taken the run over."""
    theirs = report(directory) | {"pid": 7, "host": "another", "started": "2030-01-01T00:00:00.000+00:00"}
    (directory / "report.json").write_text(json.dumps(theirs))


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "taken": (taken, "process 7 on another trains there since 2030-01-01T00:00:00.000.*"),
    "settled": (
        lambda directory: settle_report(directory, "preempted", "its node is gone"),
        r"it was taken for lost, and its report says preempted \(its node is gone\)",
    ),
    "gone": (lambda directory: (directory / "report.json").unlink(), "its report is gone"),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "write",
    [
        lambda record: record.update(objective=1.0),
        lambda record: record.add_epoch({"epoch": 0, "loss": 1.0}),
        lambda record: record.checkpoints,
        lambda record: record.finish("completed"),
    ],
)
def test_a_run_that_was_taken_over_writes_nothing_more(
    tmp_path: Path, loss: str, write: Callable[[RunRecord], object]
) -> None:
    record = RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", [])
    record.update(metrics={"val/loss": 2.0})
    lose, why = LOSSES[loss]
    lose(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(2):  # and doesn't forget it
        with pytest.raises(PreemptedError, match=f"is no longer this process's: {why}; this process ends"):
            write(record)
    record.close()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_report_that_makes_no_sense_is_nobodys_word(tmp_path: Path) -> None:
    record = RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", [])
    for text in ("", "{", "[]", "null"):
        (tmp_path / "report.json").write_text(text)
        record.update(objective=1.0)
        assert report(tmp_path)["objective"] == 1.0
    record.finish("failed")
    record.finish("completed")  # its own word is no other's
    record.close()


def test_a_run_that_the_same_process_begins_again_is_not_ended_by_its_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_slowly(directory: Path, report: Report) -> None:  # a heartbeat is seldom not at it
        time.sleep(0.05)
        write_report(directory, report)

    monkeypatch.setattr("strobe.record.lock._locked", lambda directory: None)  # else there can't be two
    monkeypatch.setattr(run_record, "BEAT_S", 0.001)
    monkeypatch.setattr(run_record, "write_report", write_slowly)
    first = RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", [])
    first.finish("interrupted")  # and not closed
    second = RunRecord.resume(tmp_path, {"seed": 1}, "seed: 1", [])
    second.begin()
    time.sleep(0.2)
    second.update(objective=1.0)
    first.update(objective=2.0)
    assert first.lost is second.lost is None
    assert (report(tmp_path)["objective"], report(tmp_path)["started"]) == (1.0, second.report["started"])
    first.close()
    second.close()


def test_two_that_resume_a_run_at_once_do_not_both_begin(tmp_path: Path) -> None:
    RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", []).close()
    written(tmp_path, silent=900)
    second = RunRecord.resume(tmp_path, {"seed": 1}, "seed: 1", [])
    written(tmp_path, pid=7)  # the other one was faster
    with pytest.raises(ConfigError, match="is being trained by process 7 on another"):
        second.begin()
    second.close()
    assert report(tmp_path)["pid"] == 7


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beat", [0.02, 30.0])
def test_a_run_that_was_taken_over_ends_and_leaves_its_checkpoints_alone(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, beat: float
) -> None:
    """It is told by its heartbeat, in mid-epoch, or by the end of its epoch."""
    directory = tmp_path / "run"
    lose, why = LOSSES[loss]
    left: dict[Path, bytes] = {}
    begun = recorder.EpochRecorder.on_train_epoch_start

    def epoch_start(self: Any, trainer: Trainer, module: Any) -> None:
        begun(self, trainer, module)
        if trainer.current_epoch == 1:
            with self.record._writing:  # another machine's would have another name for its temporary file
                lose(directory)
            left.update({path: path.read_bytes() for path in directory.rglob("*") if path.is_file()})
            if beat < 1:
                time.sleep(0.2)

    monkeypatch.setattr(recorder.EpochRecorder, "on_train_epoch_start", epoch_start)
    monkeypatch.setattr(run_record, "BEAT_S", beat)
    with pytest.raises(PreemptedError, match=f"is no longer this process's: {why}"):
        train_tiny("trainer.max_epochs=3", directory=directory)
    assert directory / "checkpoints" / "last.ckpt" in left
    after = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert after == {path: content for path, content in left.items() if "tfevents" not in path.name}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_that_does_not_look_at_signals_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(fence, "_GRACE_S", 0.01)
    monkeypatch.setattr(fence.os, "_exit", ends.append)
    fence.give_way(PreemptedError("lost"), threading.Event())
    assert ends == [], "without a handler the signal would kill whatever this process is"
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        fence.give_way(PreemptedError("lost"), threading.Event())
        ended = threading.Event()
        ended.set()
        fence.give_way(PreemptedError("lost"), ended)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ends == [143]
