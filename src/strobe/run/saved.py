"""A run's trained net, with all that it takes to use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from strobe.config.gaps import unresolved
from strobe.config.saved import damage_named, loaded, saved_config
from strobe.config.strangers import Allowed
from strobe.config.targets import problems_with_targets
from strobe.config.tasks import CLASSIFICATION, interface
from strobe.data.picture import Fit
from strobe.data.resized import Resize
from strobe.errors import CheckpointError, ConfigError, require
from strobe.models.unread import without_pretrained_weights
from strobe.record.checkpoints import dataset_facts, load_checkpoint, load_state, plain_name, prefix_of, preparation_of
from strobe.record.config_file import read_config
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.record.report import read_report
from strobe.run.parts import build_model, build_optimizer, net_for

_UNUSED = ("callbacks", "logger", "trainer.plugins", "trainer.profiler", "init_from")
"""What a net that is used alone does without."""


@dataclass(frozen=True)
class SavedNet:
    """A trained net, in evaluation mode on the CPU, and what its inputs and outputs mean.

    Attributes:
        net: Maps normalized inputs ``(B, *shape)`` to outputs; those of images to logits ``(B, classes)``.
        shape: Of an example: ``(channels, height, width)`` of an image.
        mean: Per channel, of the training images scaled to [0, 1]; per column of a table; empty where nothing is known.
        std: Likewise.
        classes: Names of the classes, in the order of the logits; empty if it names none.
        names_pictures: Whether it says which class a picture is of.
        example: One input, where the task says what it looks like.
        stored_shape: Of an image as the data set keeps it; None if it is ``shape``.
        preparation: Of pictures that are to be like the data set's: see `ImageDataset.preparation`.
        fit: How pictures come to have ``stored_shape``: see `read_picture`.
    """

    net: nn.Module
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    names_pictures: bool = True
    example: Tensor | None = None
    stored_shape: tuple[int, int, int] | None = None
    preparation: str | None = None
    fit: Fit = "stretch"

    def normalized(self, pixels: Tensor) -> Tensor:
        """What the net was trained on, ``(B, C, H, W)`` float32, from ``(B, *stored_shape)`` uint8: see `Batches`."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        channels, height, width = self.shape
        resize = Resize((height, width), 3 if channels == 3 else None)
        return resize(pixels.to(torch.float32).div_(255)).sub_(mean).div_(std)

    def require_pictures(self) -> None:
        """See to it that it names the class of pictures.

        Raises:
            ConfigError: If it does something else.
        """
        if not self.names_pictures:
            raise ConfigError("this run's task does not name the class of a picture: there is nothing to predict here")


def saved_net(directory: Path, checkpoint: str = BEST, trust: Sequence[str] = ()) -> SavedNet:
    """The net of a run's checkpoint. The data need not be there: the checkpoint tells what it was.

    It is the task's net, or the whole task where that has none of its own, or its data does not say what goes into it.

    Args:
        directory: The run directory.
        checkpoint: File under ``checkpoints/``.
        trust: Packages that the config may name a model of although this user has not signed it.

    Raises:
        ConfigError: If the directory is not a run directory, its model can't be built any more, not be trusted, or
            nothing says what goes into it.
        CheckpointError: If the checkpoint can't be used.
    """
    read_report(directory)
    path = directory / CHECKPOINTS / checkpoint
    text = read_config(directory)
    written = loaded(text)
    target = str((written.get("task") or {}).get("_target_", CLASSIFICATION))
    has_net = written.get("model") is not None
    cfg = saved_config(directory, allowed=Allowed.of(trust), parts=["model"]) if has_net else None
    if cfg is not None:
        _require_sound(directory, cfg)
    saved = load_checkpoint(path)
    images = dataset_facts(saved, path)
    facts = _facts(images, saved)
    if not facts and target == CLASSIFICATION:
        raise CheckpointError(f"{path} does not say what it was trained on: it was made by an earlier version")
    example: Tensor | None = None
    with without_pretrained_weights():
        if cfg is not None and "in_shape" in facts:
            net = net_for(cfg, facts)
            assert net is not None, "it has one"
            prefix = prefix_of(net.state_dict(), saved["state_dict"]) or "net."
        else:
            net, example = _module(directory, facts, trust)
            prefix = ""
    whole = {plain_name(key): value for key, value in saved["state_dict"].items()}
    state = {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}
    load_state(
        net,
        {
            key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in state.items()
        },
        path,
    )
    classifies = target == CLASSIFICATION or (text.own and "acc" in (interface(written).metrics or {}))
    return SavedNet(
        net.eval(),
        shape=tuple(facts["in_shape"]) if example is None else tuple(example.shape[1:]),
        mean=tuple(facts.get("mean", ())),
        std=tuple(facts.get("std", ())),
        classes=tuple(facts.get("classes", ())) if classifies else (),
        names_pictures=images is not None and classifies,
        example=example,
        stored_shape=tuple(images.get("stored_shape", images["shape"])) if images is not None else None,
        preparation=preparation_of(images) if images is not None else None,
        fit=images.get("fit", "stretch") if images is not None else "stretch",
    )


def _facts(images: Mapping[str, Any] | None, saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its data, as a datamodule would."""
    if images is not None:
        return {**images, "in_shape": tuple(images["shape"]), "num_classes": len(images["classes"])}
    facts = saved.get("facts")
    return dict(facts) if isinstance(facts, Mapping) else {}


def _module(directory: Path, facts: Mapping[str, Any], trust: Sequence[str]) -> tuple[nn.Module, Tensor]:
    """The whole task, and an example of what goes into it."""
    changes = [f"++{key}=null" for key in _UNUSED]
    cfg = saved_config(directory, changes, Allowed.of(trust))
    _require_sound(directory, cfg)
    module = build_model(cfg, facts, net_for(cfg, facts), build_optimizer(cfg, None))
    example: Any = module.example_input_array
    if example is None and "in_shape" in facts:
        example = torch.zeros(1, *facts["in_shape"])
    if isinstance(example, tuple | list | dict):
        raise ConfigError(
            f"{directory}: {type(module).__name__} takes several inputs, by its example_input_array a "
            f"{type(example).__name__} of {len(example)}: only a module that takes one tensor can be used alone"
        )
    if not isinstance(example, Tensor):
        raise ConfigError(
            f"{directory}: nothing says what goes into {type(module).__name__}: give it an example_input_array, a "
            "tensor (1, ...), or its data facts() with in_shape"
        )
    return module, example


def _require_sound(directory: Path, cfg: DictConfig) -> None:
    with damage_named(directory):
        require(unresolved(cfg))
        require(problems_with_targets(cfg))
