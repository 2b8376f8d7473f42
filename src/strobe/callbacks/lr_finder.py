"""A sweep of the learning rate within one short training: a curve, and the rate at which the loss falls fastest."""

import csv
import io
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from strobe.callbacks.averaging import WeightAverage
from strobe.callbacks.optimization import Optimization
from strobe.callbacks.recorder import recorder_of
from strobe.errors import ConfigError
from strobe.record.files import replacing, write_atomically
from strobe.tasks.task import Task

PICTURE, CURVE = "lr_find.png", "lr_find.csv"

_RISE = 2.0  # the sweep ends once the loss has risen above its lowest by so many times what it had fallen
_SETTLED = 10  # losses make a first level
_LEAST_FALL = 0.05  # of the first loss; less is noise
_FOR_TRAINING = (EarlyStopping, WeightAverage, WeightAveraging)

log = logging.getLogger(__name__)


class LearningRateSweep(Callback):
    """Raises the rate with every step, exponentially, until the loss explodes; then puts the first weights back.

    Rates of parameter groups are raised in proportion. All of it is the run's own: data, net, optimizer, precision.
    Source: Smith, 'Cyclical Learning Rates for Training Neural Networks', 2017; the suggestion is the steepest place of
    the smoothed curve before its lowest.

    Args:
        min_lr: The rate of the first step.
        max_lr: The rate of the last, if the loss doesn't explode before.
        steps: How many, of the optimizer.
    """

    def __init__(self, *, min_lr: float = 1e-6, max_lr: float = 10.0, steps: int = 200) -> None:
        if not 0 < min_lr < max_lr:
            raise ValueError(f"min_lr={min_lr}: must be above 0 and below max_lr={max_lr}, for example min_lr=1e-6")
        if steps < 20:
            raise ValueError(f"steps={steps}: must be at least 20, for example trainer.max_steps=200")
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.steps = steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._gathered: list[Tensor] = []
        self._shares: list[float] = []  # of each group, in the rate
        self._scale = 1.0
        self._first: dict[str, Tensor] = {}
        self._smoothed = 0.0
        self._beginning = self._lowest = math.inf
        self._counted: tuple[dict[str, Tensor | float], dict[str, int], int] | None = None
        self._done = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that there is a rate to look for, and leave out what is for nets that are to be trained.

        An average would hold the exploded weights for long after the first ones are back.

        Raises:
            ConfigError: If the module builds its optimizers itself.
        """
        if stage == "fit" and _optimization(trainer) is None:
            raise ConfigError(
                f"debug=lr_find: {type(pl_module).__name__} builds its optimizers itself, so there is no optimizer.lr "
                "to look for; try its rates with -m"
            )
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning doesn't declare it
        trainer.callbacks = [each for each in callbacks if not isinstance(each, _FOR_TRAINING)]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the weights, and how the groups' rates compare.

        Raises:
            ConfigError: If the optimizer has no rate.
        """
        optimizer, optimization = trainer.optimizers[0], _optimization(trainer)
        base = optimizer.defaults.get("lr")
        if not base:
            raise ConfigError(f"debug=lr_find: {type(optimizer).__name__} has no lr to look for; choose optimizer=adam")
        recorder_of(trainer).searching = True
        trainer.log_every_n_steps = 0  # type: ignore[attr-defined]  # where a loss is looked at that must be a number
        self._shares = [float(group["lr"]) / float(base) for group in optimizer.param_groups]
        self._scale = float(trainer.world_size) if optimization is not None and optimization.lr_scale != 1 else 1.0
        self._first = {name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items()}
        if trainer.is_global_zero:
            log.info("Raising optimizer.lr from %s to %g in %d steps", typed_rate(self.min_lr), self.max_lr, self.steps)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the rate of the step to come."""
        if self._done:
            return
        rate = self.min_lr * (self.max_lr / self.min_lr) ** (len(self.losses) / (self.steps - 1))
        self.rates[len(self.losses) :] = [rate]
        for group, share in zip(trainer.optimizers[0].param_groups, self._shares, strict=True):
            new = rate * share * self._scale
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(new)
            else:
                group["lr"] = new
        if isinstance(pl_module, Task):
            means = pl_module.means["train"]
            self._counted = dict(means.sums), dict(means.counts), means.count

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss of a step that is complete; end the sweep once it has exploded."""
        if self._done:
            return
        share = trainer.accumulate_grad_batches
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._gathered.append(loss.detach() * share)  # by which Lightning has divided it
        if trainer.global_step == len(self.losses):
            return
        gathered = sum(self._gathered[1:], self._gathered[0]) / len(self._gathered)
        self._gathered = []
        self.losses.append(float(trainer.strategy.reduce(gathered, reduce_op="mean")))
        if self._has_exploded():
            trainer.should_stop = True
            self._forget_last(pl_module)
        if trainer.should_stop or len(self.losses) == self.steps:
            self._finish(trainer, pl_module)

    def _has_exploded(self) -> bool:
        count, loss = len(self.losses), self.losses[-1]
        if not math.isfinite(loss):
            return True
        self._smoothed = 0.9 * self._smoothed + 0.1 * loss  # single losses of small batches jump
        smoothed = self._smoothed / (1 - 0.9**count)
        if count <= _SETTLED:
            self._lowest = self._beginning = smoothed
            return False
        self._lowest = min(self._lowest, smoothed)
        fallen = max(self._beginning - self._lowest, 0.5 * abs(self._beginning))
        return smoothed - self._lowest > _RISE * fallen

    def _forget_last(self, pl_module: LightningModule) -> None:
        """Leave a loss that is no number out of the epoch's mean: here it is nothing to fail for."""
        if isinstance(pl_module, Task) and self._counted is not None and not math.isfinite(self.losses[-1]):
            means = pl_module.means["train"]
            means.sums, means.counts, means.count = self._counted

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._done = True
        pl_module.load_state_dict(self._first)
        if not trainer.is_global_zero:
            return
        directory = recorder_of(trainer).record.directory
        rates, losses = np.array(self.rates), np.array(self.losses)
        finite = np.isfinite(losses)
        rates, losses = rates[finite], losses[finite]
        smoothed = _smooth(losses, self.steps / 50)
        at = steepest(smoothed, margin=self.steps // 50)
        rate = None if at is None else float(rates[at])
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("lr", "loss", "smoothed"), *zip(rates, losses, smoothed, strict=True)])
        write_atomically(directory / CURVE, text.getvalue())
        _draw(rates, losses, smoothed, rate, directory / PICTURE)
        found = (
            "No rate to suggest: the loss has not clearly fallen at any"
            if rate is None
            else f"Suggested: optimizer.lr={typed_rate(rate)}"
        )
        log.info("%s (curve: %s)", found, directory / PICTURE)


