"""One process at a time trains in a run directory."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strobe.errors import ConfigError
from strobe.record import lock, run_record
from strobe.record.lock import RunLock, is_held, require_idle
from strobe.record.report import read_report
from strobe.record.run_record import RunRecord
from tests.conftest import ROOT, Train, report
from tests.sweeps.started import until

_HOLD = """
import os, sys, time
from pathlib import Path
from strobe.record.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
if len(sys.argv) == 2 or os.fork() == 0:  # the forked process says it: it has let go of its copy by then
    print("held", flush=True)
time.sleep(300)
"""


def holding(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLD, str(directory), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def written(directory: Path, **fields: Any) -> None:
    now = datetime.now(UTC).isoformat()
    base = {"status": "running", "pid": os.getpid(), "host": socket.gethostname(), "started": now, "heartbeat": now}
    found = {key: value for key, value in (base | fields).items() if value is not None}
    (directory / "report.json").write_text(json.dumps(found))


@pytest.mark.parametrize("forked", [[], ["forked"]])
def test_a_directory_is_held_until_its_process_ends_however_it_ends(tmp_path: Path, forked: list[str]) -> None:
    with holding(tmp_path, *forked) as process:
        written(tmp_path, pid=process.pid)
        with pytest.raises(ConfigError, match=rf"is being trained by process {process.pid} on .*: wait until"):
            require_idle(tmp_path)
        process.kill()  # a process that it forked lives on
        process.wait()
        RunLock(tmp_path).release()
        assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
        if forked:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_copy_of_a_run_that_is_being_trained_is_free(tmp_path: Path) -> None:
    written(tmp_path)  # the process in it, this one, is alive
    assert read_report(tmp_path)["status"] == "running"
    require_idle(tmp_path)


@pytest.mark.parametrize("heartbeat", [None, "", "yesterday", "9999-99-99"])
def test_a_run_on_another_machine_that_never_said_it_was_alive_is_not(tmp_path: Path, heartbeat: str | None) -> None:
    written(tmp_path, host="another", pid=1, heartbeat=heartbeat)
    assert read_report(tmp_path)["status"] == "died"
    require_idle(tmp_path)


@pytest.mark.parametrize("number", ["EBADF", "ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL", "EIO", "ESTALE", "EPERM"])
def test_where_there_are_no_locks_the_report_keeps_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    def refused(file: int, operation: int) -> None:
        raise OSError(getattr(errno, number), "no locks here")

    monkeypatch.setattr(lock.fcntl, "flock", refused)
    require_idle(tmp_path)
    written(tmp_path)
    with pytest.raises(ConfigError, match=rf"is being trained by process {os.getpid()} on {socket.gethostname()}"):
        require_idle(tmp_path)
    written(tmp_path, status="completed")
    require_idle(tmp_path)


@pytest.mark.parametrize("number", ["EAGAIN", "EACCES"])
def test_a_lock_that_is_held_elsewhere_is_one_however_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    def held(file: int, operation: int) -> None:
        raise OSError(getattr(errno, number), "held")

    monkeypatch.setattr(lock.fcntl, "flock", held)
    with pytest.raises(ConfigError, match="is being trained by another process"):
        require_idle(tmp_path)


@pytest.mark.parametrize("error", [errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_whether_a_directory_is_held_is_known_or_not_and_nothing_is_left_locked(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_held(tmp_path / "nowhere") is False
    held = RunLock(tmp_path)
    assert is_held(tmp_path) is True
    held.release()
    assert is_held(tmp_path) is False
    RunLock(tmp_path).release()

    def fails(*arguments: Any) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", fails)
    assert is_held(tmp_path) is None


def test_a_run_says_that_it_is_alive_while_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_record, "BEAT_S", 0.05)
    record = RunRecord.start(tmp_path / "run", {"seed": 1}, "seed: 1", [])
    beats: set[str] = set()
    until(lambda: beats.add(report(tmp_path / "run")["heartbeat"]) or len(beats) > 2)
    record.finish("completed")
    record.close()
    last = report(tmp_path / "run")
    time.sleep(0.15)
    assert report(tmp_path / "run") == last


def test_a_run_that_could_not_begin_holds_its_directory_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(run_record, "write_atomically", full)
        with pytest.raises(ConfigError, match="No space left"):
            RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", [])
    RunRecord.start(tmp_path, {"seed": 1}, "seed: 1", []).close()


def test_a_run_is_not_resumed_by_two_at_once(train_tiny: Train, tmp_path: Path) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    before = (directory / "report.json").read_bytes()
    with holding(directory) as process:
        with pytest.raises(ConfigError, match="is being trained by another process: wait until it has ended"):
            train_tiny("trainer.max_epochs=2", f"resume={directory}", directory=directory)
        process.kill()
    assert (directory / "report.json").read_bytes() == before
    train_tiny("trainer.max_epochs=2", f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
