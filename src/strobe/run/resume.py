"""Where a run that is resumed continues, found before anything of it is touched."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from strobe.errors import CheckpointError, ConfigError
from strobe.record.checkpoints import load_checkpoint, newest_checkpoint, state_problems
from strobe.record.layout import CHECKPOINTS
from strobe.record.lightning_state import saved_epochs
from strobe.record.report import read_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long to train; None or -1 is no limit."""

    max_epochs: int | None
    max_steps: int | None

    def reached(self, epochs: int, steps: int) -> str | None:
        """What has been trained, if that is all there is to train; else None."""
        if self.max_steps not in (None, -1) and steps >= self.max_steps:
            return f"{steps} of {self.max_steps} steps"
        if self.max_epochs not in (None, -1) and epochs >= self.max_epochs:
            return f"{epochs} of {self.max_epochs} epochs"
        return None


@dataclass(frozen=True)
class ResumePoint:
    """Where a run continues."""

    checkpoint: Path
    step: int
    trained: bool  # all that is left is the test


def resume_point(directory: Path, limits: Limits, net: nn.Module, optimizer: str) -> ResumePoint:
    """Where to continue.

    Args:
        directory: The run directory.
        limits: How long to train.
        net: As the config describes it.
        optimizer: Name of the optimizer's class.

    Raises:
        ConfigError: If the directory is not a run directory, or the run has trained as long as the limits ask for.
        CheckpointError: If no checkpoint is usable, or the newest has another net or optimizer.
    """
    status = read_report(directory)["status"]
    path = newest_checkpoint(directory / CHECKPOINTS)
    checkpoint = load_checkpoint(path)
    _require_same_model(path, checkpoint, net, optimizer)
    epochs, step = saved_epochs(checkpoint), int(checkpoint["global_step"])
    done = limits.reached(epochs, step)
    if done and status == "completed":
        longer = f"trainer.max_steps={2 * step}" if done.endswith("steps") else f"trainer.max_epochs={epochs + 5}"
        raise ConfigError(f"{directory} has trained {done}, so there is nothing to resume: train longer with {longer}")
    log.info("Resuming %s %s", directory, "at its test" if done else f"at epoch {epochs + 1}, step {step}")
    return ResumePoint(path, step, trained=done is not None)


def _require_same_model(path: Path, checkpoint: dict[str, Any], net: nn.Module, optimizer: str) -> None:
    own = {f"net.{key}": value for key, value in net.state_dict().items()}
    saved = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("net.")}  # not a loss's
    if problems := state_problems(own, saved):
        raise CheckpointError(f"{path} does not fit the config's model: {'; '.join(problems)}")
    if checkpoint.get("optimizer") != optimizer:
        raise CheckpointError(
            f"{path} was made with the optimizer {checkpoint.get('optimizer')}, the config names {optimizer}: "
            "a run is resumed with the optimizer it has"
        )
