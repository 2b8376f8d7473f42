"""A small U-Net."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """Gives each pixel logits, from what is near it and, by way of a coarser picture, from what is further away.

    Args:
        in_shape: Of a picture: ``(channels, height, width)``; both sides must divide by 4.
        num_classes: Number of logits of a pixel.
        width: Channels at full size; twice and four times as many where the picture is coarser.

    Source: Ronneberger, Fischer, Brox, U-Net, 2015; here with two levels, padding, and batch normalization.
    """

    def __init__(self, in_shape: Sequence[int], num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.down1 = block(in_shape[0], width)
        self.down2 = block(width, 2 * width)
        self.bottom = block(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=2, stride=2)
        self.join2 = block(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2)
        self.join1 = block(2 * width, width)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, num_classes, H, W)``."""
        fine = self.down1(pictures)
        coarse = self.down2(self.pool(fine))
        bottom = self.bottom(self.pool(coarse))
        coarse = self.join2(torch.cat([coarse, self.up2(bottom)], dim=1))
        fine = self.join1(torch.cat([fine, self.up1(coarse)], dim=1))
        logits: Tensor = self.head(fine)
        return logits


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two convolutions that keep height and width."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
