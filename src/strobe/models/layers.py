"""What the networks share: activations, normalization and initialization, chosen by name."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "square"]
NormName = Literal["none", "batch", "layer"]
InitName = Literal["default", "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal"]


class SquareFunction(torch.autograd.Function):
    """``y = x * x``, with its derivative written by hand: a worked example of a custom autograd function.

    `forward` saves what `backward` needs through the context, never as an attribute: saved tensors are checked for
    in-place changes and freed in time. `backward` gets the gradient of the loss by the output and returns the gradient
    by each input. It is made of differentiable operations itself, so second derivatives work, and `vmap` tells
    `torch.func` that the function acts on each element alone.
    """

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        """Any shape."""
        return values * values

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep the input for `backward`."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        """``dL/dx = 2 x dL/dy``."""
        (values,) = ctx.saved_tensors
        gradient: Tensor = 2 * values * grad_outputs[0]
        return gradient

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None], values: Tensor) -> tuple[Tensor, int | None]:
        """Elementwise: a batch of inputs is one larger input."""
        return square(values), in_dims[0]


def square(values: Tensor) -> Tensor:
    """``values * values`` through `SquareFunction`."""
    squared: Tensor = SquareFunction.apply(values)
    return squared


class Square(nn.Module):
    """The activation ``y = x * x``."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape."""
        return square(values)


_ACTIVATIONS: dict[ActivationName, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "square": Square,
}

_INITS: dict[InitName, Callable[[Tensor], Any]] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


def activation_layer(name: ActivationName) -> nn.Module:
    """A new activation module."""
    return _ACTIVATIONS[name]()


def norm_layer(name: NormName, features: int, *, dims: Literal[1, 2] = 1) -> nn.Module:
    """A new normalization of ``features`` channels for ``(B, F)`` (``dims=1``) or ``(B, F, H, W)`` (``dims=2``)."""
    match name:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm1d(features) if dims == 1 else nn.BatchNorm2d(features)
        case "layer":
            # One group over all channels and positions is layer normalization for images.
            return nn.LayerNorm(features) if dims == 1 else nn.GroupNorm(1, features)


def dropout_layers(probability: float) -> Sequence[nn.Module]:
    """A dropout layer, or none where it would do nothing."""
    return [nn.Dropout(probability)] if probability > 0 else []


def image_shape(in_shape: Sequence[int], net: str) -> tuple[int, int, int]:
    """``(channels, height, width)``, of what is an image.

    Raises:
        ValueError: If it is something else.
    """
    if len(in_shape) != 3:
        raise ValueError(f"{net} takes images, the data has examples of shape {tuple(in_shape)}; choose model=mlp")
    channels, height, width = in_shape
    return channels, height, width


def pooled_head(channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """From feature maps ``(B, channels, H, W)`` of any size to logits ``(B, num_classes)``: mean, dropout, linear."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout_layers(dropout), nn.Linear(channels, num_classes)
    )


def initialize(net: nn.Module, init: InitName) -> None:
    """Draw the weights of linear and convolution layers anew and zero their biases; ``default`` is torch's own."""
    if init == "default":
        return
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _INITS[init](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
