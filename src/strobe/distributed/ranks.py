"""Which ranks a run has on this machine, who starts them, and what each is told of the others."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import DDPStrategy, Strategy, StrategyRegistry

from strobe.distributed import slurm
from strobe.errors import ConfigError
from strobe.machine.devices import available_cpus

_DISTRIBUTED = ("ddp", "fsdp", "deepspeed")
_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS")


def start_method(strategy: str) -> Literal["fork", "spawn"]:
    """How multiprocessing starts the ranks: for ``ddp_fork`` and ``ddp_notebook`` as forks of this process."""
    return "fork" if {"fork", "notebook"} & set(strategy.split("_")) else "spawn"


class StartedDDP(DDPStrategy):
    """DDP among ranks that are there already: to Lightning, which would start them, there is nothing to launch."""

    strategy_name = "ddp"

    @property
    def launcher(self) -> None:
        """None."""
        return


def strategy_for_trainer(strategy: str) -> str | Strategy:
    """What the trainer is given: how the ranks of ``ddp_spawn`` and its like start is no concern of it."""
    if {"spawn", "fork", "notebook"}.isdisjoint(strategy.split("_")):
        return strategy
    return StartedDDP(**StrategyRegistry[strategy]["init_params"])


def local_process_count(strategy: str, accelerator: str, devices: Any) -> int:
    """On this machine, this one included; 1 where something else, such as torchrun or SLURM, starts them."""
    if not strategy.startswith(("auto", *_DISTRIBUTED)) or "LOCAL_RANK" in os.environ or _started_by_a_cluster():
        return 1
    name = accelerator
    if name in ("auto", "gpu"):
        # Not is_available, which may set CUDA up: a fork of this process could not use it any more.
        name = "cuda" if torch.cuda.device_count() > 0 else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = AcceleratorRegistry.get(name)
    if devices == "auto":
        if name == "cuda" and hasattr(sys, "ps1"):
            return 1  # as Lightning does in a notebook
        devices = kind.auto_device_count()
    try:
        return len(kind.get_parallel_devices(kind.parse_devices(devices)))
    except Exception as error:  # Lightning's own words about what it can't make sense of
        raise ConfigError(f"trainer.devices={devices}: {error}") from error


def cluster_environments() -> list[ClusterEnvironment]:
    """What to tell the trainer where it would look for the ranks in the wrong place: they are `started_ranks`'."""
    ours = "LOCAL_RANK" in os.environ and not _started_by_a_cluster()
    return [LightningEnvironment()] if ours else []


def _started_by_a_cluster() -> bool:
    # The ones that Lightning looks for. A SLURM job of one task has its ranks yet to be started.
    by_slurm = SLURMEnvironment.detect() and slurm.tasks() > 1
    return by_slurm or any(kind.detect() for kind in (TorchElasticEnvironment, LSFEnvironment, MPIEnvironment))


def variables_of_ranks(count: int, strategy: str) -> list[dict[str, str]]:
    """What each rank of this machine, this process first, has in its environment; nothing where there is one.

    A strategy for several ranks gets them for one too: else Lightning looks for a way to start others.
    """
    alone = not strategy.startswith(_DISTRIBUTED)
    if count == 1 and (alone or "LOCAL_RANK" in os.environ or _started_by_a_cluster()):
        return [{}]
    shared = {  # of a run over several machines, the first two and NODE_RANK are given
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(find_free_network_port()),
    }
    if count > 1:
        shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(max(1, available_cpus() // count))
    first = int(os.environ.get("NODE_RANK", "0")) * count
    # RANK goes before SLURM_PROCID, which is 0 in every process of a batch script.
    return [shared | {"LOCAL_RANK": str(local), "RANK": str(first + local)} for local in range(count)]


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for the block, and undo what Lightning sets in it, which would be wrong for another run."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
