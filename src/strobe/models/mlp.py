"""Fully connected networks of any depth."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from strobe.models.layers import (
    ActivationName,
    InitName,
    NormName,
    activation_layer,
    dropout_layers,
    initialize,
    norm_layer,
)


class MLP(nn.Sequential):
    """Linear, normalization, activation, dropout, as often as ``hidden`` has entries, then a linear output.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        hidden: Units of each hidden layer; empty gives a linear classifier.
        activation: After each hidden layer.
        norm: Before each activation.
        dropout: Probability after each activation.
        init: How weights are drawn.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        hidden: Sequence[int] = (256, 256),
        activation: ActivationName = "relu",
        norm: NormName = "none",
        dropout: float = 0.0,
        init: InitName = "default",
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        features = math.prod(in_shape)
        for units in hidden:
            layers.append(nn.Linear(features, units))
            if norm != "none":
                layers.append(norm_layer(norm, units))
            layers.append(activation_layer(activation))
            layers.extend(dropout_layers(dropout))
            features = units
        super().__init__(*layers, nn.Linear(features, num_classes))
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch's lacks annotations
        return logits
