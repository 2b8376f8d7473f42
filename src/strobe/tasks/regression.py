"""Regression: numbers from inputs."""

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from strobe.errors import ConfigError
from strobe.record.layout import Mode
from strobe.tasks.means import WIDEST
from strobe.tasks.task import Task, at_least_single


class Regression(Task):
    """Trains a net to predict one or several numbers.

    ``mae`` is the mean absolute error and ``rmse`` the root of the mean squared error, over all numbers, in the unit of
    the targets.

    Args:
        net: Maps inputs ``(B, ...)`` to predictions ``(B, num_targets)``.
        loss: Maps predictions and targets to a mean over the batch; None is the squared error.
    """

    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", "mae": "min", "rmse": "min"}

    def __init__(self, net: nn.Module, loss: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net
        self.loss = nn.MSELoss() if loss is None else loss

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs ``(B, ...)`` to predictions ``(B, num_targets)``."""
        predictions: Tensor = self.net(inputs)
        return predictions

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Loss and errors of inputs ``(B, ...)`` and targets ``(B,)`` or ``(B, num_targets)``, any type of number.

        Raises:
            ConfigError: If the net gives another number of predictions than there are targets.
        """
        inputs, targets = batch
        predictions = at_least_single(self.net(inputs))
        targets = targets.to(predictions.dtype)
        if targets.numel() != predictions.numel():
            raise ConfigError(
                f"model: gives predictions of shape {tuple(predictions.shape)} for targets of shape "
                f"{tuple(targets.shape)}; one output per target, as in experiment=mnist_regression: "
                f"+model.num_classes={targets.numel() // len(targets)}"
            )
        predictions = predictions.reshape(targets.shape)
        errors = (predictions - targets).detach().to(WIDEST).reshape(len(targets), -1)
        return {
            "loss": self.loss(predictions, targets),
            "mae": errors.abs().mean(dim=1),
            "rmse": errors.square().mean(dim=1),
            "preds": predictions,
            "target": targets,
        }

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """The root of the mean squared error is taken at the end."""
        return {**means, "rmse": math.sqrt(means["rmse"])}
