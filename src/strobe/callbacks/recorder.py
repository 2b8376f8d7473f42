"""At the end of each epoch: a row in `metrics.csv`, a line for the person, the last and the best checkpoint."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from strobe.data.datamodule import ImageDataModule
from strobe.errors import DivergedError
from strobe.machine.rank import process_rank
from strobe.record import lightning_state
from strobe.record.checkpoints import random_state, restore_random_state
from strobe.record.kept import KeptCheckpoints, kept_entries
from strobe.record.layout import LAST, Mode
from strobe.record.report import Best, EarlyStop
from strobe.record.run_record import RunRecord
from strobe.tasks.classifier import Classifier

AGREE_EVERY = 8  # steps; agreeing takes a message between the ranks
ADVICE = "Try a smaller optimizer.lr, trainer.gradient_clip_val=1.0, or trainer.precision=32"


class EpochRecorder(Checkpoint):
    """Writes down every epoch. A `Checkpoint` to Lightning, which calls those after the module has logged its epoch.

    Lightning's ModelCheckpoint would do, but for this: a NaN can become its best, its state holds absolute paths (a
    moved run can't resume), and it serializes the model twice to keep two files.

    Args:
        record: Of this run.
        monitor: Name of the metric that decides which epoch is best.
        mode: Whether more or less of it is better.
        save: Whether to write checkpoints.
        keep: How many of the best ones; -1 for all.
        every_n_steps: How often to write `last.ckpt` within an epoch; None for its end alone.
        every_minutes: The same by the clock.

    Attributes:
        stopped_early: What ended the training before its limits, once something has.
    """

    def __init__(
        self,
        record: RunRecord,
        *,
        monitor: str,
        mode: Mode,
        save: bool = True,
        keep: int = 1,
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        self.record = record
        self.monitor = monitor
        self.save = save
        self.kept = KeptCheckpoints(record.directory, keep=keep, mode=mode)
        self.best_metrics: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.stopped_early: EarlyStop | None = None
        self._every_n_steps = every_n_steps if save else None
        self._every_minutes = every_minutes if save else None
        self._saved_at_step = 0
        self._saved_at = time.monotonic()
        self._resumes_from: tuple[Path, int] | None = None
        self.timing = dict.fromkeys(("train_s", "validation_s", "checkpoint_s"), 0.0)
        self.images_seen = 0
        self._validated = False  # in this epoch
        self._validated_at: int | None = None  # the step
        self._validation: dict[str, float] = {}  # what the latest one gave
        self._max_steps = -1
        self._images_cut_short = 0
        self._epoch_began = self._validation_began = 0.0
        self._validation_in_epoch = 0.0
        self._random_state: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure; a run resumed within an epoch has no `on_train_epoch_start`."""
        if self._resumes_from is not None:
            lightning_state.leave_closed_epoch(trainer)
            self.begin()
            self.kept.entries = trainer.strategy.broadcast(self.kept.entries)
        if trainer.global_rank > 0 and self._random_state is None:
            # All ranks are seeded alike, so that their nets are; their dropout must not be.
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)
        self._epoch_began = time.perf_counter()
        self._max_steps = trainer.max_steps
        if self._validated:  # earlier in the epoch that this run was resumed in
            assert isinstance(pl_module, Classifier)
            pl_module.epoch_metrics |= self._validation

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the random state of a resumed run here: nothing draws from it between this and the first step.

        Then save the step before this batch, if that is due; what it had to do, a whole validation too, is done by now.
        """
        if self._random_state is not None:
            restore_random_state(self._random_state)
            self._random_state = None
        if self._every_n_steps is None and self._every_minutes is None:
            # Once is enough, and Lightning passes over what can't be called: a hook in every step is paid for.
            self.on_train_batch_start = None  # type: ignore[assignment]
        elif batch_idx % trainer.accumulate_grad_batches == 0 and self._save_is_due(trainer):
            require_finite_weights(pl_module, trainer)
            self.save_last(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Have the step at which training ends validated, whatever ends it and whenever the next validation was due."""
        if not self._training_ends(trainer):
            return
        trainer.should_stop = True
        trainer.val_check_batch = 1
        if trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._epoch_began = time.perf_counter()
        self._validation_in_epoch = 0.0
        self._validated = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The monitored metric is fresh now; within an epoch, the weights that it was measured with are judged here.

        Raises:
            DivergedError: If the validation loss is NaN or infinite.
        """
        if trainer.sanity_checking:
            return
        self._validation_in_epoch += time.perf_counter() - self._validation_began
        self._validated = True
        self._validated_at = trainer.global_step
        assert isinstance(pl_module, Classifier)
        self._validation = metrics = _of_splits(pl_module, ("val/",))
        if trainer.is_last_batch or self._training_ends(trainer):
            return  # the end of the epoch is next, with the same weights and all metrics
        _require_finite_losses(metrics, f"at step {trainer.global_step}")
        if (rank := self.kept.rank_of(metrics.get(self.monitor))) is not None:
            require_finite_weights(pl_module, trainer)
            self._save(trainer, metrics, rank)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch down, then save.

        Raises:
            DivergedError: If the training or validation loss is NaN or infinite.
        """
        epoch_s = time.perf_counter() - self._epoch_began
        self.timing["validation_s"] += self._validation_in_epoch
        self.timing["train_s"] += epoch_s - self._validation_in_epoch
        assert isinstance(pl_module, Classifier)
        self.images_seen += pl_module.images["train"]
        self._images_cut_short = pl_module.images["train"] if lightning_state.cut_short(trainer) else 0
        metrics = _of_splits(pl_module, ("train/", "val/") if self._validated else ("train/",))
        self.latest = metrics
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "lr": learning_rate(trainer)}
        self.record.add_epoch({**row, "seconds": round(epoch_s, 3)})
        _show(trainer, row, epoch_s)
        _require_finite_losses(metrics, f"at the end of epoch {trainer.current_epoch}")
        require_finite_weights(pl_module, trainer)
        # A metric that was measured earlier in the epoch says nothing of these weights.
        fresh = {name: value for name, value in metrics.items() if self._is_fresh(name, trainer)}
        if self._training_ends(trainer):
            self.stopped_early = None if self._limit_reached(trainer) else _why_early(trainer)
        lightning_state.log_epoch(trainer)
        self._save(trainer, metrics, self.kept.rank_of(fresh.get(self.monitor)))

    def _save(self, trainer: Trainer, metrics: dict[str, float], rank: int | None) -> None:
        """Save the weights, and as the best ones if they are; every rank has to call this."""
        if rank == 0:
            self.best_metrics = metrics
        elif self.kept.best is not None and self.kept.best["step"] == trainer.global_step:
            self.best_metrics = metrics  # judged by a validation within the epoch, which ends here after all
        if rank is not None:
            entry: Best = {
                "metric": self.monitor,
                "mode": self.kept.mode,
                "value": metrics.get(self.monitor),
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "checkpoint": None,
            }
            added = self.kept.add(entry, rank, saved=self.save)
        if self.save:
            self.save_last(trainer)  # names itself a best one already: see `KeptCheckpoints`
            if rank is not None and trainer.is_global_zero:
                began = time.perf_counter()
                self.kept.write(added)
                self.timing["checkpoint_s"] += time.perf_counter() - began
            trainer.strategy.barrier("best checkpoint")  # the other ranks are about to read it, in the last epoch
        self._update_record()

    def save_last(self, trainer: Trainer) -> None:
        """Write ``last.ckpt``; every rank has to call this."""
        began = time.perf_counter()
        _flush(trainer)
        trainer.save_checkpoint(self.record.checkpoints / LAST)
        self.timing["checkpoint_s"] += time.perf_counter() - began
        self._saved_at_step, self._saved_at = trainer.global_step, time.monotonic()

    def take_up(self, checkpoint: Path, step: int, state: dict[str, Any]) -> None:
        """Be ready to go on from a checkpoint, taken after so many steps with this `state_dict`."""
        self.load_state_dict(state)
        self.kept.entries = kept_entries(state)
        self.stopped_early = state["stopped_early"]
        self._resumes_from = checkpoint, step

    def begin(self) -> None:
        """Begin the record of a run that is resumed: all that could be refused has been by now."""
        assert self._resumes_from is not None, "the run is resumed"
        self.record.begin()
        if process_rank() == 0:
            self.kept.settle(*self._resumes_from)
        self._update_record()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {
            "kept": [dict(entry) for entry in self.kept.entries],
            "best_metrics": self.best_metrics,
            "stopped_early": self.stopped_early,
            "validated": self._validated,
            "validated_at": self._validated_at,
            "validation": self._validation,
            "timing": dict(self.timing),
            "images_seen": self.images_seen - self._images_cut_short,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`; what is kept is what `strobe.run.resume` has found to be there."""
        self.best_metrics = state_dict["best_metrics"]
        self._validated = state_dict["validated"]
        self._validated_at = state_dict["validated_at"]
        self._validation = state_dict["validation"]
        self.images_seen = state_dict["images_seen"]
        self.timing = dict(state_dict["timing"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, and what it takes to use the net without the dataset."""
        checkpoint["random_states"] = _of_all_ranks(trainer, random_state())
        checkpoint["dataset"] = _data_of(trainer).dataset.facts()
        lightning_state.forget_fetched_batch(checkpoint)
        if lightning_state.cut_short(trainer):
            lightning_state.reopen_epoch(checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the random state, to be set when training begins; count the epoch's batches in their new size."""
        states = checkpoint["random_states"]
        self._random_state = states[trainer.global_rank] if trainer.global_rank < len(states) else None
        lightning_state.close_epoch(checkpoint)
        if (first := _data_of(trainer).resumes_at_batch) is not None:
            lightning_state.set_saved_batches(checkpoint, first)

    def _update_record(self) -> None:
        several = {} if self.kept.keep == 1 else {"kept": self.kept.entries}
        self.record.update(best=self.kept.best, **several, metrics=self.best_metrics, stopped_early=self.stopped_early)

    def _save_is_due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        if self._every_n_steps is not None and step % self._every_n_steps == 0 and step != self._saved_at_step:
            return True
        if self._every_minutes is None or (trainer.world_size > 1 and step % AGREE_EVERY):
            return False
        is_due = time.monotonic() - self._saved_at >= 60 * self._every_minutes and step != self._saved_at_step
        return bool(trainer.strategy.broadcast(is_due))  # the first rank's clock

    def _is_fresh(self, name: str, trainer: Trainer) -> bool:
        return not name.startswith("val/") or self._validated_at == trainer.global_step

    def _training_ends(self, trainer: Trainer) -> bool:
        """Whether the step that has just been taken is the last."""
        if self._limit_reached(trainer):
            return True
        epochs = trainer.current_epoch + 1 if trainer.is_last_batch else lightning_state.epochs_done(trainer)
        enough = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
        return trainer.should_stop and enough

    def _limit_reached(self, trainer: Trainer) -> bool:
        """Whether training has been as long as was asked for, in steps or in epochs."""
        if 0 <= self._max_steps <= trainer.global_step:
            return True
        return trainer.is_last_batch and 0 < (trainer.max_epochs or -1) <= trainer.current_epoch + 1


def recorder_of(trainer: Trainer) -> EpochRecorder:
    """The one that every run has."""
    return next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, EpochRecorder))


def _why_early(trainer: Trainer) -> EarlyStop:
    """What has ended the training before its limits."""
    stop: EarlyStop = {"by": "a callback", "reason": "", "epoch": trainer.current_epoch, "step": trainer.global_step}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning doesn't declare it
        if isinstance(callback, EarlyStopping) and callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            return {**stop, "by": type(callback).__name__, "reason": _reason(callback)}
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return {**stop, "by": "trainer.max_time", "reason": "the time was up"}
    return stop


def _reason(callback: EarlyStopping) -> str:
    """As Lightning says it, without what it says to its own trainer."""
    return str(callback.stopping_reason_message).partition(" Signaling")[0].rstrip(".")


def _of_all_ranks(trainer: Trainer, state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The random states of all ranks, in their order; every rank has to call this."""
    if trainer.world_size == 1:
        return [state]
    # Not Lightning's all_gather: it can be differentiated, and torch warns of that way.
    device = trainer.strategy.root_device
    states: list[dict[str, Tensor]] = [{} for _ in range(trainer.world_size)]
    for name, own in state.items():
        gathered = [torch.empty_like(own, device=device) for _ in states]
        torch.distributed.all_gather(gathered, own.to(device))
        for each, tensor in zip(states, gathered, strict=True):
            each[name] = tensor.cpu()
    return states


def _of_splits(pl_module: Classifier, prefixes: tuple[str, ...]) -> dict[str, float]:
    return {name: value for name, value in pl_module.epoch_metrics.items() if name.startswith(prefixes)}


def _require_finite_losses(metrics: dict[str, float], when: str) -> None:
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(metrics.get(name, 0.0)):
            raise DivergedError(f"{name} is {metrics[name]} {when}")


def require_finite_weights(pl_module: LightningModule, trainer: Trainer) -> None:
    """Keep non-finite weights out of every checkpoint: the last step can ruin them after a finite loss.

    Raises:
        DivergedError: If a weight is NaN or infinite.
    """
    # Not the state_dict: where parameters are shared out among ranks, it would gather them all.
    for name, tensor in (*pl_module.named_parameters(), *pl_module.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DivergedError(f"{name} became NaN or infinite in epoch {trainer.current_epoch}. {ADVICE}")


def _flush(trainer: Trainer) -> None:
    """Have loggers write what they hold back: a process that is killed would take it along."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, CSVLogger):
            logger.save()
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()


def learning_rate(trainer: Trainer) -> float:
    """Of the optimizer's first group, now."""
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return float(rate.item() if isinstance(rate, Tensor) else rate)


def _data_of(trainer: Trainer) -> ImageDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning doesn't declare it
    assert isinstance(data, ImageDataModule)
    return data


def _show(trainer: Trainer, row: dict[str, Any], epoch_s: float) -> None:
    """One line per epoch, above the bar where there is one."""
    bar = trainer.progress_bar_callback
    if bar is None:
        return
    width = len(str(trainer.max_epochs or 0))
    total = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    parts = [f"epoch {row['epoch'] + 1:>{width}}{total}"]
    labels = (("train/loss", "train loss"), ("val/loss", "val loss"), ("val/acc", "val acc"))
    parts += [f"{label} {row[name]:.4f}" for name, label in labels if name in row]
    bar.print("   ".join([*parts, f"{epoch_s:.1f} s"]))
