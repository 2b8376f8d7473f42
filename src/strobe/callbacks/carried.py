"""Metrics that a module keeps over epochs, such as the best accuracy so far: they are part of where a run stands."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torchmetrics import Metric

from strobe.record import lightning_state
from strobe.tasks.states import set_state, state_of
from strobe.tasks.task import Task


def carried_metrics(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    """The states of those torchmetrics of a module that nobody resets with the epoch, by their names in it."""
    reset = lightning_state.metrics_reset_by_lightning(trainer)
    carried = {}
    for name, metric in _metrics(pl_module):
        if id(metric) not in reset and metric.update_count:
            carried[name] = {"updates": metric.update_count, "state": state_of(metric)}
    return carried


def restore_metrics(pl_module: LightningModule, carried: Mapping[str, Any]) -> None:
    """Set what `carried_metrics` returned."""
    for name, metric in _metrics(pl_module):
        if name in carried:
            set_state(metric, carried[name]["state"])
            metric._update_count = carried[name]["updates"]  # it has no other way to know that it holds something
            metric._computed = None


def _metrics(pl_module: LightningModule) -> Iterator[tuple[str, Metric]]:
    """The module's own: those of the config are counted, and kept, by the task."""
    for name, module in pl_module.named_modules():
        if isinstance(module, Metric) and not (isinstance(pl_module, Task) and name.startswith("measures.")):
            yield name, module
