"""Threads wait as the user has said, else so that a busy neighbour does not stop them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from strobe.machine import threads
from strobe.machine.threads import SPINS, Neighbours, settle_waiting, waiting


@pytest.fixture(autouse=True)
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "torch")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # also what the code sets is undone
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("busy_cores", "said"), [(1.0, f"GOMP_SPINCOUNT={SPINS}"), (0.1, None), (0.0, None)])
def test_threads_go_to_sleep_soon_where_others_need_the_cores(busy_cores: float, said: str | None) -> None:
    settle_waiting(busy_cores)
    assert waiting() == said


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "infinite"), ("OMP_WAIT_POLICY", "active")])
def test_what_the_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    settle_waiting(1.0)
    assert waiting() == f"{name}={value}"


def test_nothing_is_claimed_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    settle_waiting(1.0)
    assert waiting() is None


class Core(NamedTuple):
    """What one core has done, in seconds."""

    user: float = 0.0
    idle: float = 0.0
    guest: float = 0.0  # a part of user


@pytest.mark.parametrize(
    ("allowed", "passed_s", "own_s", "cores"),
    [
        ([0, 1], 2.0, 0.5, 1.25),  # 3 seconds' work in 2 seconds, less what is this process's
        ([0], 2.0, 1.0, 0.0),  # its own work alone
        ([1], 2.0, 0.0, 1.0),
        ([0, 1], 0.05, 0.0, 0.0),  # too soon to tell
        ([2], 2.0, 0.0, 0.0),  # a core that the system says nothing of
    ],
)
def test_neighbours_are_what_else_works_on_the_cores_of_this_process(
    allowed: list[int], passed_s: float, own_s: float, cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([(0.0, 0.0, [Core(), Core()]), (passed_s, own_s, [Core(1.0, 1.0, 1.0), Core(2.0)])])
    now = next(looks)
    monkeypatch.setattr(threads.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(threads.time, "process_time", lambda: now[1])
    monkeypatch.setattr(threads.psutil, "cpu_times", lambda percpu: now[2])
    monkeypatch.setattr(threads.psutil.Process, "cpu_affinity", lambda process: allowed)
    neighbours = Neighbours()
    now = next(looks)
    assert neighbours.cores() == cores


def test_a_process_may_be_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(threads.time, "monotonic", lambda: now)
    monkeypatch.setattr(threads.time, "process_time", lambda: 0.0)
    monkeypatch.setattr(threads.psutil, "cpu_times", lambda percpu: [Core(2 * now)])
    monkeypatch.setattr(threads.psutil.Process, "cpu_affinity", lambda process: [0])
    monkeypatch.setattr(threads.psutil.Process, "cpu_times", lambda process: (now, now / 2, 7.0))
    neighbours = Neighbours(besides=os.getpid())
    now = 2.0
    assert neighbours.cores() == 0.5
    assert Neighbours(besides=2**22 + 5).cores() == 0.0


_BEFORE_TORCH = """
import os, sys
from strobe.machine.threads import Neighbours
Neighbours.cores = lambda neighbours: 0.0 if "torch" in sys.modules else 1.0
{}
assert "torch" in sys.modules
print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    "importing",
    [
        "from strobe.commands.surroundings import importing\nwith importing():\n    import torch",
        "from strobe.sweeps.warm import _warm_up\n_warm_up(os.getppid(), 'strobe.commands.sweep')",
    ],
    ids=["a command", "the server of a sweep's jobs"],
)
def test_whatever_imports_torch_looks_at_the_neighbours_before(importing: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE_TORCH.format(importing)],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.split() == [str(SPINS)]


_WHEN_TORCH_COMES = """
import os, sys, time

class Importer:
    def find_spec(name, path, target=None):
        if name == "torch":
            from strobe.machine.threads import _SHORTEST_S, neighbours
            print(time.monotonic() - neighbours()._since > _SHORTEST_S, flush=True)
            os._exit(0)

from strobe.commands import train
sys.meta_path.insert(0, Importer)
sys.argv = ["train", "trainer.fast_dev_run=true"]
train.main()
"""


def test_a_run_has_looked_at_its_neighbours_for_long_enough_when_torch_comes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WHEN_TORCH_COMES],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.split() == ["True"]
