"""The network of the classic first PyTorch script."""

import math

from torch import Tensor, nn


class SimpleNN(nn.Sequential):
    """Flatten, Linear(784, 128), ReLU, Linear(128, 10) for MNIST: 101,770 parameters.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        hidden: Units of the hidden layer.
    """

    def __init__(self, *, in_shape: tuple[int, int, int], num_classes: int, hidden: int = 128) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(in_shape), hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch's lacks annotations
        return logits
