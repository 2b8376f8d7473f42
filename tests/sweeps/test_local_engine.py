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


def test_a_job_that_has_just_ended_can_be_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(gone.pid, 0)
    # The server has collected it, and not yet told.
    process = SimpleNamespace(pid=gone.pid, is_alive=lambda: True, start=lambda: None)
    server = SimpleNamespace(start=lambda: None, context=SimpleNamespace(Process=lambda **how: process))
    monkeypatch.setattr(local, "WarmServer", lambda module: server)
    start: Any = SimpleNamespace(__module__=__name__)
    engine = LocalEngine([Slot(1)], start)
    job = Job(0, [], [], tmp_path / "0", "hash")
    engine.start(job, [])
    engine.ask(job, signal.SIGTERM)
