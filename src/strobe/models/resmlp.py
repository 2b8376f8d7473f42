"""Fully connected residual networks."""

import math

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


class ResidualBlock(nn.Module):
    """``x + Linear(dropout(activation(Linear(norm(x)))))``.

    Source: He et al.: Identity mappings in deep residual networks, 2016 (normalization before the layers).
    """

    def __init__(self, width: int, *, activation: ActivationName, norm: NormName, dropout: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            norm_layer(norm, width),
            nn.Linear(width, width),
            activation_layer(activation),
            *dropout_layers(dropout),
            nn.Linear(width, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width)`` to ``(B, width)``."""
        residual: Tensor = self.residual(features)
        return features + residual


class ResMLP(nn.Sequential):
    """A linear layer, ``depth`` residual blocks of two linear layers each, a linear output.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        width: Units throughout.
        depth: Number of blocks.
        activation: Within each block.
        norm: At the beginning of each block, and before the output.
        dropout: Probability within each block.
        init: How weights are drawn.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 256,
        depth: int = 3,
        activation: ActivationName = "relu",
        norm: NormName = "layer",
        dropout: float = 0.0,
        init: InitName = "default",
    ) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(in_shape), width),
            *(ResidualBlock(width, activation=activation, norm=norm, dropout=dropout) for _ in range(depth)),
            norm_layer(norm, width),
            activation_layer(activation),
            nn.Linear(width, num_classes),
        )
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)``."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch's lacks annotations
        return logits
