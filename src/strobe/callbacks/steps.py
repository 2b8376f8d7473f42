"""Scalars by step for every logger, and the watch for a non-finite loss (NaN or infinite)."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from strobe.callbacks.epoch_line import learning_rate
from strobe.callbacks.finite import ADVICE
from strobe.errors import DivergedError
from strobe.tasks.task import Task


class StepLog(Callback):
    """Every ``trainer.log_every_n_steps`` steps: ``train/loss_step`` and ``lr``; stops a run that has diverged.

    A step is the optimizer's: where gradients of several batches are gathered, its loss is the mean over them.
    Under float16 also ``train/loss_scale`` and ``train/skipped_steps``: a gradient scaler leaves out a step whose
    gradients overflow. Goes to the loggers directly: `LightningModule.log` costs 0.3 ms a call, half of a small net's
    step.
    """

    def __init__(self) -> None:
        self._scaling: _ScaleWatch | None = None
        self._step = 0
        self._skipped_before = 0
        self._gathered: list[Tensor] = []  # losses of the batches since the last step, where several make one

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See whether the precision needs a gradient scaler, and where a resumed run stands."""
        self._step = trainer.global_step
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._scaling = None if scaler is None else _ScaleWatch(scaler, self._skipped_before)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at every n-th step.

        Raises:
            DivergedError: If a loss since the beginning of the epoch was NaN or infinite.
        """
        if self._scaling is not None:
            self._scaling.step()
        step = trainer.global_step
        share = trainer.accumulate_grad_batches
        if share > 1:
            if isinstance(pl_module, Task):
                self._gathered.append(outputs["loss"].detach())  # by which Lightning has divided it
            if step == self._step:
                return
            losses, self._gathered = self._gathered, []
        self._step = step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning doesn't declare it
        if not every or step % every:
            return
        metrics = {}
        if isinstance(pl_module, Task):
            if not math.isfinite(float(pl_module.means["train"].sums["loss"])):
                raise DivergedError(
                    f"the training loss became NaN or infinite by step {step} (epoch {trainer.current_epoch}). {ADVICE}"
                )
            loss = torch.stack(losses).mean() * share if share > 1 else outputs["loss"].detach()
            metrics["train/loss_step"] = float(trainer.strategy.reduce(loss, reduce_op="mean"))  # over ranks
        elif not _is_finite(outputs):
            raise DivergedError(
                f"the training loss is NaN or infinite at step {step} (epoch {trainer.current_epoch}). {ADVICE}"
            )
        if (rate := learning_rate(trainer)) is not None:
            metrics["lr"] = rate
        if self._scaling is not None:
            metrics |= self._scaling.metrics()
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step - 1)

    def state_dict(self) -> dict[str, Any]:
        """How many steps have been left out."""
        return {"skipped": self._skipped_before if self._scaling is None else self._scaling.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._skipped_before = state_dict["skipped"]


def _is_finite(outputs: Any) -> bool:
    """Whether the loss that a step has given is; one that optimizes by hand may give none."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return not isinstance(loss, Tensor) or bool(loss.detach().isfinite().all())


class _ScaleWatch:
    """Counts, on the device, the steps that a gradient scaler has left out: after each of them it lowers its scale."""

    def __init__(self, scaler: torch.amp.GradScaler, skipped: int) -> None:
        self._scaler = scaler
        self._scale = torch.tensor(scaler.get_scale())
        self._skipped = torch.tensor(skipped)

    def step(self) -> None:
        # Private: the public get_scale() copies it to the host, for which every step would wait for the device.
        scale = self._scaler._scale
        if scale is not None:
            self._skipped = self._skipped.to(scale.device) + (scale < self._scale.to(scale.device))
            self._scale = scale.clone()

    @property
    def skipped(self) -> int:
        return int(self._skipped)

    def metrics(self) -> dict[str, float]:
        return {"train/loss_scale": float(self._scale), "train/skipped_steps": float(self._skipped)}
