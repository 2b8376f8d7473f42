"""Factories of optimizers and schedules, fitted to the run that they are for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from strobe.errors import ConfigError
from strobe.tasks.classifier import OptimizerFactory, SchedulerFactory, missing_step_counts

# Optimizers that torch implements as one kernel over all parameters, by device type.
_FUSED = {
    "cpu": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad),
    "cuda": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD),
}


def try_out(optimizer: OptimizerFactory, scheduler: SchedulerFactory | None) -> None:
    """Make both for one small parameter, so that a value they refuse is found before anything is trained.

    Raises:
        ConfigError: If they refuse one.
    """
    with refusals_named("optimizer"):
        tried = optimizer([nn.Parameter(torch.zeros(2, 2))])
    if scheduler is not None:
        with refusals_named("scheduler", {"cycle_momentum": "scheduler.cycle_momentum=false"}):
            schedule = scheduler(tried, **missing_step_counts(scheduler, lambda: 1000))
            if not isinstance(schedule, ReduceLROnPlateau):
                tried.step()
                schedule.step()


def scaled(factory: Any, argument: str, factor: int) -> Any:
    """The same partial, with one of its numbers multiplied."""
    if factor == 1 or not isinstance(factory, partial) or not isinstance(factory.keywords.get(argument), int | float):
        return factory
    return partial(factory.func, *factory.args, **{**factory.keywords, argument: factory.keywords[argument] * factor})


def with_fused_kernel(optimizer: OptimizerFactory, trainer: Trainer) -> OptimizerFactory:
    """Where the config leaves ``fused`` open, take torch's one-kernel implementation if it goes with the rest.

    Raises:
        ConfigError: If the config asks for it, and it does not.
    """
    if isinstance(optimizer, partial) and optimizer.keywords.get("fused") and _clips_mixed(trainer):
        raise ConfigError(
            f"optimizer.fused=true: under precision {trainer.precision}, a fused step takes no clipped gradients; "
            "leave it out, or add trainer.gradient_clip_val=null"
        )
    if not isinstance(optimizer, partial) or optimizer.keywords.get("fused", False) is not None:
        return optimizer
    device = trainer.strategy.root_device.type
    excluded = optimizer.keywords.get("foreach") or optimizer.keywords.get("differentiable") or _clips_mixed(trainer)
    if excluded or optimizer.func not in _FUSED.get(device, ()):
        return optimizer
    return partial(optimizer.func, *optimizer.args, **{**optimizer.keywords, "fused": True})


def _clips_mixed(trainer: Trainer) -> bool:
    """Whether gradients are clipped under mixed precision, in which Lightning refuses that for any fused optimizer."""
    return isinstance(trainer.precision_plugin, MixedPrecision) and trainer.gradient_clip_val is not None


@contextmanager
def refusals_named(path: str, ways_out: Mapping[str, str] | None = None) -> Iterator[None]:
    """Have what a class refuses refused as a setting.

    Args:
        path: Where it stands in the config.
        ways_out: A word of a refusal -> the override that mends it.

    Raises:
        ConfigError: In place of what the class raised.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, MisconfigurationException) as error:
        advice = "".join(f"; choose {way}" for word, way in (ways_out or {}).items() if word in str(error))
        raise ConfigError(f"{path}: {error}{advice}") from error
