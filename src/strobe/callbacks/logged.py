"""What a module has logged, by epoch: a task's own sums, or what Lightning has made of ``self.log``."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from strobe.errors import ConfigError
from strobe.record import lightning_state
from strobe.tasks.means import of_all_ranks
from strobe.tasks.task import Task


class Logged:
    """Tells the metrics of training from those of validation: their names are the module's affair.

    Args:
        monitor: The name that is asked for; None for none.
    """

    def __init__(self, monitor: str | None) -> None:
        self.monitor = monitor
        self._before: dict[str, Tensor] = {}
        self._epoch_before: dict[str, Tensor] = {}

    def before_epoch(self, trainer: Trainer) -> None:
        """Remember what there is of earlier epochs."""
        self._epoch_before = dict(trainer.callback_metrics)

    def before_validation(self, trainer: Trainer) -> None:
        """Remember what there is; a validation puts new tensors in the place of its own."""
        self._before = dict(trainer.callback_metrics)

    def in_validation(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """What the validation that ends has given, over all ranks; every rank has to call this."""
        new = {name: value for name, value in trainer.callback_metrics.items() if value is not self._before.get(name)}
        return self._numbers(trainer, pl_module, new)

    def in_training(self, trainer: Trainer, pl_module: LightningModule, of_validation: set[str]) -> dict[str, float]:
        """What the epoch that ends has given beside its validation, over all ranks; every rank has to call this."""
        stepwise = lightning_state.logged_by_step_alone(trainer)
        others = {
            name: value
            for name, value in trainer.callback_metrics.items()
            # What was not logged in this epoch is an earlier one's; what is logged by step is the last batch's.
            if name not in of_validation and name not in stepwise and value is not self._epoch_before.get(name)
        }
        return self._numbers(trainer, pl_module, others)

    def require_monitored(self, metrics: dict[str, float]) -> None:
        """See to it that the monitored metric is there, once everything has been logged.

        Raises:
            ConfigError: If nothing of that name has been.
        """
        if self.monitor is None or self.monitor in metrics:
            return
        there = ", ".join(metrics) or "nothing"
        example = next((f"monitor.metric={name} monitor.mode=min" for name in metrics), "monitor.metric=null")
        raise ConfigError(
            f"monitor.metric={self.monitor!r}: nothing of that name is logged by epoch; there is: {there}; "
            f"choose one, for example {example}, or monitor.metric=null"
        )

    def _numbers(self, trainer: Trainer, pl_module: LightningModule, metrics: dict[str, Tensor]) -> dict[str, float]:
        own = pl_module.epoch_metrics if isinstance(pl_module, Task) else {}
        kept = {
            name: value for name, value in metrics.items() if value.numel() == 1 and self._is_by_epoch(name, metrics)
        }
        others = over_ranks(trainer, {name: value for name, value in kept.items() if name not in own})
        agreed = {name: own[name] for name in kept if name in own} | others
        return {name: agreed[name] for name in [*kept, *(name for name in others if name not in kept)]}

    def _is_by_epoch(self, name: str, metrics: dict[str, Tensor]) -> bool:
        """Whether it is an epoch's value, and the only one of it: Lightning logs a mean under two names."""
        if name == self.monitor:
            return True
        stem, _, ending = name.rpartition("_")
        return not (ending == "step" and (stem in metrics or f"{stem}_epoch" in metrics)) and not (
            ending == "epoch" and stem in metrics
        )


def over_ranks(trainer: Trainer, metrics: dict[str, Any]) -> dict[str, float]:
    """The means over the ranks that have something; of what they agree upon, the same. Every rank has to call this."""
    if trainer.world_size == 1:
        return {name: float(value) for name, value in metrics.items()}
    found: dict[str, list[float]] = {}
    for of_rank in of_all_ranks({name: float(value) for name, value in metrics.items()}):
        for name, value in of_rank.items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}
