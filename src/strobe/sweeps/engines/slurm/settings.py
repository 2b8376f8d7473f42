"""The engine that the settings of `hydra/launcher=slurm` ask for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strobe.errors import ConfigError, require
from strobe.sweeps.engine import Engine
from strobe.sweeps.engines.slurm.engine import SLOTS, SlurmEngine
from strobe.sweeps.engines.slurm.here import SubmittedHere
from strobe.sweeps.engines.slurm.resources import Resources
from strobe.sweeps.slots import share_out, wrong_slots


def slurm_engine(
    directory: Path,
    trainer: Mapping[str, Any],
    *,
    cluster: Any = "slurm",
    slots: Any = "auto",
    detach: Any = False,
    **resources: Any,
) -> Engine:
    """The engine that the settings of ``hydra/launcher=slurm`` ask for.

    Args:
        directory: Of the sweep.
        trainer: The trainer node of its jobs' config.
        cluster: ``slurm``, or ``local``: submitit's processes on this machine.
        slots: Jobs at once; ``auto`` is 64, and of ``cluster=local`` what this machine can hold.
        detach: Start all jobs, and leave.
        resources: Fields of `Resources`, which `Resources` explains.

    Raises:
        ConfigError: If a setting is wrong.
    """
    if cluster not in ("slurm", "local"):
        raise ConfigError(f"hydra.launcher.cluster={cluster}: must be slurm or local")
    if type(detach) is not bool:
        raise ConfigError(f"hydra.launcher.detach={detach}: must be true or false")
    asked = Resources.of(resources)
    if cluster == "local":
        return SubmittedHere(directory, share_out(trainer, slots), asked, detach)
    require(wrong_slots(slots))
    return SlurmEngine(directory, asked, SLOTS if slots == "auto" else slots, detach)
