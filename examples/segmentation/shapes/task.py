"""Segmentation: the class of every pixel."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shapes.data import CLASSES
from strobe.tasks.task import Task


class Segmentation(Task):
    """Trains a net to name the class of each pixel.

    ``iou`` is the mean over classes of intersection over union: of the pixels that are of a class, or are said to be,
    the share that are both. Both are counted over the whole split: the mean of the pictures' own would be another
    figure, and none at all for a class that a picture lacks.

    Args:
        net: Maps pictures ``(B, C, H, W)`` to logits ``(B, classes, H, W)``.
    """

    metrics: ClassVar[Mapping[str, Any]] = {
        "loss": "min",
        "iou": "max",
        **{f"iou_{name}": "max" for name in CLASSES},
        "pixel_acc": "max",
    }

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures ``(B, C, H, W)`` to logits ``(B, classes, H, W)``."""
        logits: Tensor = self.net(pictures)
        return logits

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """The loss of pictures ``(B, C, H, W)`` and labels ``(B, H, W)``, and pixels of each class in each picture."""
        pictures, labels = batch
        logits = self.net(pictures)
        said = logits.detach().argmax(dim=1)
        values = {
            "loss": F.cross_entropy(logits, labels),
            "pixel_acc": (said == labels).double().mean(dim=(1, 2)),
        }
        for index, name in enumerate(CLASSES):
            is_said, is_so = said == index, labels == index
            values[f"both_{name}"] = (is_said & is_so).sum(dim=(1, 2))
            values[f"either_{name}"] = (is_said | is_so).sum(dim=(1, 2))
        return values

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """Ratios of the mean numbers of pixels, which are those of all the pixels of the split."""
        ious = {
            f"iou_{name}": means[f"both_{name}"] / means[f"either_{name}"]
            for name in CLASSES
            if means[f"either_{name}"] > 0  # a class that is neither there nor said to be has none
        }
        return {
            "loss": means["loss"],
            "iou": torch.tensor(list(ious.values()), dtype=torch.float64).mean().item(),
            **ious,
            "pixel_acc": means["pixel_acc"],
        }
