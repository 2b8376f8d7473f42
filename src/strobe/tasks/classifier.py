"""The one LightningModule: any net, optimizer, schedule and loss."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from strobe.errors import CheckpointError, ConfigError
from strobe.models.optimizers import keep_state_dtypes
from strobe.models.schedules import Course, StretchedLR
from strobe.record import lightning_state
from strobe.tasks.metrics import LossAndAccuracy

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]

_STEP_COUNTS = ("total_steps", "T_max")
"""Arguments by which schedules take their length; filled in with the run's number of steps where they are None."""


class Classifier(LightningModule):
    """Trains a net to name the class of an image.

    Args:
        net: Maps images ``(B, C, H, W)`` to logits ``(B, num_classes)``.
        optimizer: Makes an optimizer from parameters.
        scheduler: Makes a schedule from an optimizer; None keeps the learning rate. A schedule with an argument
            ``total_steps`` advances with every step, as does one whose ``T_max`` is None, and None is replaced by the
            run's number of steps; any other schedule advances once an epoch.
        loss: Maps logits and targets to a mean over the batch.
        num_classes: Number of classes.
        monitor: The metric that a schedule such as ReduceLROnPlateau watches.
        decay_norm_and_bias: Whether weight decay applies to normalization and bias parameters too.

    Attributes:
        epoch_metrics: The latest ``train/loss``, ``val/acc`` and so on, unrounded: Lightning keeps float32.
        images: How many images the latest epoch of each split counted, over all ranks.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        loss: nn.Module | None = None,
        num_classes: int = 10,
        *,
        monitor: str = "val/acc",
        decay_norm_and_bias: bool = True,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.num_classes = num_classes
        self.monitor = monitor
        self.decay_norm_and_bias = decay_norm_and_bias
        self.train_metrics = LossAndAccuracy()
        self.val_metrics = LossAndAccuracy()
        self.test_metrics = LossAndAccuracy()
        self.epoch_metrics: dict[str, float] = {}
        self.images: dict[str, int] = {}
        self._sums_of_epoch: tuple[Tensor, ...] = ()  # of the latest training epoch, as this rank counted it
        self._course: Course | None = None  # along a schedule that is as long as the run
        self._resumed_from: dict[str, Any] | None = None  # parts of a checkpoint
        # Factories stay out of hparams: a pickled partial makes a checkpoint unloadable with weights_only=True.
        self._optimizer = optimizer
        self._scheduler = scheduler
        # Of weights of linear and convolution layers, which are matrices or more, unlike norms and biases. By name,
        # because a strategy that shares the parameters out among ranks makes vectors of them all.
        self._weights = {name for name, parameter in self.named_parameters() if parameter.ndim > 1}

    def __setattr__(self, name: str, value: Any) -> None:
        """As in every module, but for the note that Lightning makes of each hook it calls.

        Fifty of those a step through torch's `Module.__setattr__`, which looks for parameters and buffers, are a tenth
        of a small net's step.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The mean loss of a batch."""
        images, targets = batch
        logits = _at_least_single(self.net(images))
        loss: Tensor = self.loss(logits, targets)
        self.train_metrics.update(loss.detach(), logits.detach(), targets)
        return loss if self.trainer.world_size == 1 else loss * self._share_of_global_batch(len(targets), batch_idx)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means; once an epoch, because every call of `log` costs a third of a step."""
        self._sums_of_epoch = tuple(tensor.clone() for tensor in self._sums)
        self._log_epoch("train", self.train_metrics)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count a batch."""
        self._evaluate(batch, self.val_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation split."""
        self._log_epoch("val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count a batch."""
        self._evaluate(batch, self.test_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the means over the test split."""
        self._log_epoch("test", self.test_metrics)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule; Lightning calls this once the number of steps is known."""
        optimizer = keep_state_dtypes(self._optimizer(self._parameter_groups()))
        if self._scheduler is None:
            return optimizer
        scheduler, counts_steps = self._schedule(optimizer, self._scheduler)
        if isinstance(scheduler, ReduceLROnPlateau):
            # Once an epoch, but counted in steps: that puts it before the epoch's checkpoint, so that a resumed run
            # has seen the same metrics. As an "epoch" schedule Lightning advances it after the checkpoint.
            self.trainer.fit_loop.setup_data()  # builds the loader, which tells the length of an epoch
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": scheduler,
                    "monitor": self.monitor,
                    "interval": "step",
                    "frequency": int(self.trainer.num_training_batches),
                },
            }
        interval = "step" if counts_steps else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an unfinished epoch, over all ranks, and which optimizer the states belong to."""
        sums = self._sums_of_epoch if lightning_state.cut_short(self.trainer) else self._sums
        loss, correct, count = (self.trainer.strategy.reduce(tensor.clone(), reduce_op="sum") for tensor in sums)
        checkpoint["epoch_sums"] = {"loss": float(loss), "correct": int(correct), "count": int(count)}
        checkpoint["optimizer"] = _name(self._optimizer)
        checkpoint["schedule"] = None if self._course is None else self._course.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the sums of an unfinished epoch up again.

        Raises:
            CheckpointError: If the checkpoint was made with another optimizer.
            ConfigError: If the schedule was built before the checkpoint was read, for a run of another length.
        """
        made_with, wanted = checkpoint.get("optimizer"), _name(self._optimizer)
        if made_with != wanted:
            raise CheckpointError(
                f"the checkpoint's optimizer is {made_with}, the config's {wanted}: they can't be mixed"
            )
        self._resumed_from = {key: checkpoint.get(key) for key in ("global_step", "loops", "schedule")}
        saved = checkpoint.get("schedule")
        if self._course is not None and saved is not None and self._course.state() != saved:  # FSDP builds it first
            raise ConfigError("under trainer=fsdp a schedule keeps its length: resume with the length that the run had")
        sums = checkpoint.get("epoch_sums")
        if sums and self.trainer.is_global_zero:  # the others begin at 0: these are the sums over all ranks
            self.train_metrics.loss_sum.fill_(sums["loss"])
            self.train_metrics.correct.fill_(sums["correct"])
            self.train_metrics.count.fill_(sums["count"])

    def _schedule(self, optimizer: Optimizer, factory: SchedulerFactory) -> tuple[LRScheduler, bool]:
        """The schedule, and whether it advances with every step instead of every epoch.

        Raises:
            ConfigError: If it ends before the run does.
        """
        trainer = self.trainer
        steps = missing_step_counts(factory, lambda: int(trainer.estimated_stepping_batches))
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
                    f"{_name(factory)}: {error}, so it can't be taken further: train longer in a new run, "
                    "or at the last rate with scheduler=none"
                ) from None
        self._course = course
        counts = dict.fromkeys(steps, course.length)
        if not course.is_stretched:
            return factory(optimizer, **counts), True
        return StretchedLR(optimizer, lambda stand_in: factory(stand_in, **counts), course), True

    @property
    def _sums(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.train_metrics.loss_sum, self.train_metrics.correct, self.train_metrics.count

    def _share_of_global_batch(self, size: int, batch_idx: int) -> float:
        """What the mean over ``size`` images has to be multiplied by, so that the mean over ranks is one over images.

        1 for every batch but the last, which may not divide by the number of ranks.
        """
        loader = self.trainer.train_dataloader
        assert loader is not None, "training has begun"
        of_all_ranks: int = loader.sampler.global_batch_size(batch_idx)
        return size * self.trainer.world_size / of_all_ranks

    def _evaluate(self, batch: tuple[Tensor, Tensor], metrics: LossAndAccuracy) -> None:
        images, targets = batch
        logits = _at_least_single(self.net(images))
        metrics.update(self.loss(logits, targets), logits, targets)

    def _log_epoch(self, split: str, metrics: LossAndAccuracy) -> None:
        computed = {name: value.item() for name, value in metrics.compute().items()}
        metrics.reset()
        self.images[split] = int(computed.pop("count"))
        if self.images[split] == 0:  # fast_dev_run validates even where there is nothing to validate on
            return
        named = {f"{split}/{name}": value for name, value in computed.items()}
        self.epoch_metrics |= named
        # Reduced over ranks already: Lightning's own averaging would weigh ranks, not images.
        self.log_dict(named)

    def _parameter_groups(self) -> list[Any]:
        parameters = {
            name.replace("_fsdp_wrapped_module.", ""): parameter
            for name, parameter in self.named_parameters()  # of the net, and of a loss that has some
            if parameter.requires_grad
        }
        if self.decay_norm_and_bias:
            return list(parameters.values())
        weights = [parameter for name, parameter in parameters.items() if name in self._weights]
        vectors = [parameter for name, parameter in parameters.items() if name not in self._weights]
        return [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]


def _at_least_single(logits: Tensor) -> Tensor:
    """Half-precision logits as float32: a loss of 2.35 computed in bfloat16 is 2.34375, and so is one of 2.347."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def missing_step_counts(factory: SchedulerFactory, total_steps: Callable[[], int]) -> dict[str, int]:
    """The run's number of steps, for each argument by which a schedule takes its length and that nobody has given."""
    takes, given = _arguments(factory)
    return {name: total_steps() for name in _STEP_COUNTS if name in takes and given.get(name) is None}


def _arguments(factory: SchedulerFactory) -> tuple[set[str], dict[str, Any]]:
    """The names a schedule's class takes, and the arguments already given to it."""
    if isinstance(factory, partial):
        return set(inspect.signature(factory.func).parameters), factory.keywords
    return set(inspect.signature(factory).parameters), {}


def _name(factory: Callable[..., Any]) -> str:
    return str(getattr(factory.func if isinstance(factory, partial) else factory, "__name__", factory))
