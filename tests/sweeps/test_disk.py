"""A sweep's driver outlives its jobs' disks, and never touches a run that is another's."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strobe.machine.disk import disk_error
from strobe.record.report import read_report
from strobe.sweeps import worker
from strobe.sweeps.display import Display
from strobe.sweeps.drive import drive
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.engines.local import LocalEngine
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import existing_runs
from strobe.sweeps.pool import Pool
from strobe.sweeps.slots import Slot
from strobe.sweeps.summarize import SweepFailedError, summarize

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raises(*arguments: Any, **options: Any) -> Any:
    raise FULL


def job(directory: Path, **fields: Any) -> Job:
    return Job(0, [], [], directory, hash="", **fields)


class Ending(Engine):
    """An engine whose jobs end at once, as they are told."""

    described = ""
    has_room = True

    def __init__(self, end: End) -> None:
        self.end = end
        self.started: list[Job] = []

    def start(self, job: Job, arguments: Any) -> None:
        self.started.append(job)

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        return [(self.started.pop(0), self.end) for _ in self.started[:1]]

    def ask(self, job: Job, number: int) -> None:
        raise AssertionError("its jobs have ended")

    kill = ask  # type: ignore[assignment]


def ended(directory: Path, code: int = 1) -> Job:
    """A job whose process has ended."""
    with Pool(Ending(End(code=code))) as pool:
        pool.start(job(directory), [])
        (over,) = pool.wait(timeout=0)
    return over


def leave(directory: Path, **report: Any) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "report.json").write_text(json.dumps(report))


def test_a_job_whose_end_can_not_be_written_down_has_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strobe.record.report.write_atomically", raises)
    over = ended(tmp_path / "000")
    assert over.status == "failed"
    assert over.error is not None
    assert over.error.startswith(
        "the process exited with code 1 before the run had ended; "
        f"can't write {tmp_path / '000' / 'report.json'}: No space left on device ("
    )


def test_a_run_that_another_process_trains_is_not_written_down_as_failed(tmp_path: Path) -> None:
    """The job's own process is gone, refused perhaps; the report is that of the one that trains."""
    report = {"status": "running", "pid": os.getpid(), "host": socket.gethostname(), "started": "2999-01-01"}
    leave(tmp_path / "000", **report)
    over = ended(tmp_path / "000", code=2)
    assert over.status == "running"
    assert over.error == f"is being trained by process {os.getpid()} on {socket.gethostname()}"
    assert json.loads((tmp_path / "000" / "report.json").read_text()) == report


def test_a_run_whose_own_process_is_gone_has_failed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    leave(tmp_path / "000", status="running", pid=process.pid, host=socket.gethostname())
    over = ended(tmp_path / "000", code=-9)
    assert (over.status, read_report(tmp_path / "000")["status"]) == ("failed", "failed")


@pytest.mark.parametrize("text", ["", "[]", '{"status": 5}', '{"status": "completed", "objective": "x"}', "\x00" * 100])
def test_a_job_whose_report_is_damaged_has_failed(tmp_path: Path, text: str) -> None:
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "report.json").write_text(text)
    over = ended(tmp_path / "000", code=0)
    assert (over.status, read_report(tmp_path / "000")["status"]) == ("failed", "failed")


def test_a_slot_whose_process_could_not_begin_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine([Slot(1)], drive)  # type: ignore[arg-type]
    context = SimpleNamespace(Process=lambda **_: SimpleNamespace(start=raises), get_start_method=lambda: "spawn")
    monkeypatch.setattr(engine._server, "context", context)
    with Pool(engine) as pool:
        with pytest.raises(OSError, match="No space"):
            pool.start(job(tmp_path), [])
        assert pool.has_room
        assert pool.running == []


def test_output_that_can_not_be_written_ends_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=raises, flush=raises, isatty=lambda: False))
    with Display(1, mode="max") as display:
        display.say("hello")
        display.started(job(tmp_path / "000"))
        display.ended(job(tmp_path / "000", status="completed", objective=0.5))


