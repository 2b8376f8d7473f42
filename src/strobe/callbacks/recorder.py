"""At the end of each epoch: a row in `metrics.csv`, a line for the person, the last and the best checkpoint."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from strobe.callbacks.carried import carried_metrics, restore_metrics
from strobe.callbacks.ends import limit_reached, training_ends
from strobe.callbacks.epoch_line import learning_rate, show_epoch, why_early
from strobe.callbacks.finite import require_finite_losses, require_finite_weights
from strobe.callbacks.logged import Logged
from strobe.callbacks.position import Position
from strobe.callbacks.random_states import RandomStates
from strobe.callbacks.within_epoch import WithinEpoch
from strobe.machine.rank import process_rank
from strobe.record import lightning_state
from strobe.record.kept import KeptCheckpoints, kept_entries
from strobe.record.layout import LAST, WITHIN, Mode
from strobe.record.report import Best, EarlyStop
from strobe.record.run_record import RunRecord
from strobe.tasks.means import of_all_ranks
from strobe.tasks.task import Task

log = logging.getLogger(__name__)


class EpochRecorder(Checkpoint):
    """Writes down every epoch. A `Checkpoint` to Lightning, which calls those after the module has logged its epoch.

    Lightning's ModelCheckpoint would do, but for this: a NaN can become its best, its state holds absolute paths (a
    moved run can't resume), and it serializes the model twice to keep two files.

    Args:
        record: Of this run.
        position: Where the training data stands.
        about: What is to be known of the data by who uses the checkpoint: plain containers, by their key in it.
        monitor: Name of the metric that decides which epoch is best; None where the newest is.
        mode: Whether more or less of it is better.
        save: Whether to write checkpoints.
        keep: How many of the best ones; -1 for all.
        every_n_steps: How often to write `last.ckpt` within an epoch; None for its end alone.
        every_minutes: The same by the clock.

    Attributes:
        stopped_early: What ended the training before its limits, once something has.
        searching: Whether a search trains until the loss explodes: that is then no failure, and no epoch to tell of.
    """

    def __init__(
        self,
        record: RunRecord,
        position: Position,
        *,
        about: Callable[[], dict[str, Any]] = dict,
        monitor: str | None,
        mode: Mode,
        save: bool = True,
        keep: int = 1,
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        self.record = record
        self.position = position
        self.monitor = monitor
        self.save = save
        self.kept = KeptCheckpoints(record.directory, keep=keep, mode=mode)
        self.best_metrics: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.stopped_early: EarlyStop | None = None
        self.searching = False
        self.within_epoch = WithinEpoch(
            position, every_n_steps=every_n_steps if save else None, every_minutes=every_minutes if save else None
        )
        self._resumes_from: tuple[Path, int] | None = None
        self.timing = dict.fromkeys(("train_s", "validation_s", "checkpoint_s"), 0.0)
        self.examples_seen = 0
        self._keeps_state = False  # of the training loader
        self._validated = False  # in this epoch
        self._validated_at: int | None = None  # the step
        self._validation: dict[str, float] = {}  # what the latest one gave
        self._max_steps = -1
        self._examples_cut_short = 0
        self._about = about
        self._logged = Logged(monitor)
        self._epoch_began = self._validation_began = 0.0
        self._validation_in_epoch = 0.0
        self._random_states = RandomStates()
        self._carried: list[dict[str, Any]] = []  # of each rank

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure; a run resumed within an epoch has no `on_train_epoch_start`."""
        if self._resumes_from is not None:
            lightning_state.leave_closed_epoch(trainer)
            self.begin()
            self.kept.entries = trainer.strategy.broadcast(self.kept.entries)
        self._random_states.begin(trainer)
        self._epoch_began = time.perf_counter()
        self._max_steps = trainer.max_steps
        self._keeps_state = lightning_state.keeps_state(trainer)
        lightning_state.plateaus_before_the_checkpoint(trainer)
        why = self.within_epoch.why_not(pl_module)
        if self._resumes_from is not None and lightning_state.within_epoch(trainer) and why is not None:
            log.warning(
                "Resumed within an epoch, where it can't go on exactly (%s): the numbers of epoch %d are not those of "
                "an undisturbed run",
                *(why, trainer.current_epoch + 1),
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the random state of a resumed run here: nothing draws from it between this and the first step.

        Then save the step before this batch, if that is due; what it had to do, a whole validation too, is done by now.
        """
        self._random_states.restore()
        self._restore_carried(trainer, pl_module)
        if not self.within_epoch.is_asked_for or self._keeps_state:
            # Once is enough, and Lightning passes over what can't be called: a hook in every step is paid for.
            self.on_train_batch_start = None  # type: ignore[assignment]
        elif (why := self.within_epoch.why_not(pl_module)) is not None:
            log.warning("No checkpoint within an epoch: a run can't go on from there (%s)", why)
            self.within_epoch.leave_out()
        elif batch_idx % trainer.accumulate_grad_batches == 0 and self.within_epoch.is_due(trainer):
            require_finite_weights(pl_module, trainer)
            self.save_last(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Have the step at which training ends validated, whatever ends it and whenever the next validation was due.

        Of a loader with a state, save the step here, before the next batch is fetched.
        """
        if (
            self._keeps_state
            and lightning_state.is_between_steps(trainer, batch_idx)
            and self.within_epoch.is_due(trainer)
        ):
            require_finite_weights(pl_module, trainer)
            self.save_last(trainer)
        if not training_ends(trainer, self._max_steps):
            return
        trainer.should_stop = True
        trainer.val_check_batch = 1
        if trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._epoch_began = time.perf_counter()
        self._logged.before_epoch(trainer)
        self._restore_carried(trainer, pl_module)
        self._validation_in_epoch = 0.0
        self._validated = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._validation_began = time.perf_counter()
        self._logged.before_validation(trainer)

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
        self._validation = metrics = self._logged.in_validation(trainer, pl_module)
        if trainer.is_last_batch or training_ends(trainer, self._max_steps):
            return  # the end of the epoch is next, with the same weights and all metrics
        require_finite_losses(metrics, f"at step {trainer.global_step}")
        if (rank := self.kept.rank_of(_value(metrics, self.monitor))) is not None:
            require_finite_weights(pl_module, trainer)
            self._save(trainer, metrics, rank, at_end=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch down, then save.

        Raises:
            DivergedError: If the training or validation loss is NaN or infinite.
        """
        epoch_s = time.perf_counter() - self._epoch_began
        self.timing["validation_s"] += self._validation_in_epoch
        self.timing["train_s"] += epoch_s - self._validation_in_epoch
        examples = pl_module.examples["train"] if isinstance(pl_module, Task) else 0
        self.examples_seen += examples
        self._examples_cut_short = examples if lightning_state.cut_short(trainer) else 0
        in_training = self._logged.in_training(trainer, pl_module, set(self._validation))
        metrics = {**(self._validation if self._validated else {}), **in_training}
        if self.searching:
            metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.latest = metrics
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "lr": learning_rate(trainer)}
        if self._validated or not trainer.enable_validation:
            self._logged.require_monitored(metrics)
        self.record.add_epoch({**row, "seconds": round(epoch_s, 3)})
        if not self.searching:
            show_epoch(trainer, row, epoch_s, self.monitor)
            require_finite_losses(metrics, f"at the end of epoch {trainer.current_epoch}")
        if not self.searching or self.save:
            require_finite_weights(pl_module, trainer)
        # A metric that was measured earlier in the epoch says nothing of these weights.
        fresh = {name: value for name, value in metrics.items() if self._is_fresh(name, trainer)}
        if training_ends(trainer, self._max_steps):
            self.stopped_early = (
                None if limit_reached(trainer, self._max_steps) or self.searching else why_early(trainer)
            )
        lightning_state.log_epoch(trainer)
        self._save(trainer, metrics, self.kept.rank_of(_value(fresh, self.monitor)))

    def _save(self, trainer: Trainer, metrics: dict[str, float], rank: int | None, *, at_end: bool = True) -> None:
        """Save the weights, and as the best ones if they are; every rank has to call this.

        Args:
            trainer: Where training stands.
            metrics: Of these weights.
            rank: Among the best; None if they are none of them.
            at_end: Whether this is the end of an epoch.
        """
        if rank == 0:
            self.best_metrics = metrics
        elif self.kept.best is not None and self.kept.best["step"] == trainer.global_step:
            self.best_metrics = metrics  # judged by a validation within the epoch, which ends here after all
        if rank is not None:
            entry: Best = {
                "metric": self.monitor,
                "mode": self.kept.mode,
                "value": _value(metrics, self.monitor),
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "checkpoint": None,
            }
            added = self.kept.add(entry, rank, saved=self.save)
        if self.save:
            apart = not at_end and self.within_epoch.why_not(trainer.lightning_module) is not None
            # Names itself a best one already: see `KeptCheckpoints`. Where no run can go on, last.ckpt stays as it is.
            source = self.save_last(trainer, WITHIN if apart else LAST)
            if rank is not None and trainer.is_global_zero:
                began = time.perf_counter()
                self.kept.write(added, source)
                self.timing["checkpoint_s"] += time.perf_counter() - began
            if apart and trainer.is_global_zero:
                source.unlink(missing_ok=True)
            trainer.strategy.barrier("best checkpoint")  # the other ranks are about to read it, in the last epoch
        self._update_record()

    def _restore_carried(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the module's `on_train_start`, where many a module resets its metrics, and before its epoch's start."""
        if self._carried:
            rank = trainer.global_rank
            restore_metrics(pl_module, self._carried[rank] if rank < len(self._carried) else {})
            self._carried = []

    def save_last(self, trainer: Trainer, name: str = LAST) -> Path:
        """Write ``last.ckpt``, or the same by another name; every rank has to call this."""
        began = time.perf_counter()
        _flush(trainer)
        path = self.record.checkpoints / name
        trainer.save_checkpoint(path)
        self.timing["checkpoint_s"] += time.perf_counter() - began
        self.within_epoch.saved(trainer.global_step)
        return path

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
            "examples_seen": self.examples_seen - self._examples_cut_short,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`; what is kept is what `strobe.run.resume` has found to be there."""
        self.best_metrics = state_dict["best_metrics"]
        self._validated = state_dict["validated"]
        self._validated_at = state_dict["validated_at"]
        self._validation = state_dict["validation"]
        self.examples_seen = state_dict["examples_seen"]
        self.timing = dict(state_dict["timing"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, and what it takes to use the net without the dataset.

        Hyperparameters stay out: the config has them, and pickled objects would make the file unloadable.
        """
        checkpoint["random_states"] = self._random_states.gathered(trainer)
        checkpoint |= self._about()
        carried = carried_metrics(trainer, pl_module)
        checkpoint["carried_metrics"] = of_all_ranks(carried) if trainer.world_size > 1 else [carried]
        lightning_state.leave_out_hyperparameters(checkpoint)
        lightning_state.forget_fetched_batch(checkpoint)
        if self._keeps_state:
            lightning_state.complete_batch(checkpoint)
        if lightning_state.cut_short(trainer):
            lightning_state.reopen_epoch(checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the random state, to be set when training begins; count the epoch's batches in their new size."""
        self._carried = checkpoint.get("carried_metrics", [])
        self._random_states.take_up(checkpoint["random_states"], trainer.global_rank)
        lightning_state.close_epoch(checkpoint)
        if self.position.resumes_at_batch is not None:
            lightning_state.set_saved_batches(checkpoint, self.position.resumes_at_batch)

    def _update_record(self) -> None:
        several = {} if self.kept.keep == 1 else {"kept": self.kept.entries}
        self.record.update(best=self.kept.best, **several, metrics=self.best_metrics, stopped_early=self.stopped_early)

    def _is_fresh(self, name: str, trainer: Trainer) -> bool:
        return name not in self._validation or self._validated_at == trainer.global_step


def recorder_of(trainer: Trainer) -> EpochRecorder:
    """The one that every run has."""
    return next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, EpochRecorder))


def _flush(trainer: Trainer) -> None:
    """Have loggers write what they hold back: a process that is killed would take it along."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, CSVLogger):
            logger.save()
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()


def _value(metrics: dict[str, float], name: str | None) -> float | None:
    return None if name is None else metrics.get(name)
