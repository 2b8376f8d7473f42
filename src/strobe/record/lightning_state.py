"""Where training stands, as Lightning counts it and as its checkpoints hold it.

Lightning has no other way to ask whether an epoch is under way or how many of its batches are done. Everything that
depends on the names of its counters is here, and a test pins them.
"""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer


def epochs_done(trainer: Trainer) -> int:
    """Epochs whose last batch has been trained on; the epoch under way is not among them."""
    return int(_epochs(trainer).processed)


def within_epoch(trainer: Trainer) -> bool:
    """Whether an epoch has begun and not ended."""
    epochs = _epochs(trainer)
    return bool(epochs.started > epochs.processed)


def batches_done(trainer: Trainer) -> int:
    """Batches of the epoch under way, or of the last one, that have been trained on."""
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current  # as in `_epochs`
    return int(batches.processed)


def cut_short(trainer: Trainer) -> bool:
    """Whether training ended within an epoch, which Lightning counts as done then."""
    return not within_epoch(trainer) and not trainer.is_last_batch and batches_done(trainer) > 0


def position(trainer: Trainer) -> tuple[int, int]:
    """Where training stands: the epoch that is to be trained, from 0, and how many of its batches are done."""
    if cut_short(trainer):
        return epochs_done(trainer) - 1, batches_done(trainer)
    return epochs_done(trainer), batches_done(trainer) if within_epoch(trainer) else 0


def saved_epochs(checkpoint: Mapping[str, Any]) -> int:
    """`epochs_done` when a checkpoint was taken."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def steps_left(trainer: Trainer, checkpoint: Mapping[str, Any]) -> int:
    """Optimizer steps that a run has to take from a checkpoint on, once its loader has been built.

    Another batch size, accumulation or number of ranks than before makes it other steps than the checkpoint's
    ``global_step`` lets expect.
    """
    step, share = int(checkpoint["global_step"]), trainer.accumulate_grad_batches
    left = trainer.max_steps - step if trainer.max_steps != -1 else math.inf
    if trainer.max_epochs not in (None, -1) and trainer.num_training_batches != math.inf:
        assert trainer.max_epochs is not None
        per_epoch = math.ceil(trainer.num_training_batches / share)
        epochs = trainer.max_epochs - saved_epochs(checkpoint)
        left = min(left, epochs * per_epoch - int(_saved_batches(checkpoint)["current"]["processed"]) // share)
    return max(0, int(left))


def set_saved_batches(checkpoint: Mapping[str, Any], done: int) -> None:
    """Have a run that is resumed from a checkpoint take up its epoch after so many batches."""
    batches = _saved_batches(checkpoint)["current"]
    batches.update(dict.fromkeys(batches, done))


def forget_fetched_batch(checkpoint: Mapping[str, Any]) -> None:
    """Leave a batch out of a checkpoint that was fetched but not trained on when it was taken."""
    batches = _saved_batches(checkpoint)
    for counts in (batches["current"], batches["total"]):
        if counts["ready"] > counts["started"]:
            counts["ready"] = counts["started"]
            batches["is_last_batch"] = False


def keeps_state(trainer: Trainer) -> bool:
    """Whether the training loader is one whose state Lightning saves and loads."""
    loader = trainer.train_dataloader
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def is_between_steps(trainer: Trainer, batch_idx: int) -> bool:
    """Whether an optimizer step ends with this batch, and nothing else is due before the next one is fetched."""
    # Of the epoch, or of the run where validations are not counted by epoch.
    count = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    validates = trainer.enable_validation and (count + 1) % (trainer.val_check_batch or 1) == 0
    steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    return steps and not validates and not trainer.is_last_batch


def complete_batch(checkpoint: Mapping[str, Any]) -> None:
    """Have a batch done whose end had come when a checkpoint was taken; Lightning says so only after all hooks."""
    batches = _saved_batches(checkpoint)
    for counts in (batches["current"], batches["total"]):
        counts["completed"] = counts["processed"]


def logged_by_step_alone(trainer: Trainer) -> set[str]:
    """Names that the training has logged without ``on_epoch``: what there is of them is the last batch's value."""
    return {result.meta.name for result in trainer.fit_loop._results.result_metrics if not result.meta.on_epoch}


