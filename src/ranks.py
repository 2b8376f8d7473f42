"""Processes that train one model together: which one this is, where they meet, and that none outlives the others."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from src import slurm

_POLL_S = 0.5


def process_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process among those of a distributed run, from the variables that its launcher sets; else 0."""
    for variable in ("RANK", "SLURM_PROCID"):
        if environment.get(variable, "").isdigit():
            return int(environment[variable])
    local, node = (int(environment.get(name, "") or 0) for name in ("LOCAL_RANK", "NODE_RANK"))
    return local + node  # of Lightning's own launcher: 0 for the first process of the first node alone


def shared_arguments(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Under torchrun or SLURM, what makes every rank use one run directory; nothing to add elsewhere.

    Lightning's own launcher does this for the processes it starts. Others start the same command once per rank, and
    each would name its directory by its own clock.
    """
    rank = process_rank(environment)
    extra = []
    if not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        directory = _common_directory(rank, environment)
        if directory is None:
            return []
        extra.append(f"hydra.run.dir={directory}")
    elif "TORCHELASTIC_RUN_ID" not in environment and int(environment.get("SLURM_NTASKS", "") or 1) < 2:
        return []
    if rank > 0:
        extra += ["hydra.output_subdir=null", f"hydra.job.name=train_rank_{rank}"]
    return extra


def _common_directory(rank: int, environment: Mapping[str, str]) -> str | None:
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, not in __all__

        # torchrun's agent keeps this store open for its ranks; init_process_group uses it under other keys.
        store = TCPStore(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False)
        key = f"strobe/run_dir/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        if rank == 0:
            store.set(key, datetime.now().strftime("outputs/train/%Y-%m-%d/%H-%M-%S-%f"))
        return str(store.get(key).decode())
    return slurm.step_directory(environment)


def end_with_parent() -> None:
    """Have this rank end when the process that started it is gone: it would wait in a collective for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
