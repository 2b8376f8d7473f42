"""Averages of a net's weights over its training; they are what is validated, kept and tested."""

import logging
from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from strobe.errors import ConfigError

CURRENT = "current_state_dict"
"""Where a checkpoint keeps the weights that training goes on with; its ``state_dict`` holds the averaged ones."""

_HALVES = (torch.float16, torch.bfloat16)

log = logging.getLogger(__name__)


class WeightAverage(Callback, ABC):
    """Keeps an average of the weights, and has it in their place whenever they are looked at.

    Training goes on with the weights themselves. Validation sees the average, so the best epoch is the average's best;
    the ``state_dict`` of every checkpoint is the average, so that is what is tested, evaluated, exported and begun
    from; a resumed run finds the weights themselves beside it. Running statistics of normalization layers are averaged
    like weights. Of weights in 16 bits the average is kept in 32, where a small share is not rounded away.

    What is logged in training is of the weights themselves: without a validation set, the best epoch is theirs too.
    """

    def __init__(self) -> None:
        self.updates = 0
        self._step = 0
        self._average: dict[str, Tensor] = {}  # none before it begins
        self._set_aside: dict[str, Tensor] = {}  # the weights themselves, while the average is in their place
        self._places: dict[str, tuple[nn.Module, str]] = {}  # of what is averaged, in the module

    @abstractmethod
    def share(self, trainer: Trainer) -> float | None:
        """How much the weights count in the average after the step that was just taken; None leaves it as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that every rank has the whole net.

        Raises:
            ConfigError: If the ranks share it out.
        """
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy):
            raise ConfigError(
                f"callbacks: {type(self).__name__} needs the whole net on every device, which "
                f"{type(trainer.strategy).__name__} shares out: choose trainer=ddp, or leave the callback out"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have what a checkpoint gave where the weights are."""
        # Looked up once: a module's state_dict in every step would cost more than the average.
        self._places = _places(pl_module)
        own = _at(self._places)
        self._average = {name: average.to(own[name].device) for name, average in self._average.items()}
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let the weights into the average, once for each step of the optimizer and before any validation."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        share = self.share(trainer)
        if share is None:
            return
        self.updates += 1
        current = _at(self._places)
        if self._average:
            _mix(self._average, current, share)
        else:
            self._average = {name: _exact(tensor) for name, tensor in current.items()}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the place of the weights."""
        if self._average:
            current = _at(_places(pl_module))
            self._set_aside = {name: tensor.detach().clone() for name, tensor in current.items()}
            _copy(self._average, current)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back; the recorder saves after this."""
        _copy(self._set_aside, _at(_places(pl_module)))
        self._set_aside = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the net: all is saved, and without checkpoints this is what is tested."""
        _copy(self._average, _at(_places(pl_module)))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the net, and the weights themselves beside it."""
        if not self._average:
            return
        names = {id(tensor): name for name, tensor in _at(_places(pl_module)).items()}
        saved = checkpoint["state_dict"]
        tied = (*pl_module.named_parameters(remove_duplicate=False), *pl_module.named_buffers(remove_duplicate=False))
        averaged = {name: self._average[names[id(tensor)]] for name, tensor in tied if id(tensor) in names}
        checkpoint[CURRENT] = saved
        checkpoint["state_dict"] = {name: averaged.get(name, value) for name, value in saved.items()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take both up again; the net holds the average now."""
        if CURRENT in checkpoint:
            self._average = {name: checkpoint["state_dict"][name].clone() for name in _at(_places(pl_module))}
            pl_module.load_state_dict(checkpoint[CURRENT])

    def state_dict(self) -> dict[str, Any]:
        """How often the average has taken something in."""
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.updates = state_dict["updates"]


class ExponentialAverage(WeightAverage):
    """An exponential moving average (EMA), updated with every step from the first on.

    Args:
        decay: What is left of the average in a step, from 0 to below 1. In the first steps less is, ``(1 + n) / (10 +
            n)`` in step n, so that the beginning is forgotten.
    """

    def __init__(self, *, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be a number from 0 to below 1, for example decay=0.999")
        self.decay = decay

    def share(self, trainer: Trainer) -> float:
        """The rest of the decay."""
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))


