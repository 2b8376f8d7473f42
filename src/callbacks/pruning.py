"""Reports each epoch of a trial to its search, and ends a trial that is not worth going on with."""

import os
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.callbacks.recorder import EpochRecorder
from src.errors import PrunedError


class Pruning(Checkpoint):
    """A `Checkpoint` to Lightning, so that it runs after the `EpochRecorder` has written the epoch down.

    Args:
        study: The sweep's directory.
        trial: Number of the trial.
        recorder: Knows the monitored metric.
    """

    def __init__(self, study: Path, trial: int, recorder: EpochRecorder) -> None:
        self.study = study
        self.trial = trial
        self.recorder = recorder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the monitored metric.

        Raises:
            PrunedError: If the search's pruner gives the trial up.
        """
        value = self.recorder.latest.get(self.recorder.monitor)
        epoch = trainer.current_epoch
        prune = False
        if trainer.is_global_zero and value is not None:
            prune = _report(self.study, self.trial, value, epoch)
        last = trainer.max_epochs is not None and epoch + 1 == trainer.max_epochs
        if trainer.strategy.broadcast(prune) and not last:
            raise PrunedError(f"pruned after epoch {epoch + 1}: {self.recorder.monitor} is {value}, others do better")


def pruning_callback(recorder: EpochRecorder) -> list[Pruning]:
    """The callback, if this process is the job of a search that prunes."""
    study, trial = os.environ.get("STROBE_STUDY"), os.environ.get("STROBE_TRIAL")
    return [] if study is None or trial is None else [Pruning(Path(study), int(trial), recorder)]


def _report(directory: Path, number: int, value: float, epoch: int) -> bool:
    """Tell the study a value; returns whether its pruner gives the trial up."""
    import optuna

    from src.sweeps.search import make_pruner, open_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(directory)
    study.pruner = make_pruner(study.user_attrs["pruner"])
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    trial = optuna.Trial(study, trial_id)
    trial.report(value, epoch)
    return trial.should_prune()
