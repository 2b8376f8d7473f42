"""What a run has left, read back: its config, and its trained net with all that it takes to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from src.errors import CheckpointError, ConfigError
from src.overrides import dotted_keys, nearest
from src.record import BEST, CHECKPOINTS, CONFIG, read_report


@dataclass(frozen=True)
class SavedNet:
    """A trained net, in evaluation mode on the CPU, and what its inputs and outputs mean.

    Attributes:
        net: Maps normalised images ``(B, C, H, W)`` float32 to logits ``(B, classes)``.
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

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the net was trained on, ``(B, C, H, W)`` float32, from ``(B, C, H, W)`` uint8."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)


def saved_config(directory: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """A run's resolved config, with changes.

    Raises:
        ConfigError: If the directory is no run, its config is damaged, or an override names no key.
    """
    read_report(directory)
    try:
        cfg = OmegaConf.load(directory / CONFIG)
        assert isinstance(cfg, DictConfig)
        known = dotted_keys(cfg)
        for override in overrides:
            key = override.partition("=")[0]
            if "=" not in override or key not in known:
                guess = nearest(key, known)
                raise ConfigError(f"{override}: no such key in this run{f'; did you mean {guess}?' if guess else ''}")
        merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))
    except (OSError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{directory / CONFIG} can't be read: {error}") from error
    assert isinstance(merged, DictConfig)
    return merged


def saved_net(directory: Path, checkpoint: str = BEST) -> SavedNet:
    """The net of a run's checkpoint. The dataset need not be there: the checkpoint tells what it was.

    Args:
        directory: The run directory.
        checkpoint: File under ``checkpoints/``.

    Raises:
        ConfigError: If the directory is no run, or its model can't be built any more.
        CheckpointError: If the checkpoint can't be used.
    """
    cfg = saved_config(directory)
    from src.build import build_net
    from src.checkpoints import load_checkpoint, load_state
    from src.targets import problems_with_targets

    if wrong := problems_with_targets(OmegaConf.create({"model": cfg.model})):
        raise ConfigError("\n".join(wrong))
    path = directory / CHECKPOINTS / checkpoint
    saved = load_checkpoint(path)
    facts = saved.get("dataset")
    if facts is None:
        raise CheckpointError(f"{path} does not say what it was trained on: it was made by an earlier version")
    net = build_net(cfg, in_shape=tuple(facts["shape"]), num_classes=len(facts["classes"]))
    state = {key.removeprefix("net."): value for key, value in saved["state_dict"].items() if key.startswith("net.")}
    load_state(net, {key: value.float() if value.is_floating_point() else value for key, value in state.items()}, path)
    return SavedNet(
        net.eval(),
        shape=tuple(facts["shape"]),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        classes=tuple(facts["classes"]),
    )
