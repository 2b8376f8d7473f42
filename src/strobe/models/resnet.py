"""Residual networks for small images."""

from collections.abc import Sequence

from torch import Tensor, nn

from strobe.models.convolutional import ConvolutionalNet
from strobe.models.layers import ActivationName, InitName, NormName, activation_layer, image_shape, norm_layer


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes, through a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, *, stride: int, activation: ActivationName, norm: NormName) -> None:
        super().__init__()
        bias = norm == "none"
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=bias),
            norm_layer(norm, width, dims=2),
            activation_layer(activation),
            nn.Conv2d(width, width, 3, padding=1, bias=bias),
            norm_layer(norm, width, dims=2),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=bias), norm_layer(norm, width, dims=2)
            )
        self.activation = activation_layer(activation)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, width, H / stride, W / stride)``."""
        out: Tensor = self.activation(self.residual(features) + self.shortcut(features))
        return out


class ResNet(ConvolutionalNet):
    """A 3x3 convolution, stages of basic blocks that halve the image, an average over positions.

    ``widths=[16, 32, 64], blocks_per_stage=3`` is the ResNet-20 of the paper's CIFAR experiments (with projections
    where the shape changes), and takes 28x28 as well as 32x32 images.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        widths: Channels of each stage.
        blocks_per_stage: Residual blocks in each stage.
        activation: After each convolution.
        norm: After each convolution, before the activation.
        dropout: Probability before the output.
        init: How weights are drawn.

    Source: He et al.: Deep residual learning for image recognition, 2015, section 4.2.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks_per_stage: int = 2,
        activation: ActivationName = "relu",
        norm: NormName = "batch",
        dropout: float = 0.0,
        init: InitName = "default",
    ) -> None:
        channels = widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(image_shape(in_shape, "ResNet")[0], channels, 3, padding=1, bias=norm == "none"),
            norm_layer(norm, channels, dims=2),
            activation_layer(activation),
        ]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(channels, width, stride=stride, activation=activation, norm=norm))
                channels = width
        super().__init__(layers, channels=channels, num_classes=num_classes, dropout=dropout, init=init)
