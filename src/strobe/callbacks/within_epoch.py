"""Checkpoints within an epoch: when one is due, and whether a run could go on from there."""

import time

from lightning.pytorch import LightningModule, Trainer

from strobe.callbacks.position import Position
from strobe.record import lightning_state
from strobe.tasks.task import Task

AGREE_EVERY = 8  # steps; agreeing takes a message between the ranks


class WithinEpoch:
    """Tells when ``last.ckpt`` is to be written before its epoch has ended.

    Args:
        position: Where the training data stands.
        every_n_steps: How often, in steps; None where they don't count.
        every_minutes: The same by the clock.
    """

    def __init__(self, position: Position, *, every_n_steps: int | None, every_minutes: float | None) -> None:
        self._position = position
        self._every_n_steps = every_n_steps
        self._every_minutes = every_minutes
        self._saved_at_step = 0
        self._saved_at = time.monotonic()

    @property
    def is_asked_for(self) -> bool:
        """Whether there is anything to be written at all."""
        return self._every_n_steps is not None or self._every_minutes is not None

    def leave_out(self) -> None:
        """Write none in this run."""
        self._every_n_steps = self._every_minutes = None

    def saved(self, step: int) -> None:
        """Take down that a checkpoint was written after so many steps, within an epoch or at its end."""
        self._saved_at_step, self._saved_at = step, time.monotonic()

    def is_due(self, trainer: Trainer) -> bool:
        """Whether one is to be written now; every rank has to ask."""
        step = trainer.global_step
        if not self.is_asked_for:
            return False
        if self._every_n_steps is not None and step % self._every_n_steps == 0 and step != self._saved_at_step:
            return True
        if self._every_minutes is None or (trainer.world_size > 1 and step % AGREE_EVERY):
            return False
        is_due = time.monotonic() - self._saved_at >= 60 * self._every_minutes and step != self._saved_at_step
        return bool(trainer.strategy.broadcast(is_due))  # the first rank's clock

    def why_not(self, pl_module: LightningModule) -> str | None:
        """Why a run can't go on from within an epoch as if it had not been stopped, in words; None if it can."""
        if not self._position.resumes_within_epoch:
            return f"{self._position.unresumable} can't be taken up"
        if not isinstance(pl_module, Task):
            return f"{type(pl_module).__name__} keeps no sums of what it logs, as a Task does"
        if logged := lightning_state.logged_in_steps(pl_module.trainer):
            return f"{type(pl_module).__name__} logs {logged[0]} by self.log, whose sums are not kept"
        return None
