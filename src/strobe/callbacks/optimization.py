"""The optimizer and the schedule that the config names, for a module that has none of its own."""

import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from types import MethodType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from strobe.errors import CheckpointError, ConfigError
from strobe.models.groups import Groups, freeze, parameter_groups
from strobe.models.optimizers import keep_state_dtypes
from strobe.models.schedules import Course, StretchedLR
from strobe.record import lightning_state

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]

_STEP_COUNTS = ("total_steps", "T_max")
"""Arguments by which schedules take their length; filled in with the run's number of steps where they are None."""


class Optimization(Callback):
    """Gives a module its ``configure_optimizers``, and keeps in checkpoints what a resumed run has to know of it.

    The optimizer gets all of the module's parameters that are to be trained, the loss's too.

    Args:
        optimizer: Makes an optimizer from parameters.
        scheduler: Makes a schedule from an optimizer; None keeps the learning rate. A schedule with an argument
            ``total_steps`` advances with every step, as does one whose ``T_max`` is None, and None is replaced by the
            run's number of steps; any other schedule advances once an epoch.
        monitor: The metric that a schedule such as ReduceLROnPlateau watches.
        decay_norm_and_bias: Whether weight decay applies to normalization and bias parameters too.
        groups: Options for parameters by patterns of their names: see `strobe.models.groups`.
        lr_scale: What the rates of groups are multiplied by, as the optimizer's own has been already.
    """

    def __init__(
        self,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        *,
        monitor: str | None = None,
        decay_norm_and_bias: bool = True,
        groups: Groups = (),
        lr_scale: float = 1.0,
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.monitor = monitor
        self.decay_norm_and_bias = decay_norm_and_bias
        self.groups = groups
        self.lr_scale = lr_scale
        self._weights: set[str] = set()
        self._course: Course | None = None  # along a schedule that is as long as the run
        self._resumed_from: dict[str, Any] | None = None  # parts of a checkpoint

    def serve(self, module: LightningModule) -> None:
        """Have Lightning ask this for the module's optimizer; what is to be frozen is from here on.

        Raises:
            ConfigError: If a pattern of a group matches nothing, or nothing is left to train.
        """
        freeze(module.named_parameters(), self.groups)
        # Of weights of linear and convolution layers, which are matrices or more, unlike norms and biases. By name,
        # because a strategy that shares the parameters out among ranks makes vectors of them all.
        self._weights = {name for name, parameter in module.named_parameters() if parameter.ndim > 1}
        module.configure_optimizers = MethodType(self.configure, module)  # type: ignore[method-assign]

    def configure(self, module: LightningModule) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule; Lightning calls this once the number of steps is known."""
        optimizer = keep_state_dtypes(self.optimizer(self._parameter_groups(module)))
        if self.scheduler is None:
            return optimizer
        factory = _with_rates_of_groups(self.scheduler, optimizer) if self.groups else self.scheduler
        scheduler, counts_steps = self._schedule(module.trainer, optimizer, factory)
        if isinstance(scheduler, ReduceLROnPlateau):
            # Once an epoch, but counted in steps: that puts it before the epoch's checkpoint, so that a resumed run
            # has seen the same metrics. As an "epoch" schedule Lightning advances it after the checkpoint.
            module.trainer.fit_loop.setup_data()  # builds the loader, which tells the length of an epoch
            if module.trainer.num_training_batches == math.inf:
                raise ConfigError(
                    "scheduler=plateau: the data doesn't say how long an epoch is: choose scheduler=none, or give "
                    "trainer.limit_train_batches=<batches>"
                )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": scheduler,
                    "monitor": self.monitor,
                    "interval": "step",
                    "frequency": int(module.trainer.num_training_batches),
                },
            }
        interval = "step" if counts_steps else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep which optimizer the states belong to, and how long the schedule is."""
        checkpoint["optimizer"] = name_of(self.optimizer)
        checkpoint["schedule"] = None if self._course is None else self._course.state()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """See that the checkpoint's states are for this optimizer; remember what its schedule was.

        Raises:
            CheckpointError: If the checkpoint was made with another optimizer.
            ConfigError: If the schedule was built before the checkpoint was read, for a run of another length.
        """
        made_with, wanted = checkpoint.get("optimizer"), name_of(self.optimizer)
        if made_with != wanted:
            raise CheckpointError(
                f"the checkpoint's optimizer is {made_with}, the config's {wanted}: they can't be mixed"
            )
        self._resumed_from = {key: checkpoint.get(key) for key in ("global_step", "loops", "schedule")}
        saved = checkpoint.get("schedule")
        if self._course is not None and saved is not None and self._course.state() != saved:  # FSDP builds it first
            raise ConfigError("under trainer=fsdp a schedule keeps its length: resume with the length that the run had")

    def _schedule(self, trainer: Trainer, optimizer: Optimizer, factory: SchedulerFactory) -> tuple[LRScheduler, bool]:
        """The schedule, and whether it advances with every step instead of every epoch.

        Raises:
            ConfigError: If it ends before the run does.
        """
        steps = missing_step_counts(factory, lambda: _length_of(trainer))
        if not steps:
            scheduler, takes_steps = factory(optimizer), "total_steps" in _arguments(factory)[0]
            if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < (
                own := trainer.estimated_stepping_batches
            ):
                raise ConfigError(
                    f"scheduler.total_steps={scheduler.total_steps}: the run has {own} steps, and this schedule none "
                    "beyond its end; choose scheduler.total_steps=null"
                )
            return scheduler, takes_steps
        (end,) = set(steps.values())
        course, saved = Course.new(end), (self._resumed_from or {}).get("schedule")
        if self._resumed_from is not None and saved is not None:
            step = int(self._resumed_from["global_step"])
            end = step + lightning_state.steps_left(trainer, self._resumed_from)
            try:
                course = Course(**saved).to(step, end)
            except ValueError as error:
                raise ConfigError(
                    f"{name_of(factory)}: {error}, so it can't be taken further: train longer in a new run, "
                    "or at the last rate with scheduler=none"
                ) from None
        self._course = course
        counts = dict.fromkeys(steps, course.length)
        if not course.is_stretched:
            return factory(optimizer, **counts), True
        return StretchedLR(optimizer, lambda stand_in: factory(stand_in, **counts), course), True

    def _parameter_groups(self, module: LightningModule) -> list[Any]:
        if self.groups:
            return parameter_groups(
                module.named_parameters(),
                self.groups,
                optimizer=self.optimizer,
                weights=None if self.decay_norm_and_bias else self._weights,
                lr_scale=self.lr_scale,
            )
        parameters = {
            name.replace("_fsdp_wrapped_module.", ""): parameter
            for name, parameter in module.named_parameters()  # of the net, and of a loss that has some
            if parameter.requires_grad
        }
        if self.decay_norm_and_bias:
            return list(parameters.values())
        weights = [parameter for name, parameter in parameters.items() if name in self._weights]
        vectors = [parameter for name, parameter in parameters.items() if name not in self._weights]
        return [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]


def missing_step_counts(factory: SchedulerFactory, total_steps: Callable[[], int]) -> dict[str, int]:
    """The run's number of steps, for each argument by which a schedule takes its length and that nobody has given."""
    takes, given = _arguments(factory)
    return {name: total_steps() for name in _STEP_COUNTS if name in takes and given.get(name) is None}


def _length_of(trainer: Trainer) -> int:
    """The run's number of optimizer steps.

    Raises:
        ConfigError: If nobody knows it.
    """
    steps = trainer.estimated_stepping_batches
    if not 1 <= steps < math.inf:
        raise ConfigError(
            "scheduler: it is as long as the run, and the data doesn't say how long an epoch is: set "
            "trainer.max_steps or trainer.limit_train_batches"
        )
    return int(steps)


def name_of(factory: Callable[..., Any]) -> str:
    """Of the class that a factory makes an object of."""
    return str(getattr(factory.func if isinstance(factory, partial) else factory, "__name__", factory))


def _with_rates_of_groups(factory: SchedulerFactory, optimizer: Optimizer) -> SchedulerFactory:
    """The same schedule, its highest rate for each group in proportion to the rate that the group has."""
    if not isinstance(factory, partial) or not isinstance(factory.keywords.get("max_lr"), int | float):
        return factory
    highest, own = float(factory.keywords["max_lr"]), float(optimizer.defaults["lr"])
    rates = [highest * float(group["lr"]) / own for group in optimizer.param_groups]
    return partial(factory.func, *factory.args, **{**factory.keywords, "max_lr": rates})


def _arguments(factory: SchedulerFactory) -> tuple[set[str], dict[str, Any]]:
    """The names a schedule's class takes, and the arguments already given to it."""
    if isinstance(factory, partial):
        return set(inspect.signature(factory.func).parameters), factory.keywords
    return set(inspect.signature(factory).parameters), {}
