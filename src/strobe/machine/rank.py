"""Processes that train one model together: which one this is, and that none outlives the one that started it."""

import os
import threading
import time
from collections.abc import Mapping

_POLL_S = 0.5


def process_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process among those of a distributed run, from the variables that its launcher sets; else 0."""
    for variable in ("RANK", "SLURM_PROCID"):
        if environment.get(variable, "").isdigit():
            return int(environment[variable])
    local, node = (int(environment.get(name, "") or 0) for name in ("LOCAL_RANK", "NODE_RANK"))
    return local + node  # where NODE_RANK was set by hand: 0 for the first process of the first node alone


def end_with_parent() -> None:
    """Have this rank end when the process that started it is gone: it would wait in a collective for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
