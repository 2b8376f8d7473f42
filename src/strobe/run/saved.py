"""A run's trained net, with all that it takes to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from strobe.config.saved import damage_named, saved_config
from strobe.config.strangers import Allowed
from strobe.config.targets import problems_with_targets
from strobe.config.values import unresolved
from strobe.errors import CheckpointError, require
from strobe.record.checkpoints import dataset_facts, load_checkpoint, load_state
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.run.build import net_for


@dataclass(frozen=True)
class SavedNet:
    """A trained net, in evaluation mode on the CPU, and what its inputs and outputs mean.

    Attributes:
        net: Maps normalized images ``(B, C, H, W)`` float32 to logits ``(B, classes)``.
        shape: ``(channels, height, width)`` of an image.
        mean: Per channel, of the training images scaled to [0, 1].
        std: Per channel, of the training images scaled to [0, 1].
        classes: Names of the classes, in the order of the logits.
    """

    net: nn.Module
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    def normalized(self, pixels: Tensor) -> Tensor:
        """What the net was trained on, ``(B, C, H, W)`` float32, from ``(B, C, H, W)`` uint8."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)


def saved_net(directory: Path, checkpoint: str = BEST, trust: Sequence[str] = ()) -> SavedNet:
    """The net of a run's checkpoint. The dataset need not be there: the checkpoint tells what it was.

    Args:
        directory: The run directory.
        checkpoint: File under ``checkpoints/``.
        trust: Packages that the config may name a model of although this user has not signed it.

    Raises:
        ConfigError: If the directory is not a run directory, or its model can't be built any more, or not be trusted.
        CheckpointError: If the checkpoint can't be used.
    """
    cfg = saved_config(directory, allowed=Allowed.of(trust), parts=["model"])
    with damage_named(directory):
        require(unresolved(cfg))
        require(problems_with_targets(cfg))
    path = directory / CHECKPOINTS / checkpoint
    saved = load_checkpoint(path)
    facts = dataset_facts(saved, path)
    if facts is None:
        raise CheckpointError(f"{path} does not say what it was trained on: it was made by an earlier version")
    net = net_for(cfg, in_shape=tuple(facts["shape"]), num_classes=len(facts["classes"]))
    state = {key.removeprefix("net."): value for key, value in saved["state_dict"].items() if key.startswith("net.")}
    load_state(
        net,
        {
            key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in state.items()
        },
        path,
    )
    return SavedNet(
        net.eval(),
        shape=tuple(facts["shape"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        classes=tuple(facts["classes"]),
    )
