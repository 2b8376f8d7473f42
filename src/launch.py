"""Start the other ranks of a run that trains in several processes of this machine, and watch over them."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src import slurm
from src.errors import ConfigError, InterruptedRunError, PreemptedError, RankFailedError, RunError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

log = logging.getLogger(__name__)

_POLL_S = 0.5
_GRACE_S = 2.5  # for this process to find out itself what went wrong, which it knows better
_STOPPED = (0, PreemptedError.exit_code, InterruptedRunError.exit_code)


class Ranks:
    """The processes of the ranks that this one has started; none where there is one rank, or torchrun started all.

    They are started before anything is built, so they import and build while this one does. Lightning's own launchers
    start them within `fit`, ``ddp_spawn`` and its like the first rank too, which would leave the run's record and its
    signals in the wrong process.
    """

    def __init__(self, processes: Sequence[BaseProcess] = (), errors: "SimpleQueue[RunError] | None" = None) -> None:
        self.processes = processes
        self._errors = errors
        self._ending = False
        self._failed: RunError | None = None
        self._lock = threading.Lock()

    def watch(self, on_failure: Callable[[RunError], None]) -> None:
        """End this process soon after another rank has failed: it would wait for that rank for ever.

        Args:
            on_failure: Called with what happened, unless this process ends by itself in the meantime.
        """

        def look() -> None:
            while not self._ending:
                time.sleep(_POLL_S)
                if (error := self._failure()) is not None:
                    time.sleep(_GRACE_S)
                    if self._ending:
                        return
                    on_failure(error)
                    self.kill()
                    os._exit(1)

        if self.processes:
            threading.Thread(target=look, name="watch-ranks", daemon=True).start()

    def cause(self, error: BaseException) -> BaseException:
        """What another rank died of, where ``error`` only says that the connection to it is gone."""
        if isinstance(error, RunError) or not _lost_contact(error):
            return error
        self._ending = True
        patience = time.monotonic() + (_GRACE_S if self.processes else 0)
        while time.monotonic() < patience:
            if (failure := self._failure()) is not None:
                return failure
            time.sleep(_POLL_S / 10)
        first = str(error).strip().splitlines()[0]
        return RankFailedError(f"another rank is gone, its train_rank_<n>.log should tell why ({first})")

    def _failure(self) -> RunError | None:
        """Of the first rank that has failed; what it said is worth more than its exit code."""
        with self._lock:
            codes = {rank: process.exitcode for rank, process in enumerate(self.processes, start=1)}
            failed = {rank: code for rank, code in codes.items() if code not in (None, *_STOPPED)}
            killed = {rank: code for rank, code in failed.items() if code is not None and code < 0}
            if self._failed is None and not killed and self._errors is not None and not self._errors.empty():
                self._failed = self._errors.get()
            if self._failed is None and failed:
                rank, code = next(iter((killed or failed).items()))
                self._failed = RankFailedError(f"rank {rank} ended with code {code}")
            return self._failed

    def end(self, error: BaseException | None) -> None:
        """Wait for ranks that are about to end as well, do not wait for others."""
        self._ending = True
        if error is None or isinstance(error, PreemptedError | InterruptedRunError):
            patience = time.monotonic() + 4 * _GRACE_S
            for process in self.processes:
                if process.pid is not None:
                    process.join(max(0.0, patience - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End them at once."""
        for process in self.processes:
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def started_ranks(cfg: DictConfig, directory: Path) -> Iterator[Ranks]:
    """Within the block, this process is rank 0 of as many as ``trainer.devices`` says; the others train the same.

    Args:
        cfg: The resolved config.
        directory: The run directory.
    """
    import torch

    variables = _variables(_processes_to_be(cfg))
    ranks = _prepared(cfg, directory, variables[1:])
    threads = torch.get_num_threads()
    with _environment(variables[0]):
        torch.set_num_threads(int(variables[0].get("OMP_NUM_THREADS", threads)))
        try:
            for process in ranks.processes:
                process.start()
            yield ranks
        except BaseException as error:
            _leave_group(failed=True)
            ranks.end(error)
            raise
        else:
            _leave_group(failed=False)  # before the others are waited for: NCCL leaves it together
            ranks.end(None)
        finally:
            torch.set_num_threads(threads)


def _leave_group(*, failed: bool) -> None:
    """Make this process free for another run; after a failure, without waiting for ranks that may be gone."""
    from torch.distributed import destroy_process_group, distributed_c10d, get_backend, is_initialized

    if not is_initialized():
        return
    if failed and get_backend() == "nccl":
        distributed_c10d._abort_process_group()
    else:
        destroy_process_group()


def _prepared(cfg: DictConfig, directory: Path, variables: Sequence[dict[str, str]]) -> Ranks:
    """One process for each set of variables, not yet started."""
    if not variables:
        return Ranks()
    method = start_method(str(cfg.trainer.strategy))
    threads = {}
    if method == "fork":
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's lacks annotations
            raise ConfigError(
                f"trainer.strategy={cfg.trainer.strategy}: this process has used its GPU, so no other can be forked "
                "from it: restart it (in a notebook, the kernel), or choose trainer.devices=1"
            )
        # If this process has ever used two threads, a fork of it that does so waits for ever for the second.
        threads = {"OMP_NUM_THREADS": "1"}
    context = multiprocessing.get_context(method)
    errors: SimpleQueue[RunError] = context.SimpleQueue()
    processes = [
        context.Process(  # type: ignore[attr-defined]  # of every context
            target=_be_rank,
            args=(each | threads, OmegaConf.to_container(cfg), str(directory), errors),
            name=f"rank {each['RANK']}",
        )
        for each in variables
    ]
    return Ranks(processes, errors)


