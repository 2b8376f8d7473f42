"""At the end of each epoch: a row in `metrics.csv`, a line for the person, the last and the best checkpoint."""

import math
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from strobe.data.datamodule import ImageDataModule
from strobe.errors import DivergedError
from strobe.record import lightning_state
from strobe.record.checkpoints import copy_checkpoint, random_state, restore_random_state
from strobe.record.layout import BEST, CHECKPOINTS, LAST, Mode
from strobe.record.report import Best
from strobe.record.run_record import RunRecord
from strobe.tasks.classifier import Classifier

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
    """

    def __init__(self, record: RunRecord, *, monitor: str, mode: Mode, save: bool = True) -> None:
        self.record = record
        self.monitor = monitor
        self.mode = mode
        self.save = save
        self.best: Best | None = None
        self.best_metrics: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.timing = dict.fromkeys(("train_s", "validation_s", "checkpoint_s"), 0.0)
        self.images_seen = 0
        self._validated = False  # in this epoch
        self._validated_at: int | None = None  # the step
        self._max_steps = -1
        self._images_cut_short = 0
        self._epoch_began = self._validation_began = 0.0
        self._validation_in_epoch = 0.0
        self._random_state: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure; a run resumed within an epoch has no `on_train_epoch_start`."""
        if trainer.global_rank > 0 and self._random_state is None:
            # All ranks are seeded alike, so that their nets are; their dropout must not be.
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)
        self._epoch_began = time.perf_counter()
        self._max_steps = trainer.max_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the random state of a resumed run here: nothing draws from it between this and the first step."""
        if self._random_state is not None:
            restore_random_state(self._random_state)
        # Once is enough, and Lightning passes over what can't be called: a hook in every step is paid for.
        self.on_train_batch_start = None  # type: ignore[assignment]

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
        if trainer.is_last_batch or self._training_ends(trainer):
            return  # the end of the epoch is next, with the same weights and all metrics
        assert isinstance(pl_module, Classifier)
        metrics = _of_splits(pl_module, ("val/",))
        _require_finite_losses(metrics, f"at step {trainer.global_step}")
        if self._is_best(metrics):
            require_finite_weights(pl_module, trainer)
            self._save(trainer, metrics, improved=True)

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
        self._save(trainer, metrics, improved=self._is_best(fresh))

    def _save(self, trainer: Trainer, metrics: dict[str, float], *, improved: bool) -> None:
        """Save the weights, and as the best ones if they are; every rank has to call this."""
        if improved:
            self.best_metrics = metrics
            self.best = {
                "metric": self.monitor,
                "mode": self.mode,
                "value": metrics.get(self.monitor),
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "checkpoint": f"{CHECKPOINTS}/{BEST}" if self.save else None,
            }
        elif self.best is not None and self.best["step"] == trainer.global_step:
            self.best_metrics = metrics  # judged by a validation within the epoch, which ends here after all
        if self.save:
            self.save_last(trainer)
            if improved and trainer.is_global_zero:
                began = time.perf_counter()
                copy_checkpoint(self.record.checkpoints / LAST, self.record.checkpoints / BEST)
                self.timing["checkpoint_s"] += time.perf_counter() - began
            trainer.strategy.barrier("best checkpoint")  # the other ranks are about to read it, in the last epoch
        self.record.update(best=self.best, metrics=self.best_metrics)

    def save_last(self, trainer: Trainer) -> None:
        """Write ``last.ckpt``; every rank has to call this."""
        began = time.perf_counter()
        trainer.save_checkpoint(self.record.checkpoints / LAST)
        self.timing["checkpoint_s"] += time.perf_counter() - began

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {
            "best": self.best,
            "best_metrics": self.best_metrics,
            "timing": dict(self.timing),
            "images_seen": self.images_seen - self._images_cut_short,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.best = state_dict["best"]
        self.best_metrics = state_dict["best_metrics"]
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

    def _is_best(self, metrics: dict[str, float]) -> bool:
        value = metrics.get(self.monitor)
        if self.best is None or self.best["value"] is None:
            return True  # while the monitored metric has not been seen, the newest weights are the best
        if value is None or not math.isfinite(value):
            return False
        old = self.best["value"]
        return value > old if self.mode == "max" else value < old

    def _is_fresh(self, name: str, trainer: Trainer) -> bool:
        return not name.startswith("val/") or self._validated_at == trainer.global_step

    def _training_ends(self, trainer: Trainer) -> bool:
        """Whether the step that has just been taken is the last."""
        if 0 <= self._max_steps <= trainer.global_step:
            return True
        if trainer.is_last_batch:
            return 0 < (trainer.max_epochs or -1) <= trainer.current_epoch + 1
        enough_epochs = not trainer.min_epochs or lightning_state.epochs_done(trainer) >= trainer.min_epochs
        return trainer.should_stop and enough_epochs and trainer.global_step >= (trainer.min_steps or 0)


def recorder_of(trainer: Trainer) -> EpochRecorder:
    """The one that every run has."""
    return next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, EpochRecorder))


def _of_all_ranks(trainer: Trainer, state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The random states of all ranks, in their order; every rank has to call this."""
    if trainer.world_size == 1:
        return [state]
    device = trainer.strategy.root_device
    gathered = {name: trainer.strategy.all_gather(tensor.to(device)).cpu() for name, tensor in state.items()}
    ranks = range(trainer.world_size)
    return [{name: tensors[rank].clone() for name, tensors in gathered.items()} for rank in ranks]


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
