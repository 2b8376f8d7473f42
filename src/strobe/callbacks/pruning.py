"""Reports each epoch of a trial to its search, and ends a trial that is not worth continuing."""

import logging
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from strobe.callbacks.epoch_line import shown
from strobe.callbacks.recorder import recorder_of
from strobe.errors import PrunedError, first_line
from strobe.machine.text import printable
from strobe.record.study import open_trial

log = logging.getLogger(__name__)


class Pruning(Checkpoint):
    """A `Checkpoint` to Lightning, so that it runs after the `EpochRecorder` has written the epoch down.

    Args:
        study: The sweep's directory.
        trial: Number of the trial.
        metric: What the study is about; known after each epoch.
    """

    def __init__(self, study: Path, trial: int, metric: str) -> None:
        self.study = study
        self.trial = trial
        self.metric = metric
        self._untold: dict[int, float] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric.

        Raises:
            PrunedError: If the search's pruner gives the trial up.
        """
        value = recorder_of(trainer).latest.get(self.metric)
        epoch = trainer.current_epoch
        prune = False
        if trainer.is_global_zero and value is not None:
            prune = self._is_worse(value, epoch)
        last = trainer.max_epochs is not None and epoch + 1 == trainer.max_epochs
        if trainer.strategy.broadcast(prune) and not last:
            told = "unknown" if value is None else shown(value)
            raise PrunedError(f"pruned after epoch {epoch + 1}: {self.metric} is {told}, others do better")

    def _is_worse(self, value: float, epoch: int) -> bool:
        self._untold[epoch] = value
        try:
            trial = open_trial(self.study, self.trial)
            for earlier in list(self._untold):
                trial.report(self._untold[earlier], earlier)
                del self._untold[earlier]
            return bool(trial.should_prune())
        # The search's disk is full, its journal damaged, its database away: the run is worth more than that.
        except Exception as error:
            said = printable(first_line(error))
            log.warning("The search is not told of epoch %d, it may be later: %s", epoch + 1, said)
            return False
