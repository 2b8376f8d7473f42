"""A small modern convolutional network."""

from collections.abc import Sequence

from torch import nn

from strobe.models.convolutional import ConvolutionalNet
from strobe.models.layers import ActivationName, InitName, NormName, activation_layer, image_shape, norm_layer


class CNN(ConvolutionalNet):
    """Stages of 3x3 convolutions, halving the image between them, then an average over positions.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        widths: Channels of each stage.
        convs_per_stage: Convolutions in each stage.
        stem_kernel: Side of the first convolution's kernel, odd.
        stem_stride: Of the first convolution; 2 halves the image at once, in place of the first pooling.
        activation: After each convolution.
        norm: Between convolution and activation.
        dropout: Probability before the output.
        init: How weights are drawn.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        convs_per_stage: int = 2,
        stem_kernel: int = 3,
        stem_stride: int = 1,
        activation: ActivationName = "relu",
        norm: NormName = "batch",
        dropout: float = 0.0,
        init: InitName = "default",
    ) -> None:
        layers: list[nn.Module] = []
        channels, _, _ = image_shape(in_shape, "CNN")
        for stage, width in enumerate(widths):
            if stage > 1 or (stage == 1 and stem_stride == 1):
                layers.append(nn.MaxPool2d(2))
            for _ in range(convs_per_stage):
                kernel, stride = (3, 1) if layers else (stem_kernel, stem_stride)
                layers.append(nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=norm == "none"))
                layers += [norm_layer(norm, width, dims=2), activation_layer(activation)]
                channels = width
        super().__init__(layers, channels=channels, num_classes=num_classes, dropout=dropout, init=init)
