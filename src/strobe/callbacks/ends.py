"""Whether a step is the last one of the training."""

from lightning.pytorch import Trainer

from strobe.record import lightning_state


def training_ends(trainer: Trainer, max_steps: int) -> bool:
    """Whether the step that has just been taken is the last, whatever ends the training.

    Args:
        trainer: Where training stands.
        max_steps: As they were when training began; -1 for no limit.
    """
    if limit_reached(trainer, max_steps):
        return True
    epochs = trainer.current_epoch + 1 if trainer.is_last_batch else lightning_state.epochs_done(trainer)
    enough = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return trainer.should_stop and enough


def limit_reached(trainer: Trainer, max_steps: int) -> bool:
    """Whether training has been as long as was asked for, in steps or in epochs."""
    if 0 <= max_steps <= trainer.global_step:
        return True
    return trainer.is_last_batch and 0 < (trainer.max_epochs or -1) <= trainer.current_epoch + 1