def metrics_reset_by_lightning(trainer: Trainer) -> set[int]:
    """Ids of the torchmetrics that were logged as such, which Lightning resets with each epoch."""
    loops = (trainer.fit_loop, trainer.fit_loop.epoch_loop.val_loop)
    logged = [result.value for loop in loops for result in loop._results.result_metrics if not result.is_tensor]
    parts = [part for metric in logged for part in metric.modules()]  # of a wrapper, what it wraps
    return {id(part) for part in [*parts, *(getattr(part, f"metric_{side}", None) for part in parts for side in "ab")]}


def logged_in_steps(trainer: Trainer) -> list[str]:
    """What training steps have logged for their epoch: its sums are in no checkpoint."""
    results = trainer.fit_loop._results.result_metrics
    return [result.meta.name for result in results if result.meta.on_epoch and result.meta.fx == "training_step"]


def plateaus_before_the_checkpoint(trainer: Trainer) -> None:
    """Have plateau schedules that look at each epoch's end do so before its checkpoint is taken.

    Lightning advances them after all hooks, and a resumed run would be an epoch behind. Counted in steps, they see the
    same metrics a moment earlier.
    """
    if trainer.num_training_batches == math.inf:
        return
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.interval == "epoch":
            config.interval, config.frequency = "step", config.frequency * int(trainer.num_training_batches)


def reopen_epoch(checkpoint: Mapping[str, Any]) -> None:
    """Have a run that is resumed from a checkpoint train the rest of the epoch that was cut short when it was taken."""
    for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        counts["processed"] -= 1


def close_epoch(checkpoint: Mapping[str, Any]) -> None:
    """Have a run that is resumed at the end of an epoch begin the next.

    With ``max_steps``, Lightning would take up the epoch that is over, and end it once more without a batch.
    """
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    if epochs["current"]["started"] > epochs["current"]["processed"]:
        return
    for counts in epochs.values():
        counts["completed"] = counts["processed"]
    _saved_batches(checkpoint)["is_last_batch"] = False
    set_saved_batches(checkpoint, 0)


def leave_closed_epoch(trainer: Trainer) -> None:
    """Have a run that was resumed at the end of an epoch begin the next without a look at the last one's end.

    With ``max_steps``, Lightning would first go through the end of a batch, and step a ReduceLROnPlateau once more.
    """
    if not within_epoch(trainer):
        trainer.fit_loop.epoch_loop.restarting = False


def stand_at(trainer: Trainer, loops: dict[str, Any]) -> None:
    """Have a trainer that is only to test count on from a checkpoint's ``loops``, as after a fit."""
    close_epoch({"loops": loops})
    trainer.fit_loop.load_state_dict(loops["fit_loop"])


def log_epoch(trainer: Trainer) -> None:
    """Give the loggers the epoch that ends now, which Lightning does after all of its hooks.

    Called before the checkpoint is written: a run that is killed after that and resumed begins the next epoch, and
    would have no row of this one.
    """
    connector = trainer._logger_connector
    connector.on_epoch_end()
    stepped = trainer.fit_loop.epoch_loop
    stepped._batches_that_stepped -= 1  # as Lightning does: an epoch's metrics belong to its last step
    connector.update_train_epoch_metrics()
    stepped._batches_that_stepped += 1


def leave_out_hyperparameters(checkpoint: dict[str, Any]) -> None:
    """Take what ``save_hyperparameters`` noted out of a checkpoint, the module's and the datamodule's."""
    for owner in (LightningModule, LightningDataModule):
        for key in (
            owner.CHECKPOINT_HYPER_PARAMS_KEY,
            owner.CHECKPOINT_HYPER_PARAMS_NAME,
            owner.CHECKPOINT_HYPER_PARAMS_TYPE,
        ):
            checkpoint.pop(key, None)


def _epochs(trainer: Trainer) -> Any:
    return trainer.fit_loop.epoch_progress.current  # Lightning declares a base class of it


def _saved_batches(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    batches: dict[str, Any] = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return batches
