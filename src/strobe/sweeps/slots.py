"""How many jobs run at once, and what each of them gets of the machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strobe.errors import ConfigError, require
from strobe.machine.devices import available_cpus, visible_gpus
from strobe.sweeps.job import Demand


@dataclass(frozen=True)
class Slot:
    """A share of the machine.

    Attributes:
        threads: Per process. Two processes of two OpenMP threads each, on two cores, ran up to 20 times slower.
        gpus: The devices a job sees, as in CUDA_VISIBLE_DEVICES; None leaves the environment alone.
    """

    threads: int
    gpus: str | None = None

    def environment(self) -> dict[str, str]:
        """Variables for the job's process, and for the ranks it may start."""
        threads = str(self.threads)
        variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        return variables | ({} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": self.gpus})


def wrong_slots(wanted: Any) -> list[str]:
    """Why ``hydra.launcher.slots`` can't be so, of any launcher; nothing if it can."""
    if wanted == "auto" or (type(wanted) is int and wanted >= 1):
        return []
    return [f"hydra.launcher.slots={wanted}: must be a whole number of at least 1, or auto"]


def share_out(trainer: Mapping[str, Any], wanted: int | str, jobs_per_gpu: int = 1) -> list[Slot]:
    """The slots of a sweep.

    Args:
        trainer: The trainer node of its jobs' config: the accelerator, and how many devices one job takes.
        wanted: How many slots, or ``auto``: one per GPU (or group of GPUs), else one per core.
        jobs_per_gpu: Jobs that share a GPU.

    Raises:
        ConfigError: If ``wanted`` is neither a number of at least 1 nor ``auto``.
    """
    require(wrong_slots(wanted))
    if type(jobs_per_gpu) is not int or jobs_per_gpu < 1:
        raise ConfigError(f"hydra.launcher.jobs_per_gpu={jobs_per_gpu}: must be a whole number of at least 1")
    demand = Demand.of(trainer)
    per_job = demand.devices
    cores = available_cpus()
    gpus = visible_gpus() if demand.gpu else []
    if gpus:
        groups = [gpus[start : start + per_job] for start in range(0, len(gpus) - per_job + 1, per_job)] or [gpus]
        shares = [",".join(group) for _ in range(jobs_per_gpu) for group in groups]
        count = len(shares) if wanted == "auto" else int(wanted)
        threads = max(1, cores // (count * per_job))
        return [Slot(threads, shares[index % len(shares)]) for index in range(count)]
    count = max(1, cores // per_job) if wanted == "auto" else int(wanted)
    return [Slot(max(1, cores // (count * per_job))) for _ in range(count)]
