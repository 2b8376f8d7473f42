"""The two convolutional networks of a generative adversarial network."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from strobe.models.layers import dropout_layers


class Generator(nn.Module):
    """A linear layer makes a small map of features; each further layer doubles its height and width.

    Source: after Radford et al. 2016 (DCGAN), https://arxiv.org/abs/1511.06434.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        latent: Of how many numbers an image is made.
        widths: Channels of the small map and of those after it, one for each doubling.
    """

    def __init__(self, *, in_shape: tuple[int, int, int], latent: int, widths: Sequence[int] = (32, 16)) -> None:
        super().__init__()
        channels, self.height, self.width = in_shape
        small = [math.ceil(side / 2 ** len(widths)) for side in in_shape[1:]]
        layers: list[nn.Module] = [
            nn.Linear(latent, widths[0] * math.prod(small)),
            nn.Unflatten(1, (widths[0], *small)),
        ]
        for inputs, outputs in zip(widths, [*widths[1:], channels], strict=True):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.to(memory_format=torch.channels_last)  # a third faster on CPUs, and what tensor cores want

    def forward(self, latents: Tensor) -> Tensor:
        """Map ``(B, latent)`` to images ``(B, C, H, W)`` in [-1, 1]."""
        images: Tensor = self.layers(latents)
        return images[:, :, : self.height, : self.width]  # doubling may overshoot


class Discriminator(nn.Sequential):
    """Convolutions that halve height and width, then a linear layer.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        widths: Channels after each convolution.
        dropout: Probability after each convolution.
    """

    def __init__(
        self, *, in_shape: tuple[int, int, int], widths: Sequence[int] = (16, 32), dropout: float = 0.0
    ) -> None:
        channels, height, width = in_shape
        layers: list[nn.Module] = []
        for outputs in widths:
            layers += [nn.Conv2d(channels, outputs, 4, 2, 1), nn.LeakyReLU(0.2), *dropout_layers(dropout)]
            channels, height, width = outputs, height // 2, width // 2
        if not height * width:
            raise ValueError(f"widths={list(widths)}: {len(widths)} halvings leave nothing of images of {in_shape[1:]}")
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * height * width, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` in [-1, 1] to logits of being real, ``(B,)``."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch's lacks annotations
        return logits.flatten()
