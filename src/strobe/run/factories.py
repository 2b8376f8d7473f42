"""Makes what a config names; factories of optimizers and schedules are fitted to the run that they are for."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins.precision import MixedPrecision
from omegaconf import DictConfig
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from strobe.callbacks.optimization import OptimizerFactory, SchedulerFactory, missing_step_counts
from strobe.errors import ConfigError, RunError, first_line

# Optimizers that torch implements as one kernel over all parameters, by device type.
_FUSED = {
    "cpu": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad),
    "cuda": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD),
}


class Factory:
    """What a node's target makes, given those of the arguments on offer that it names and the node leaves open.

    Args:
        path: Where the node stands.
        node: The node.

    Attributes:
        named: The names of its arguments.
    """

    def __init__(self, path: str, node: Any) -> None:
        self.path = path
        with refusals_named(path):
            self.factory: partial[Any] = instantiate(node, _partial_=True, _convert_="all")
        try:
            self.named = set(inspect.signature(self.factory.func).parameters)
        except (TypeError, ValueError):  # a class written in C
            self.named = set()

    def makes(self, kind: type) -> bool:
        """Whether it makes objects of this class."""
        return isinstance(self.factory.func, type) and issubclass(self.factory.func, kind)

    def __call__(self, also: Mapping[str, Any] | None = None, **offered: Any) -> Any:
        """Make it.

        Args:
            also: Arguments that it takes without naming them.
            offered: Arguments that it gets if it names them.

        Raises:
            ConfigError: If the class refuses a value.
        """
        given = {
            name: value
            for name, value in offered.items()
            if name in self.named and self.factory.keywords.get(name) is None
        }
        with refusals_named(self.path):
            return self.factory(**given, **(also or {}))


def build_callbacks(cfg: DictConfig) -> dict[str, Callback]:
    """The callbacks of the config, by their places in it."""
    places = [f"callbacks.{name!s}" for name, node in (cfg.callbacks or {}).items() if node is not None]
    built = zip(places, build_each("callbacks", cfg.callbacks), strict=True)
    # Lightning refuses a bar that was asked for twice over: once by callback, once by not being switched off.
    shows_bar = bool(cfg.trainer.enable_progress_bar)
    return {place: callback for place, callback in built if shows_bar or not isinstance(callback, ProgressBar)}


def build_each(path: str, nodes: Mapping[str, Any] | Sequence[Any] | None) -> list[Any]:
    """What the nodes of a mapping or a list make, in order; null makes nothing."""
    if isinstance(nodes, Mapping | DictConfig):
        named = [(f"{path}.{name!s}", node) for name, node in nodes.items()]
    else:
        named = [(f"{path}[{index}]", node) for index, node in enumerate(nodes or ())]
    return [Factory(place, node)() for place, node in named if node is not None]


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


def learning_rate_of(optimizer: OptimizerFactory) -> float | None:
    """The rate that an optimizer begins with, given or by default; None if it has none."""
    if isinstance(optimizer, partial) and "lr" in optimizer.keywords:
        rate = optimizer.keywords["lr"]
    else:
        func = optimizer.func if isinstance(optimizer, partial) else optimizer
        parameter = inspect.signature(func).parameters.get("lr")
        rate = None if parameter is None else parameter.default
    return float(rate) if isinstance(rate, int | float | torch.Tensor) else None


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
    except ImportError as error:
        raise ConfigError(f"{path}: {first_line(error)}; install what is missing") from error
    except (
        *(ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, LookupError),
        *(MisconfigurationException, HydraException),
    ) as raised:
        # What a node within another one raised, Hydra tells in several lines.
        cause = raised.__cause__ if isinstance(raised, InstantiationException) and raised.__cause__ else raised
        if isinstance(cause, RunError):
            raise cause from raised
        advice = "".join(f"; choose {way}" for word, way in (ways_out or {}).items() if word in str(cause))
        raise ConfigError(f"{path}: {cause}{advice}") from cause
