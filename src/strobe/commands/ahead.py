"""What a sweep begins with before Hydra is there: the server that its jobs are forked from, which imports torch.

That takes the server longer than all that its driver has to do before the first job.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

from strobe.config.place import CONF
from strobe.config.slips import in_full
from strobe.machine.devices import available_cpus, visible_gpus

JOBS_OF = "strobe.commands.sweep"  # the module that has what a job's process does

_SWEEP = re.compile(r"sweep=(?!default$).+")
_SLOTS = re.compile(r"hydra\.launcher\.slots=(\d+|auto)")
_NOT_SURE = re.compile(r"validate=only|[+~]*hydra([/.@](launcher(?!\.slots=)|searchpath|mode)\b|=).*", re.DOTALL)
_OTHER_SHARES = re.compile(r"[+~]*trainer(\.(devices|num_nodes|accelerator))?=.*", re.DOTALL)
_HERE = "override launcher: local"


def begin_server(arguments: Sequence[str]) -> None:
    """Start the warm server, if this is a sweep whose jobs will surely run on this machine, each slot on a core.

    Should the command turn out to be wrong, the server ends with it.

    Args:
        arguments: Of the command, as they were typed.
    """
    slots = [found[1] for text in arguments if (found := _SLOTS.fullmatch(text))]
    count = int(slots[-1]) if slots and slots[-1] != "auto" else None
    if not _is_sweep(arguments) or any(map(_NOT_SURE.fullmatch, arguments)):
        return
    if count is None and (visible_gpus() or any(map(_OTHER_SHARES.fullmatch, arguments))):
        return
    # psutil and multiprocessing: only for a sweep
    from strobe.machine.threads import settle_waiting
    from strobe.sweeps.warm import WarmServer

    with suppress(OSError, ValueError):  # which is said, in words, where the server is needed
        if not _may_go_elsewhere():
            settle_waiting((count or available_cpus()) - 1)  # each other job keeps a core busy
            WarmServer(JOBS_OF).start()


def _is_sweep(arguments: Sequence[str]) -> bool:
    """Whether it is one without a flag that has something else shown, or configs looked for elsewhere."""
    flags = {in_full(text.partition("=")[0]) for text in arguments if text.startswith("-")} - {"--trust"}
    return flags in ({"-m"}, {"--multirun"}) or (not flags and any(map(_SWEEP.fullmatch, arguments)))


def _may_go_elsewhere() -> bool:
    """Whether any config, be it the user's own, chooses a launcher."""
    files = [path for path in CONF.rglob("*.yaml") if path.parent != CONF / "hydra" / "launcher"]
    return any("launcher" in path.read_text(encoding="utf-8").replace(_HERE, "") for path in files)
