"""Jobs on this machine, whose processes a server forks and collects."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strobe.sweeps.engines import local
from strobe.sweeps.engines.local import LocalEngine
from strobe.sweeps.job import Job
from strobe.sweeps.slots import Slot


def engine_of(process: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> tuple[LocalEngine, dict[str, Any]]:
    """An engine whose server makes this process, and what it is asked to make it with."""
    asked: dict[str, Any] = {}

    def made(**how: Any) -> SimpleNamespace:
        asked.update(how)
        return process

    def start_server() -> None:
        asked["servers"] = asked.get("servers", 0) + 1

    server = SimpleNamespace(start=start_server, context=SimpleNamespace(Process=made))
    monkeypatch.setattr(local, "WarmServer", lambda module: server)
    start: Any = SimpleNamespace(__module__=__name__)
    return LocalEngine([Slot(1)], start), asked


def process_of(pid: int) -> SimpleNamespace:
    """A process of which nobody has told yet that it is over."""
    return SimpleNamespace(pid=pid, is_alive=lambda: True, start=lambda: None)


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError()], ids=repr)
def test_a_job_whose_server_is_killed_as_it_is_asked_is_made_by_another(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([error])
    process = process_of(0)

    def start() -> None:
        if (answer := next(answers, None)) is not None:
            raise answer

    process.start = start
    engine, asked = engine_of(process, monkeypatch)
    engine.start(Job(0, [], [], tmp_path / "0", "hash"), [])
    assert not engine.has_room
    assert asked["servers"] == 2


def test_a_job_that_has_just_ended_can_be_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(gone.pid, 0)
    # The server has collected it, and not yet told.
    engine, _ = engine_of(process_of(gone.pid), monkeypatch)
    job = Job(0, [], [], tmp_path / "0", "hash")
    engine.start(job, [])
    engine.ask(job, signal.SIGTERM)


def test_a_job_has_the_database_that_its_driver_has_learnt_of_since_the_server_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STROBE_STORAGE", "postgresql://me:pw@db/optuna")
    engine, begun = engine_of(process_of(0), monkeypatch)
    engine.start(Job(0, [], [], tmp_path / "0", "hash"), ["seed=1"])
    arguments, directory, environment, cwd, handed = begun["args"]
    assert (arguments, directory, cwd, handed) == (["seed=1"], str(tmp_path / "0"), str(Path.cwd()), None)
    assert environment["STROBE_STORAGE"] == "postgresql://me:pw@db/optuna"


def test_a_job_that_is_just_being_born_is_asked_once_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_BORN_S", 60)
    deaf = "import os, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('born', flush=True)"
    listens = "time.sleep(0.5); signal.signal(signal.SIGINT, signal.default_int_handler); os.setpgrp(); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{deaf}; {listens}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as born:
        assert born.stdout is not None
        born.stdout.readline()
        engine, _ = engine_of(process_of(born.pid), monkeypatch)
        job = Job(0, [], [], tmp_path / "0", "hash")
        engine.start(job, [])
        engine.ask(job, signal.SIGINT)
        assert born.wait(120) == -signal.SIGINT
