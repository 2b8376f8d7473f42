"""The engine of Ray, as far as it goes without a cluster."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from strobe.commands.sweep import run_job
from strobe.errors import ConfigError
from strobe.record.token import sweep_token
from strobe.sweeps.engine import End
from strobe.sweeps.engines.ray import link
from strobe.sweeps.engines.ray.clerk import end_of
from strobe.sweeps.engines.ray.engine import RayEngine, variables
from strobe.sweeps.engines.ray.link import first_sentence
from strobe.sweeps.engines.ray.share import Share
from strobe.sweeps.engines.ray.task import Outcome, Task, perform
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.remote import NOT_SHARED, Order

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install -e '.[ray]'")

GIB = 2.0**30
SMALL = {"CPU": 4.0, "memory": 16 * GIB, "object_store_memory": GIB}
LARGE = {"CPU": 16.0, "memory": 64 * GIB, "GPU": 2.0, "disk": 1.0}
HEAD = {"memory": 16 * GIB}


@pytest.mark.parametrize(
    ("share", "demand", "needs", "threads", "room"),
    [
        (Share(), Demand(), {"CPU": 1}, 1, [4, 16]),
        (Share(), Demand(devices=3), {"CPU": 3}, 1, [1, 5]),
        (Share(num_cpus=4), Demand(devices=2), {"CPU": 4}, 2, [1, 4]),
        (Share(num_cpus=0.5), Demand(), {"CPU": 0.5}, 1, [8, 32]),
        (Share(), Demand(gpu=True), {"CPU": 1, "GPU": 1}, 1, [2]),
        (Share(num_gpus=0.5, num_cpus=2), Demand(gpu=True), {"CPU": 2, "GPU": 0.5}, 2, [4]),
        (Share(num_gpus=0), Demand(gpu=True), {"CPU": 1}, 1, [4, 16]),
        (Share(memory_gb=32), Demand(), {"CPU": 1, "memory": 32 * GIB}, 1, [2]),
        (Share(resources={"disk": 0.5}), Demand(), {"CPU": 1, "disk": 0.5}, 1, [2]),
        (Share(num_cpus=0), Demand(), {}, 1, [4, 16]),
    ],
)
def test_a_job_gets_its_share_of_a_node(
    share: Share, demand: Demand, needs: dict[str, float], threads: int, room: list[int]
) -> None:
    nodes = [SMALL, HEAD, LARGE]
    assert share.needs(demand, nodes) == needs
    assert share.threads(demand) == threads
    assert share.room(demand, nodes) == room
    assert share.problem(demand, nodes) is None


def test_a_trainer_that_may_use_a_gpu_does_without_where_there_is_none() -> None:
    assert Share().options(Demand(gpu=True), [SMALL]) == {
        "num_cpus": 1,
        "num_gpus": 0,
        "memory": None,
        "resources": {},
    }


@pytest.mark.parametrize(
    ("share", "demand", "said"),
    [
        (Share(), Demand(nodes=2), "trainer.num_nodes=2 needs hydra/launcher=slurm"),
        (Share(), Demand(devices=17), "has the 17 CPU that each job takes, the most is 16 CPU"),
        (Share(num_gpus=3), Demand(), "has the 1 CPU, 3 GPU that each job takes, the most is 16 CPU, 2 GPU"),
        (Share(memory_gb=100), Demand(), "the most is 16 CPU, 64 GB of memory"),
        (Share(resources={"tape": 1}), Demand(), "the most is 16 CPU, 0 tape"),
        (Share(num_cpus=8, num_gpus=1, memory_gb=65), Demand(), "no node of the Ray cluster"),
    ],
)
def test_what_no_node_could_ever_hold_is_said(share: Share, demand: Demand, said: str) -> None:
    problem = share.problem(demand, [SMALL, LARGE])
    assert problem is not None
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"address": 3}, "hydra.launcher.address=3: must be auto, local"),
        ({"slots": 0}, "hydra.launcher.slots=0: must be a whole number of at least 1, or auto"),
        ({"slots": "many"}, "hydra.launcher.slots=many"),
        ({"num_cpus": -1}, "hydra.launcher.num_cpus=-1: must be a number of at least 0, or null"),
        ({"num_gpus": "all"}, "hydra.launcher.num_gpus=all"),
        ({"memory_gb": float("inf")}, "hydra.launcher.memory_gb=inf"),
        ({"resources": {"disk": "x"}}, "hydra.launcher.resources={'disk': 'x'}: must be names with amounts"),
        ({"resources": {"CPU": 1}}, "hydra.launcher.resources={'CPU': 1}: CPU: give num_cpus, num_gpus or memory_gb"),
        ({"runtime_env": "here"}, "hydra.launcher.runtime_env=here: must be a mapping as Ray takes it, or null"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RayEngine(tmp_path, run_job, **settings)
    assert said in str(refused.value)


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(ConfigError, match=r"hydra/launcher=ray needs Ray: pip install -e '\.\[ray\]'"),
        engine(tmp_path),
    ):
        pass


@needs_ray
@pytest.mark.parametrize("address", ["nonsense", "host:", "host:99999", "ray://host"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="must be auto, local, <host>:<port> or ray://<host>:<port>"):
        engine(tmp_path, address=address).__enter__()


@needs_ray
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_at_an_address_is_found_out_at_once(tmp_path: Path, unused_port: int, scheme: str) -> None:
    with pytest.raises(ConfigError, match="nobody answers there"):
        engine(tmp_path, address=f"{scheme}127.0.0.1:{unused_port}").__enter__()


@needs_ray
def test_a_port_that_is_not_rays_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_CONNECT_S", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"address={address}: no Ray cluster answers there"):
            engine(tmp_path, address=address).__enter__()


def test_a_node_that_does_not_see_the_sweep_says_so_before_torch_is_there(tmp_path: Path) -> None:
    task = task_in(tmp_path, run_job, sweep_dir=tmp_path / "elsewhere")
    assert perform(task) == Outcome(NOT_SHARED, task.order.problem)
    assert "does not see" in (task.order.problem or "")
    heavy = "import sys, strobe.sweeps.engines.ray.task, strobe.commands.sweep; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_a_task_passes_on_the_signal_that_its_job_is_asked_to_stop_with(tmp_path: Path, number: int | None) -> None:
    task = task_in(tmp_path, tell_signal)
    if number is not None:
        task.number.write_text(str(int(number)))
    before = signal.getsignal(signal.SIGINT)

    def ask_when_it_waits() -> None:
        while not (tmp_path / "job" / "waits").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)  # what `ray.cancel` comes to

    asking = threading.Thread(target=ask_when_it_waits)
    asking.start()
    outcome = perform(task)
    asking.join()
    assert outcome == Outcome(int(number or signal.SIGTERM))
    assert task.begun.exists()
    assert signal.getsignal(signal.SIGINT) is before


@needs_ray
def test_what_ray_raises_is_told_in_words() -> None:
    from ray import exceptions

    assert end_of(exceptions, Outcome(1)) == End("exited", 1)
    assert end_of(exceptions, Outcome(-11)) == End("exited", -11)
    assert end_of(exceptions, Outcome(NOT_SHARED, "here is nothing")) == End("exited", NOT_SHARED, "here is nothing")
    assert end_of(exceptions, exceptions.TaskCancelledError()).how == "exited"
    assert end_of(exceptions, exceptions.WorkerCrashedError()).how == "lost"
    lost = end_of(exceptions, exceptions.OutOfMemoryError("Task was killed due to the node running low on memory. Try"))
    assert lost == End("lost", None, "Ray lost it: Task was killed due to the node running low on memory")
    error = ModuleNotFoundError("No module named 'strobe'")
    raised = end_of(exceptions, exceptions.RayTaskError("perform", "Traceback", error))
    assert raised == End("exited", None, "its node can't run it: No module named 'strobe'")


@pytest.mark.parametrize(
    ("printed", "plain"),
    [
        ("[2026-11-26 22:03:11,746 E 27643 27658] rpc_client.h:204: No answer. It may be gone. Look", "No answer"),
        ("\x1b[33mNode 10.0.0.1:123 is dead. See\x1b[0m", "Node 10.0.0.1:123 is dead"),
        ("two\nlines", "two lines"),
    ],
)
def test_of_what_ray_prints_the_first_sentence_is_told(printed: str, plain: str) -> None:
    assert first_sentence(printed) == plain


def test_a_job_has_the_variables_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "MY_DATA", "RAY_ADDRESS", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "x")
    firm, lent = variables(of_the_command=True), variables(of_the_command=False)
    assert "HF_HOME" in firm
    assert "MY_DATA" in lent
    assert not {"RAY_ADDRESS", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"} & {*firm, *lent}


def engine(directory: Path, **settings: Any) -> RayEngine:
    return RayEngine(directory, run_job, **settings)


def task_in(directory: Path, start: Any, sweep_dir: Path | None = None) -> Task:
    job = Job(0, [], [], directory / "job", "")
    job.directory.mkdir()
    order = Order.of(job, [], sweep_dir or directory, sweep_token(directory))
    return Task(order, {}, str(directory / "1"), start)


def tell_signal(arguments: Sequence[str], directory: str, environment: Mapping[str, str], cwd: str) -> None:
    """A job that ends with the number of the signal that it gets."""
    os.setpgrp()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(number))
    (Path(directory) / "waits").touch()
    time.sleep(60)
