"""What a sweep begins with before Hydra is there: the server that its jobs are forked from, which imports torch.

That takes the server longer than all that its driver has to do before the first job.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from strobe.config.place import CONF
from strobe.machine.devices import available_cpus
from strobe.machine.threads import settle_waiting
from strobe.sweeps.warm import WarmServer

JOBS_OF = "strobe.commands.sweep"  # the module that has what a job's process does

_SWEEP = re.compile(r"-m|--multirun|sweep=(?!default$).+")
_NOT_SURE = re.compile(
    r"validate=only|hydra\.mode=.*|-h|--help|-c.*|--c.*|-i.*|--info.*|--hydra-help|-V|--version|--s.*"
)
_SLOTS = re.compile(r"hydra\.launcher\.slots=(\d+|auto)")
_ELSEWHERE = re.compile(r"[+~]*hydra([/.]launcher|\.searchpath).*")
_CHOICE = re.compile(r"[+]*(sweep|experiment|debug)=(.*)", re.DOTALL)
_HERE = "launcher: local"


def begin_server(arguments: Sequence[str]) -> None:
    """Start the warm server, if this is a sweep whose jobs will surely run on this machine.

    Should the command turn out to be wrong, the server ends with it.

    Args:
        arguments: Of the command, as they were typed.
    """
    if not any(map(_SWEEP.fullmatch, arguments)) or any(map(_NOT_SURE.fullmatch, arguments)):
        return
    slots = [found[1] for text in arguments if (found := _SLOTS.fullmatch(text))]
    others = [text for text in arguments if not _SLOTS.fullmatch(text)]
    if any(map(_ELSEWHERE.fullmatch, others)) or not all(map(_is_here, _files(others))):
        return
    count = available_cpus() if not slots or slots[-1] == "auto" else int(slots[-1])
    settle_waiting(count - 1)  # each other job keeps a core busy
    WarmServer(JOBS_OF).start()


def _files(arguments: Sequence[str]) -> Iterator[Path]:
    """The config files that may say where jobs run."""
    yield CONF / "hydra" / "default.yaml"
    for text in arguments:
        if (found := _CHOICE.fullmatch(text)) is not None:
            yield from (CONF / found[1] / f"{option}.yaml" for option in found[2].split(","))


def _is_here(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return "launcher" not in text.replace(_HERE, "")