def test_a_fault_of_the_driver_lets_its_jobs_save_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Busy(Ending):
        def wait(self, timeout: float) -> list[tuple[Job, End]]:
            return super().wait(timeout) if asked else []

        def ask(self, job: Job, number: int) -> None:
            asked.append(number)

    def jobs() -> Any:
        yield job(tmp_path / "000")
        raise LookupError("of our own")

    settings: Any = SimpleNamespace(
        engine=Busy(End(code=0)), job_timeout=None, retries=0, rerun=None, on_failure="continue", meanwhile=lambda: None
    )
    planner: Any = SimpleNamespace(hydra_overrides=[])
    todo = jobs()
    with pytest.raises(LookupError), Display(1, mode="max") as display:
        drive(lambda: next(todo), planner, settings, display, lambda job: None)
    assert asked == [15]


def test_a_summary_that_can_not_be_written_fails_the_sweep_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = SimpleNamespace(directory=tmp_path, mode="max")
    done = job(tmp_path / "000", status="completed", objective=0.5)
    with caplog.at_level(logging.INFO), pytest.raises(SweepFailedError) as raised:
        summarize([done], settings, raises, ["the journal is full"])
    journal, summary = str(raised.value).splitlines()
    assert journal == "the journal is full"
    assert summary.startswith(f"no summary: can't write {tmp_path / 'summary.csv'}: No space left on device (")
    assert "best run" in caplog.text
    never = job(tmp_path / "001\x1b", status="failed", error="can't write it")
    with pytest.raises(SweepFailedError, match=r"failed: .*/001\\x1b \(can't write it\)"):
        summarize([done, never], settings, lambda directory: "")


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2), (errno.EROFS, 2)]
)
def test_a_full_disk_is_no_mistake_of_the_command(tmp_path: Path, number: int, code: int) -> None:
    assert disk_error(OSError(number, os.strerror(number)), tmp_path).exit_code == code


def test_an_odd_report_is_passed_over_by_a_sweep_with_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path / "000", status="completed", config_hash="a")
    leave(tmp_path / "001", status="completed", config_hash="b", pid=1e30)
    leave(tmp_path / "002", status="completed")
    (tmp_path / "003").mkdir()
    os.mkfifo(tmp_path / "003" / "report.json")
    assert list(existing_runs(tmp_path)) == ["a"]
    assert caplog.text.count("Passed over: ") == 2


def test_who_leaves_a_sweep_alone_waits_until_all_of_it_has_arrived(tmp_path: Path) -> None:
    class Late(Ending):
        detaches, waited = True, 0

        @property
        def undelivered(self) -> bool:
            return self.waited < 3

        def wait(self, timeout: float) -> list[tuple[Job, End]]:
            self.waited += 1
            return []

    engine = Late(End())
    settings: Any = SimpleNamespace(
        engine=engine, job_timeout=None, retries=0, rerun=None, on_failure="continue", meanwhile=lambda: None
    )
    planner: Any = SimpleNamespace(hydra_overrides=[])
    todo = iter([job(tmp_path / "000"), job(tmp_path / "001")])
    with Display(2, mode="max") as display:
        drive(lambda: next(todo, None), planner, settings, display, lambda job: None)
    assert (engine.waited, len(engine.started)) == (3, 2)


def test_who_leaves_a_sweep_alone_leaves_what_others_train_to_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Ending):
        detaches = True

    settings: Any = SimpleNamespace(
        directory=tmp_path,
        mode="max",
        engine=Away(End()),
        job_timeout=None,
        retries=0,
        rerun=None,
        on_failure="continue",
        meanwhile=lambda: None,
    )
    planner: Any = SimpleNamespace(hydra_overrides=[])
    done = job(tmp_path / "000", status="completed", objective=0.5)
    watched = job(tmp_path / "001", plan="watch", status="running", error="is being trained by another process")
    todo = iter([watched])
    with Display(2, mode="max") as display:
        drive(lambda: next(todo, None), planner, settings, display, lambda job: None)
    assert "001 is being trained by another process: left to that" in capsys.readouterr().out
    with caplog.at_level(logging.INFO):
        summarize([done, watched], settings, lambda directory: "")
    assert "under way    1 of 2 jobs; the same command collects them" in caplog.text


def test_a_job_whose_driver_was_killed_as_it_was_forked_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(worker.multiprocessing, "parent_process", lambda: SimpleNamespace(is_alive=lambda: False))
    monkeypatch.setattr(os, "setpgrp", lambda: None)
    monkeypatch.setattr(os, "_exit", ends)
    with pytest.raises(SystemExit, match="1"):
        worker.become_job(tmp_path, {}, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
