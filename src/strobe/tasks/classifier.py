"""Classification: of several classes one, or of several labels any number."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from strobe.errors import ConfigError, first_line
from strobe.record.layout import Mode
from strobe.tasks.means import WIDEST
from strobe.tasks.task import Task, at_least_single


class Classifier(Task):
    """Trains a net to name the class of an example.

    With a loss that takes labels one by one (``loss=bce``), several may be right at once, and ``acc`` is the share of
    labels, over all examples, on whose right side of 0 the logit lies.

    Args:
        net: Maps inputs ``(B, ...)`` to logits ``(B, num_classes)``.
        loss: Maps logits and targets to a mean over the batch; None is cross-entropy.
    """

    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", "acc": "max"}

    def __init__(self, net: nn.Module, loss: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.several_labels = bool(getattr(self.loss, "several_labels", isinstance(self.loss, nn.BCEWithLogitsLoss)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs ``(B, ...)`` to logits ``(B, num_classes)``."""
        logits: Tensor = self.net(inputs)
        return logits

    def setup(self, stage: str) -> None:
        """Look at the targets, where the data shows them, before anything is trained on them.

        Raises:
            ConfigError: If an accuracy would mean nothing.
        """
        for split in getattr(self.trainer.datamodule, "splits", {}).values():  # type: ignore[attr-defined]  # Lightning
            self._require_classes(split.targets, soft=False)

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Loss and accuracy of inputs ``(B, ...)`` and targets.

        Targets are labels ``(B,)`` int64, probabilities of mixed examples ``(B, num_classes)``, of which the largest
        counts, or, with a loss for several labels, ``(B, num_labels)`` of 0 and 1.

        Raises:
            ConfigError: If the targets are none of these.
        """
        inputs, targets = batch
        if targets.ndim != 1 or targets.is_floating_point():
            self._require_classes(targets, soft=True)
        logits = at_least_single(self.net(inputs))
        if logits.ndim != 2 or len(logits) != len(targets):
            raise ConfigError(
                f"model: gives {tuple(logits.shape)} for a batch of {len(targets)}, where a classifier needs logits "
                f"({len(targets)}, num_classes); choose another net, or another task"
            )
        try:
            loss = self.loss(logits, targets)
        except (RuntimeError, ValueError) as error:
            if not _mentions_shape(error):
                raise
            raise ConfigError(
                f"loss: {type(self.loss).__name__} can't compare logits {tuple(logits.shape)} with targets "
                f"{tuple(targets.shape)} of {targets.dtype} ({first_line(error)}); choose loss=cross_entropy "
                "or loss=bce"
            ) from error
        result: dict[str, Any] = {"loss": loss, "preds": logits, "target": targets}
        if self.several_labels and targets.ndim == 2:
            return {**result, "acc": ((logits > 0) == (targets > 0.5)).to(WIDEST).mean(dim=1), "target": targets.long()}
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        return {**result, "acc": logits.argmax(dim=1) == labels, "target": labels}

    def _require_classes(self, targets: Tensor, *, soft: bool) -> None:
        """See to it that the targets are classes.

        Args:
            targets: All or some of them.
            soft: Whether they may be probabilities.
        """
        if targets.ndim == 2 and targets.is_floating_point() and (soft or self.several_labels):
            return
        if targets.ndim == 1 and not targets.is_floating_point():
            return
        further = "task=regression for numbers, loss=bce for labels that don't exclude each other"
        raise ConfigError(
            f"task: the targets are {targets.dtype} of shape {tuple(targets.shape)}; accuracy means something for "
            f"classes alone, one whole number for each example: choose {further}"
        )


def _mentions_shape(error: Exception) -> bool:
    """Whether torch refuses what does not go together; it has no class of errors for that."""
    return any(word in str(error) for word in ("size", "shape", "dtype", "scalar type"))
