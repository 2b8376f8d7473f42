"""The run directory that ranks share which something else, such as torchrun or SLURM, has started."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, not in __all__

from strobe.distributed import slurm
from strobe.machine.rank import process_rank


def shared_arguments(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Under torchrun or SLURM, what makes every rank use one run directory; nothing to add elsewhere.

    They start the same command once per rank, and each would name its directory by its own clock.
    """
    rank = process_rank(environment)
    extra = []
    if not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        directory = _common_directory(rank, environment)
        if directory is None:
            return []
        extra.append(f"hydra.run.dir={directory}")
    elif "TORCHELASTIC_RUN_ID" not in environment and slurm.tasks(environment) < 2:
        return []
    if rank > 0:
        extra += ["hydra.output_subdir=null", f"hydra.job.name=train_rank_{rank}"]
    return extra


def _common_directory(rank: int, environment: Mapping[str, str]) -> str | None:
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's agent keeps this store open for its ranks; init_process_group uses it under other keys.
        store = TCPStore(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False)
        key = f"strobe/run_dir/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        if rank == 0:
            store.set(key, datetime.now().strftime("outputs/train/%Y-%m-%d/%H-%M-%S-%f"))
        return str(store.get(key).decode())
    return slurm.step_directory(environment)
