"""Whether a net's outputs are those that the data asks for, and the loss takes them: tried with a batch of zeros."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from strobe.config.attempt import Attempt
from strobe.config.parameters import Parameters
from strobe.config.resolving import resolve
from strobe.tasks.classifier import Classifier
from strobe.tasks.regression import Regression

_EXAMPLES = 2  # in the batch that a net is tried with: normalization over a batch of one is an error


def problems_with_outputs(
    task: object, net: nn.Module, loss: nn.Module | None, facts: Mapping[str, Any], node: Mapping[str, Any]
) -> list[str]:
    """What is wrong with the outputs of a net or with what a loss makes of them, in a line; nothing of other tasks.

    Args:
        task: The class.
        net: On the meta device.
        loss: None for none, or where it could not be made.
        facts: Of the data.
        node: That of the net, in the config.
    """
    if not isinstance(task, type):
        return []
    shape, classes = facts.get("in_shape"), facts.get("num_classes")
    numbers = issubclass(task, Regression)
    if shape is None or classes is None or not (numbers or issubclass(task, Classifier)):
        return []
    outputs = classes if not numbers else facts.get("num_outputs", 1)  # a class is one number, to a regression
    several = "images" if len(shape) == 3 else "examples"
    wrong: list[str] = []
    made = None
    inputs = torch.zeros(_EXAMPLES, *shape, device="meta")
    with Attempt(wrong, "model", f"{type(net).__name__} fails on {several} {tuple(shape)}: "), torch.no_grad():
        made = net(inputs)
    if made is None:
        return wrong
    fits = isinstance(made, Tensor) and (
        made.numel() == _EXAMPLES * outputs if numbers else made.shape == (_EXAMPLES, outputs)
    )
    if not fits:
        advice = _advice(node, outputs) if isinstance(made, Tensor) else ""
        why = f"a regression asks for {outputs} of each" if numbers else f"there are {classes} classes"
        return [
            f"model: {type(net).__name__} makes {_described(made)} of {_EXAMPLES} {several} {tuple(shape)}; must be a "
            f"tensor of shape ({_EXAMPLES}, {outputs}), because {why}{advice}"
        ]
    return wrong if loss is None else _problems_with_loss(loss, made, numbers=numbers)


def _problems_with_loss(loss: nn.Module, made: Tensor, *, numbers: bool) -> list[str]:
    wrong: list[str] = []
    value = None
    # Labels that don't exclude each other are a row of 0 and 1 for each image; else a class is a whole number.
    several = getattr(loss, "several_labels", isinstance(loss, nn.BCEWithLogitsLoss))
    targets = torch.zeros_like(made)
    if not numbers and not several:
        targets = torch.zeros(_EXAMPLES, dtype=torch.int64, device="meta")
    words = "predictions" if numbers else "logits"
    with (
        Attempt(wrong, "loss", f"{type(loss).__name__} fails on {words} {tuple(made.shape)}: "),
        torch.no_grad(),
    ):
        value = loss(made, targets)
    if value is not None and not (isinstance(value, Tensor) and value.numel() == 1):
        wrong.append(f"loss: {type(loss).__name__} makes {_described(value)} of a batch; must be one number, the mean")
    return wrong


def _advice(node: Mapping[str, Any], outputs: int) -> str:
    takes = Parameters.of(resolve(node["_target_"]))
    if takes is None or not takes.take("num_classes"):
        return ""
    return f"; {'choose ' if 'num_classes' in node else 'add +'}model.num_classes={outputs}"


def _described(made: object) -> str:
    return (
        f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"an object of {type(made).__name__}"
    )