def start_method(strategy: str) -> str:
    """How multiprocessing starts the ranks: for ``ddp_fork`` and ``ddp_notebook`` as forks of this process."""
    return "fork" if {"fork", "notebook"} & set(strategy.split("_")) else "spawn"


def _processes_to_be(cfg: DictConfig) -> int:
    """On this machine, this one included; 1 where something else, such as torchrun or SLURM, starts them."""
    trainer = cfg.trainer
    if not str(trainer.strategy).startswith(("auto", "ddp", "fsdp", "deepspeed")):
        return 1
    if "LOCAL_RANK" in os.environ or _started_by_a_cluster():
        return 1
    import torch
    from lightning.fabric.utilities.imports import _IS_INTERACTIVE
    from lightning.pytorch.accelerators import AcceleratorRegistry

    name = str(trainer.accelerator)
    if name in ("auto", "gpu"):
        # Not is_available, which may set CUDA up: a fork of this process could not use it any more.
        name = "cuda" if torch.cuda.device_count() > 0 else "mps" if torch.backends.mps.is_available() else "cpu"
    accelerator = AcceleratorRegistry.get(name)
    devices: Any = OmegaConf.to_container(trainer.devices) if OmegaConf.is_config(trainer.devices) else trainer.devices
    if devices == "auto":
        if name == "cuda" and _IS_INTERACTIVE:
            return 1  # as Lightning does in a notebook
        devices = accelerator.auto_device_count()
    try:
        return len(accelerator.get_parallel_devices(accelerator.parse_devices(devices)))
    except Exception as error:  # Lightning's own words about what it can't make sense of
        raise ConfigError(f"trainer.devices={devices}: {error}") from error


def cluster_environments() -> list["ClusterEnvironment"]:
    """What to tell the trainer where it would look for the ranks in the wrong place: they are `started_ranks`'."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    ours = "LOCAL_RANK" in os.environ and not _started_by_a_cluster()
    return [LightningEnvironment()] if ours else []


def _started_by_a_cluster() -> bool:
    from lightning.fabric.plugins.environments.lsf import LSFEnvironment
    from lightning.fabric.plugins.environments.mpi import MPIEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    # The ones that Lightning looks for. A SLURM job of one task has its ranks yet to be started.
    by_slurm = SLURMEnvironment.detect() and slurm.tasks() > 1
    return by_slurm or any(each.detect() for each in (TorchElasticEnvironment, LSFEnvironment, MPIEnvironment))


def _variables(count: int) -> list[dict[str, str]]:
    """What each rank of this machine, this process first, has in its environment; nothing where there is one."""
    if count == 1:
        return [{}]
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    from src.sweeps.slots import available_cpus

    shared = {  # of a run over several machines, the first two and NODE_RANK are given
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(find_free_network_port()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, available_cpus() // count)),
    }
    first = int(os.environ.get("NODE_RANK", "0")) * count
    # RANK goes before SLURM_PROCID, which is 0 in every process of a batch script.
    return [shared | {"LOCAL_RANK": str(local), "RANK": str(first + local)} for local in range(count)]


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for the block, and undo what Lightning sets in it, which would be wrong for another run."""
    names = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _be_rank(
    environment: dict[str, str], values: dict[str, Any], directory: str, errors: "SimpleQueue[RunError]"
) -> None:
    """Train as one of several ranks; the process ends with the run's exit code, its error goes to rank 0.

    Raises:
        SystemExit: Always.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every rank; rank 0 decides for all
    os.environ.update(environment)
    rank = int(environment["RANK"])
    if (torch := sys.modules.get("torch")) is not None:  # a fork: the variable comes too late
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    _log_to(Path(directory) / f"train_rank_{rank}.log")
    from src.train import train

    try:
        train(OmegaConf.create(values), Path(directory))
    except RunError as error:
        if error.exit_code not in _STOPPED and not isinstance(error, RankFailedError):  # which tells of another
            errors.put(type(error)(f"rank {rank}: {error}"))
        raise SystemExit(error.exit_code) from None
    except BaseException as error:
        log.exception("rank %d failed", rank)
        errors.put(RankFailedError(f"rank {rank}: {type(error).__name__}: {error}"))
        raise SystemExit(1) from None
    raise SystemExit(0)


def _lost_contact(error: BaseException) -> bool:
    import torch

    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return False
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection", "process group"))


def _log_to(path: Path) -> None:
    """To the file, and to the terminal what `settle_process` lets through."""
    path.parent.mkdir(parents=True, exist_ok=True)  # rank 0 may not have come to it yet
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[file, logging.StreamHandler()], force=True)
    logging.getLogger("src").setLevel(logging.DEBUG)