class EqualAverage(WeightAverage):
    """Stochastic weight averaging (SWA): the mean of the weights at the ends of the last epochs, and of the training.

    Source: Izmailov et al., 'Averaging Weights Leads to Wider Optima and Better Generalization', 2018. The learning
    rate is the schedule's affair; the paper keeps it constant and high.

    Args:
        start: Share of the training after which the first epoch counts, from 0 to below 1. Until an epoch counts, the
            weights are validated and kept as they are.
    """

    def __init__(self, *, start: float = 0.75) -> None:
        super().__init__()
        if not 0 <= start < 1:
            raise ValueError(f"start={start}: must be a share from 0 to below 1, for example start=0.75")
        self.start = start

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that the run has a length.

        Raises:
            ConfigError: If only the clock ends it.
        """
        super().setup(trainer, pl_module, stage)
        if (trainer.max_epochs or -1) < 0 and trainer.max_steps < 0:
            raise ConfigError(
                "callbacks: EqualAverage begins after a share of the training, and nobody knows how long this is: "
                "give trainer.max_epochs or trainer.max_steps"
            )

    def share(self, trainer: Trainer) -> float | None:
        """At the end of an epoch that counts, or of all steps: as much as each one before."""
        done = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
        if (trainer.max_epochs or -1) > 0:
            assert trainer.max_epochs is not None
            done = max(done, (trainer.current_epoch + 1) / trainer.max_epochs)
        # Once it has begun it goes on: a run that is resumed to train longer has another end.
        is_end = trainer.is_last_batch or 0 < trainer.max_steps <= trainer.global_step
        return 1 / (self.updates + 1) if is_end and (self.updates > 0 or done > self.start) else None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it if there was nothing to average."""
        super().on_train_end(trainer, pl_module)
        if self.updates == 0 and trainer.is_global_zero:
            log.warning(
                "EqualAverage has averaged nothing: the training ended before start=%s of it was done; the weights are "
                "those of any other run",
                self.start,
            )


def _places(module: LightningModule) -> dict[str, tuple[nn.Module, str]]:
    """Where what is averaged is found: a module's parameters, and the buffers that checkpoints hold."""
    saved = module.state_dict()
    names = [name for name, _ in (*module.named_parameters(), *module.named_buffers()) if name in saved]
    split = {name: name.rpartition(".") for name in names}
    return {name: (module.get_submodule(owner), own) for name, (owner, _, own) in split.items()}


def _at(places: dict[str, tuple[nn.Module, str]]) -> dict[str, Tensor]:
    """What is there now: many a module puts a new tensor in the place of a buffer."""
    return {name: getattr(owner, own) for name, (owner, own) in places.items()}


def _exact(tensor: Tensor) -> Tensor:
    """A copy to average in."""
    return tensor.detach().to(torch.float32 if tensor.dtype in _HALVES else tensor.dtype, copy=True)


@torch.no_grad()
def _mix(average: dict[str, Tensor], current: dict[str, Tensor], share: float) -> None:
    """Move an average towards the weights by a share of the way; counters are taken as they are."""
    buffers: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
    weights = []
    for name, tensor in current.items():
        own = average[name]
        if not own.is_floating_point():
            own.copy_(tensor)
        elif isinstance(tensor, nn.Parameter):
            weights.append((own, tensor.to(own.dtype)))
        else:
            buffers.setdefault((own.device, own.dtype), []).append((own, tensor.to(own.dtype)))
    if weights:
        mix = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
        mix(*map(list, zip(*weights, strict=True)), None)
    for pairs in buffers.values():  # many and small: end to end they are one
        own, tensor = (torch.cat([each.flatten() for each in side]) for side in zip(*pairs, strict=True))
        # A mask of minus infinity is no way from itself.
        mixed = torch.where(tensor == own, own, own.lerp(tensor, share))
        for (kept, _), part in zip(pairs, torch.split(mixed, [each.numel() for each, _ in pairs]), strict=True):
            kept.copy_(part.view_as(kept))


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """In place: an optimizer and a compiled net hold on to the tensors."""
    for name, tensor in source.items():
        target[name].copy_(tensor)
