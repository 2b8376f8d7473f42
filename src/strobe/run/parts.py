"""From a config to the parts of a run: data, net, optimizer and task."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.plugins.precision import DoublePrecision
from omegaconf import DictConfig, OmegaConf
from torch import nn

from strobe.callbacks.optimization import OptimizerFactory, SchedulerFactory
from strobe.config.compose import plain
from strobe.config.tasks import CLASSIFICATION, serves_images
from strobe.config.values import monitored
from strobe.data.datamodule import ImageDataModule
from strobe.data.facts import facts_told
from strobe.errors import CheckpointError, ConfigError, require
from strobe.machine.rank import process_rank
from strobe.models.groups import problems as problems_with_groups
from strobe.record.initial import initial_state, load_into
from strobe.record.settings import is_plain
from strobe.run.factories import (
    Factory,
    refusals_named,
    scaled,
    try_out,
    with_fused_kernel,
)
from strobe.tasks.task import Task

log = logging.getLogger(__name__)


def build_data(cfg: DictConfig) -> LightningDataModule:
    """The datamodule; of a shipped one, no file is touched yet."""
    if not serves_images(cfg.data):
        other: LightningDataModule = Factory("data", cfg.data)()
        return other
    dataset = Factory("data.dataset", cfg.data.dataset)()
    settings = OmegaConf.masked_copy(cfg.data, [key for key in cfg.data if key not in ("dataset", "augmentations")])
    built = {
        name: None if node is None else Factory(f"data.augmentations.{name!s}", node)(num_classes=len(dataset.classes))
        for name, node in (cfg.data.get("augmentations") or {}).items()
    }
    data: LightningDataModule = Factory("data", settings)(dataset=dataset, augmentations=built)
    return data


def facts_of(data: LightningDataModule) -> dict[str, Any]:
    """What a datamodule says of its data: ``in_shape``, ``num_classes``, ...; nothing if it has no ``facts``."""
    with refusals_named("data"):
        try:
            return facts_told(data)
        except OSError as error:
            raise ConfigError(f"data: {error}") from error


def facts_for_task(data: LightningDataModule) -> dict[str, Any]:
    """The same, of images with their mean and deviation, for which a folder of pictures has to be read."""
    facts = facts_of(data)
    if isinstance(data, ImageDataModule) and "mean" not in facts:
        data.prepare_data()
        data.setup()
        facts = facts_of(data)
    return facts


def build_net(cfg: DictConfig, data: LightningDataModule) -> nn.Module | None:
    """The net alone, for ``data``, which is told what it wants its images like; None for a task without one."""
    net = net_for(cfg, facts_of(data))
    wants = getattr(net, "wants", None)
    if wants is not None and isinstance(data, ImageDataModule):
        data.suit(**wants)
    return net


def net_for(cfg: DictConfig, facts: Mapping[str, Any]) -> nn.Module | None:
    """The net alone, for data of which these facts are known; None for a task without one."""
    if cfg.get("model") is None:
        return None
    net: nn.Module = Factory("model", cfg.model)(**facts)
    return net


def begin_from(path: Path, model: LightningModule, *, strict: bool | Sequence[str]) -> None:
    """Give a model the weights of another run, or of a file; says what does not fit.

    Raises:
        ConfigError: If there are none, or something does not fit that has to.
    """
    try:
        loaded = load_into(model, initial_state(path), path, strict=strict)
    except CheckpointError as error:
        raise ConfigError(f"init_from: {error}") from error
    if process_rank() == 0:
        log.info("Begins with %d weights of %s%s", loaded.loaded, path, "".join(f"; {fit}" for fit in loaded.misfits()))


def build_optimizer(
    cfg: DictConfig, trainer: Trainer | None
) -> tuple[OptimizerFactory | None, SchedulerFactory | None]:
    """What makes the optimizer and the schedule, fitted to the trainer and tried out; None where there is none."""
    if cfg.get("optimizer") is None:
        return None, None
    node = OmegaConf.masked_copy(cfg.optimizer, [key for key in cfg.optimizer if key != "groups"])
    optimizer = instantiate(node, _convert_="all")
    require(problems_with_groups(plain(cfg)["optimizer"].get("groups"), optimizer))
    scheduler = None if cfg.get("scheduler") is None else instantiate(cfg.scheduler, _convert_="all")
    if trainer is not None:
        factor = trainer.world_size if cfg.scale_lr else 1
        optimizer = with_fused_kernel(scaled(optimizer, "lr", factor), trainer)
        scheduler = scaled(scheduler, "max_lr", factor)
    try_out(optimizer, scheduler)
    return optimizer, scheduler


def build_model(
    cfg: DictConfig,
    facts: Mapping[str, Any],
    net: nn.Module | None,
    factories: tuple[OptimizerFactory | None, SchedulerFactory | None],
    trainer: Trainer | None = None,
) -> LightningModule:
    """The LightningModule, given what its ``__init__`` names and its node leaves open.

    Args:
        cfg: The config.
        facts: What there is to know of the data.
        net: From `build_net`.
        factories: From `build_optimizer`.
        trainer: What it is to be trained by; None to use it alone.
    """
    node = cfg.get("task") or {"_target_": CLASSIFICATION}
    optimizer, scheduler = factories
    classes = {name: facts[name] for name in ("num_classes",) if name in facts}
    metrics = {
        name: Factory(f"metrics.{name}", metric)(**classes) for name, metric in (cfg.get("metrics") or {}).items()
    }
    offered = {
        "net": net,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "loss": None if cfg.get("loss") is None else Factory("loss", cfg.loss)(**classes),
        "metrics": metrics,
        "monitor": monitored(cfg)[0],
        "compile": bool(cfg.compile),
        "decay_norm_and_bias": cfg.decay_norm_and_bias,
    }
    make = Factory("task", node)
    model: LightningModule = make(**{**facts, **offered})
    if isinstance(model, Task):
        model.measure(metrics)
    if cfg.compile and "compile" not in make.named:
        for part in (net,) if net is not None else model.children():
            part.compile()  # in place: the parameters keep their names, so checkpoints are those of an eager run
    if trainer is not None and isinstance(trainer.precision_plugin, DoublePrecision):
        # Lightning does so after it has loaded a checkpoint, whose weights would be rounded on their way.
        model.double()
    return model


def about(data: LightningDataModule) -> dict[str, Any]:
    """What a checkpoint keeps of its data: with that, a net can be used where the data is not."""
    if isinstance(data, ImageDataModule):
        return {"dataset": data.as_given()}
    return {"facts": {name: value for name, value in facts_of(data).items() if is_plain(value)}}