def steepest(losses: npt.NDArray[np.float64], *, margin: int) -> int | None:
    """Where smoothed losses fall fastest before their lowest; None if they don't fall.

    Args:
        losses: One for each rate.
        margin: Places at the beginning that don't count, for lack of neighbours.
    """
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest <= margin + 1 or losses[0] - losses[lowest] < _LEAST_FALL * abs(losses[0]):
        return None
    return margin + int(np.gradient(losses)[margin : lowest + 1].argmin())


def typed_rate(rate: float) -> str:
    """Two digits, as one would type them: ``3.2e-3``."""
    digits, exponent = f"{rate:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def _smooth(losses: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float64]:
    """Gaussian means around each place."""
    places = np.arange(len(losses))
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / width) ** 2)
    smoothed: npt.NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return smoothed


def _draw(
    rates: npt.NDArray[np.float64],
    losses: npt.NDArray[np.float64],
    smoothed: npt.NDArray[np.float64],
    rate: float | None,
    path: Path,
) -> None:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="#b8c4d6", linewidth=1, label="loss of a step")
    axes.plot(rates, smoothed, color="#1f4e9c", linewidth=2, label="smoothed")
    if rate is not None:
        axes.axvline(rate, color="#c0392b", linestyle="--", label=f"suggested: {typed_rate(rate)}")
    if len(smoothed):
        low, high = float(smoothed.min()), float(max(smoothed[0], smoothed.min()))
        room = max(high - low, 0.05 * abs(high), 1e-9)
        axes.set_ylim(low - 0.25 * room, high + 0.75 * room)  # the explosion is not what one wants to see
    axes.set(xscale="log", xlabel="optimizer.lr", ylabel="training loss")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _optimization(trainer: Trainer) -> Optimization | None:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning doesn't declare it
    return next((each for each in callbacks if isinstance(each, Optimization)), None)
