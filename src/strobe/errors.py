"""The ways a run can end other than well, each with its status and exit code."""

from collections.abc import Iterable
from typing import Literal

EndStatus = Literal["failed", "diverged", "oom", "preempted", "interrupted", "pruned"]
"""How a run can end other than well, as its report says it."""


class RunError(Exception):
    """A run that did not complete. The message is for the person who typed the command."""

    status: EndStatus = "failed"
    exit_code = 1


class ConfigError(RunError):
    """The command or the configuration is wrong: nothing was trained."""

    exit_code = 2


class DatasetError(RunError):
    """A dataset is missing or damaged and could not be repaired."""


class CheckpointError(RunError):
    """A checkpoint can't be read, or doesn't belong to this model."""


class RankFailedError(RunError):
    """Another process of a distributed run failed, so this one can't continue."""


class DivergedError(RunError):
    """The loss is no longer a finite number."""

    status: EndStatus = "diverged"


class OutOfMemoryError(RunError):
    """The device or the machine ran out of memory."""

    status: EndStatus = "oom"


class PrunedError(RunError):
    """A search has seen enough of this trial."""

    status: EndStatus = "pruned"
    exit_code = 0


class InterruptedRunError(RunError):
    """Ctrl-C: the checkpoint was saved, `resume=` continues from it."""

    status: EndStatus = "interrupted"
    exit_code = 130


class PreemptedError(RunError):
    """SIGTERM, or SIGHUP of a terminal that was closed: the checkpoint was saved, `resume=` continues from it."""

    status: EndStatus = "preempted"
    exit_code = 143


def require(problems: Iterable[str]) -> None:
    """Refuse what has problems; all of them are told at once.

    Raises:
        ConfigError: If there is one.
    """
    if lines := list(problems):
        raise ConfigError("\n".join(lines))


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def status_of(error: BaseException) -> EndStatus:
    """The status that a run which ended with ``error`` is recorded under."""
    if isinstance(error, RunError):
        return error.status
    return InterruptedRunError.status if isinstance(error, KeyboardInterrupt) else RunError.status


def as_run_error(error: BaseException, *, batch_size: int | None) -> BaseException:
    """The `RunError` that says what an exception from torch or Lightning means, or the exception itself.

    Args:
        error: What was raised.
        batch_size: Named in the advice when memory ran out.
    """
    text = str(error)
    # By name and message: this module must not import torch, and CPU allocators raise plain RuntimeErrors.
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or (isinstance(error, RuntimeError) and _mentions_memory(text)):
        advice = "choose smaller batches"
        if batch_size is not None:
            advice = f"data.batch_size={batch_size} is too much; try data.batch_size={max(1, batch_size // 2)}"
        return OutOfMemoryError(f"out of memory: {advice} ({first_line(error)})")
    if isinstance(error, ValueError) and text.startswith("Expected more than 1 value per channel"):
        advice = "choose data.batch_size so that no batch holds a single example, or model.norm=layer"
        return ConfigError(f"batch normalization can't train on a batch of one example: {advice}")
    if isinstance(error, RuntimeError) and text.startswith("Early stopping conditioned on metric"):
        _, asked, _, *there = text.split("`")
        logged = ", ".join(name for name in there[1:] if name.strip(" ,.")) or "nothing"
        return ConfigError(
            f"EarlyStopping watches {asked!r}, and nothing of that name is logged by then; there is: {logged}; "
            "choose one as callbacks.<name>.monitor"
        )
    if type(error).__name__ == "MisconfigurationException":  # Lightning's word for a config it can't follow
        return ConfigError(text)
    return error


def _mentions_memory(text: str) -> bool:
    return "out of memory" in text.lower() or "can't allocate memory" in text
