"""The two halves of a variational autoencoder, fully connected."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from strobe.models.layers import ActivationName, InitName, activation_layer, initialize


class VAENet(nn.Module):
    """Images to the means and log variances of latent numbers, latent numbers to pixels.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        latent: How many latent numbers describe an image.
        hidden: Units of the encoder's hidden layers; the decoder has the same in reverse.
        activation: After each hidden layer.
        init: How weights are drawn.

    Attributes:
        encoder: From images ``(B, C, H, W)`` to means and log variances side by side, ``(B, 2 * latent)``.
        decoder: From ``(B, latent)`` to logits ``(B, C, H, W)``, whose sigmoid is the pixels.
        latent: As given.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        latent: int = 20,
        hidden: Sequence[int] = (512, 256),
        activation: ActivationName = "relu",
        init: InitName = "default",
    ) -> None:
        super().__init__()
        self.latent = latent
        pixels = math.prod(in_shape)
        self.encoder = nn.Sequential(nn.Flatten(), *_layers([pixels, *hidden, 2 * latent], activation))
        widths = [latent, *reversed(hidden), pixels]
        self.decoder = nn.Sequential(*_layers(widths, activation), nn.Unflatten(1, tuple(in_shape)))
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to their reconstructions through the means: pixels in [0, 1]."""
        means = self.encoder(images).chunk(2, dim=1)[0]
        reconstructions: Tensor = self.decoder(means).sigmoid()
        return reconstructions


def _layers(widths: Sequence[int], activation: ActivationName) -> list[nn.Module]:
    """Linear layers between the widths, an activation between each two of them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation_layer(activation)]
    return layers[:-1]
