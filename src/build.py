"""From a config to objects: the only place that instantiates."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.callbacks.pruning import pruning_callback
from src.callbacks.recorder import EpochRecorder
from src.callbacks.steps import StepLog
from src.callbacks.stop import StopGracefully, StopRequest, StopTogether
from src.callbacks.tensorboard import TensorBoardPages
from src.checkpoints import SafeCheckpointIO
from src.data.datamodule import ImageDataModule
from src.errors import ConfigError
from src.launch import cluster_environments
from src.models.classifier import (
    Classifier,
    OptimizerFactory,
    SchedulerFactory,
    count_parameters,
    missing_step_counts,
)
from src.record import RunRecord

# Optimizers that torch implements as one kernel over all parameters, by device type.
_FUSED = {
    "cpu": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad),
    "cuda": (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD),
}

_PER_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


@dataclass(frozen=True)
class Run:
    """Everything that one experiment is made of."""

    data: ImageDataModule
    model: Classifier
    trainer: Trainer
    recorder: EpochRecorder


def build(cfg: DictConfig, record: RunRecord, stop: StopRequest, *, purge_step: int | None = None) -> Run:
    """Build a run that trains.

    Args:
        cfg: The validated config.
        record: Where the run is written down.
        stop: Tells the fit that someone wants it to end.
        purge_step: For a resumed run: the step from which on TensorBoard is to forget what it has.
    """
    data = build_data(cfg)
    recorder = EpochRecorder(
        record,
        monitor=effective_monitor(cfg),
        mode=cfg.monitor.mode if effective_monitor(cfg) == cfg.monitor.metric else "max",
        save=bool(cfg.trainer.enable_checkpointing),
    )
    callbacks = [
        StepLog(),
        TensorBoardPages(data.in_shape),
        *_callbacks(cfg),
        recorder,
        *pruning_callback(recorder),
        StopGracefully(stop, recorder),
    ]
    loggers = _build_loggers(cfg.logger, record.directory, purge_step)
    # Without a validation set: an empty list of loaders would draw a warning.
    changes: dict[str, Any] = {"limit_val_batches": 0} if cfg.data.val_size == 0 else {}
    changes["enable_checkpointing"] = True  # the recorder is a Checkpoint to Lightning, also when it saves nothing
    trainer = build_trainer(cfg, record.directory, callbacks, loggers, **changes)
    if trainer.world_size > 1:
        trainer.callbacks.append(StopTogether(stop))  # type: ignore[attr-defined]
    _skip_idle_hooks(trainer)
    model = build_model(cfg, data, trainer)
    record.update(parameters=count_parameters(model.net), **_requested_and_effective(cfg, trainer))
    return Run(data, model, trainer, recorder)


def build_data(cfg: DictConfig) -> ImageDataModule:
    """The datamodule; no file is touched yet."""
    augmentations = OmegaConf.to_container(cfg.data.augmentations, resolve=True) if cfg.data.augmentations else {}
    assert isinstance(augmentations, dict)
    dataset = _make("data.dataset", cfg.data.dataset)()
    for node in augmentations.values():
        if node is not None and str(node["_target_"]).endswith(".Mixup"):
            node["num_classes"] = len(dataset.classes)
    settings = OmegaConf.masked_copy(cfg.data, [key for key in cfg.data if key not in ("dataset", "augmentations")])
    built = {
        name: None if node is None else _make(f"data.augmentations.{name!s}", node)()
        for name, node in augmentations.items()
    }
    data: ImageDataModule = _make("data", settings)(dataset=dataset, augmentations=built)
    return data


def build_net(cfg: DictConfig, *, in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The net alone, for images ``(channels, height, width)`` of so many classes."""
    net: nn.Module = _make("model", cfg.model)(in_shape=in_shape, num_classes=num_classes)
    return net


def build_model(cfg: DictConfig, data: ImageDataModule, trainer: Trainer) -> Classifier:
    """The LightningModule: net, optimizer, schedule and loss."""
    factor = trainer.world_size if cfg.scale_lr else 1
    optimizer = _with_fused_kernel(_scaled(instantiate(cfg.optimizer, _convert_="all"), "lr", factor), trainer)
    scheduler = _scaled(instantiate(cfg.scheduler, _convert_="all"), "max_lr", factor)
    _try_out(optimizer, scheduler)
    net = build_net(cfg, in_shape=data.in_shape, num_classes=data.num_classes)
    if cfg.compile:
        net.compile()  # in place: the parameters keep their names, so checkpoints are those of an eager run
    return Classifier(
        net,
        optimizer,
        scheduler,
        _make("loss", cfg.loss)(),
        data.num_classes,
        monitor=effective_monitor(cfg),
        decay_norm_and_bias=cfg.decay_norm_and_bias,
    )


def build_trainer(
    cfg: DictConfig, directory: Path, callbacks: list[Callback], loggers: list[Logger], **changes: Any
) -> Trainer:
    """Lightning's Trainer, told to leave files nowhere but in the run directory.

    Args:
        cfg: The config.
        directory: The run directory.
        callbacks: All of them.
        loggers: All of them.
        changes: Arguments that override the config's.
    """
    plugins = [SafeCheckpointIO(), *_build_each("trainer.plugins", cfg.trainer.plugins)]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins += cluster_environments()
    root = {"default_root_dir": str(directory)} if cfg.trainer.default_root_dir is None else {}
    given = {**root, "callbacks": callbacks, "logger": loggers, "plugins": plugins, **changes}
    settings = OmegaConf.masked_copy(cfg.trainer, [key for key in cfg.trainer if key != "plugins"])
    trainer: Trainer = _make("trainer", settings)(**given)
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher) and launcher.cluster_environment.creates_processes_externally:
        with _refusals_named("trainer"):  # Lightning looks at this when it launches
            launcher.cluster_environment.validate_settings(launcher.num_processes, launcher.num_nodes)
    elif isinstance(launcher, _MultiProcessingLauncher | _SubprocessScriptLauncher):
        trainer.strategy._launcher = None  # the ranks are there already: see `started_ranks`
    return trainer


def effective_monitor(cfg: DictConfig) -> str:
    """The metric that decides which epoch is best: without a validation set, ``val/...`` becomes ``train/acc``."""
    metric = str(cfg.monitor.metric)
    return "train/acc" if metric.startswith("val/") and cfg.data.val_size == 0 else metric


def _requested_and_effective(cfg: DictConfig, trainer: Trainer) -> dict[str, dict[str, Any]]:
    """What the command asked for, and what Lightning made of it: ``16-mixed`` on a CPU trains in ``bf16-mixed``."""
    batch_size = int(cfg.data.batch_size)
    accumulate = trainer.accumulate_grad_batches
    requested = {key: cfg.trainer[key] for key in ("accelerator", "devices", "num_nodes", "strategy", "precision")}
    effective = {
        "accelerator": trainer.strategy.root_device.type,
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "strategy": _strategy_name(trainer),
        "precision": str(trainer.precision),
        "batch_size_per_device": batch_size,
        "global_batch_size": batch_size * trainer.world_size * accumulate,
        "lr": cfg.optimizer.lr * (trainer.world_size if cfg.scale_lr else 1),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "compile": bool(cfg.compile),
    }
    return {"requested": OmegaConf.to_container(OmegaConf.create(requested)), "effective": effective}  # type: ignore[dict-item]


def _strategy_name(trainer: Trainer) -> str:
    """As one would type it; Lightning's DDPStrategy is the one that has no name of its own."""
    strategy = trainer.strategy
    return str(getattr(strategy, "strategy_name", type(strategy).__name__.removesuffix("Strategy").lower()))


def _build_loggers(nodes: Mapping[str, Any] | None, directory: Path, purge_step: int | None) -> list[Logger]:
    loggers = []
    for name, node in (nodes or {}).items():
        if node is None:
            continue
        make = _make(f"logger.{name}", node)
        changes: dict[str, Any] = {"save_dir": str(directory)} if node.get("save_dir") is None else {}
        if purge_step is not None and str(node["_target_"]).endswith("TensorBoardLogger"):
            changes["purge_step"] = purge_step
        loggers.append(make(**changes))
    return loggers


def _skip_idle_hooks(trainer: Trainer) -> None:
    """Take away the per-step hooks that a callback inherits and that do nothing.

    Lightning calls each of them in every step, within a profiler's context: for half a dozen callbacks that is a fifth
    of a small net's step. It passes over a hook that is not callable.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for hook in _PER_STEP_HOOKS:
            if getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook):
                setattr(callback, hook, None)


def _callbacks(cfg: DictConfig) -> list[Callback]:
    built = _build_each("callbacks", cfg.callbacks)
    # Lightning refuses a bar that was asked for twice over: once by callback, once by not being switched off.
    return [each for each in built if cfg.trainer.enable_progress_bar or not isinstance(each, ProgressBar)]


def _build_each(path: str, nodes: Mapping[str, Any] | None) -> list[Any]:
    return [_make(f"{path}.{name}", node)() for name, node in (nodes or {}).items() if node is not None]


def _make(path: str, node: Any) -> Callable[..., Any]:
    """What the node's target makes, given the arguments that no config holds.

    Raises (when called):
        ConfigError: If the class refuses a value.
    """
    factory = instantiate(node, _partial_=True, _convert_="all")

    def made(**arguments: Any) -> Any:
        with _refusals_named(path):
            return factory(**arguments)

    return made


@contextmanager
def _refusals_named(path: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, MisconfigurationException) as error:
        raise ConfigError(f"{path}: {error}") from error


def _try_out(optimizer: OptimizerFactory, scheduler: SchedulerFactory | None) -> None:
    """Make both for one small parameter, so that a value they refuse is found before anything is trained.

    Raises:
        ConfigError: If they refuse one.
    """
    with _refusals_named("optimizer"):
        tried = optimizer([nn.Parameter(torch.zeros(2, 2))])
    if scheduler is not None:
        with _refusals_named("scheduler"):
            schedule = scheduler(tried, **missing_step_counts(scheduler, lambda: 1000))
            if not isinstance(schedule, ReduceLROnPlateau):
                tried.step()
                schedule.step()


def _scaled(factory: Any, argument: str, factor: int) -> Any:
    """The same partial, with one of its numbers multiplied."""
    if factor == 1 or not isinstance(factory, partial) or not isinstance(factory.keywords.get(argument), int | float):
        return factory
    return partial(factory.func, *factory.args, **{**factory.keywords, argument: factory.keywords[argument] * factor})


def _with_fused_kernel(optimizer: OptimizerFactory, trainer: Trainer) -> OptimizerFactory:
    """Where the config leaves ``fused`` open, take torch's one-kernel implementation if it goes with the rest."""
    if not isinstance(optimizer, partial) or optimizer.keywords.get("fused", False) is not None:
        return optimizer
    device = trainer.strategy.root_device.type
    # A fused step unscales gradients itself, so with a gradient scaler they can't be clipped before it.
    clips_scaled = trainer.precision == "16-mixed" and trainer.gradient_clip_val is not None
    excluded = optimizer.keywords.get("foreach") or optimizer.keywords.get("differentiable") or clips_scaled
    if excluded or optimizer.func not in _FUSED.get(device, ()):
        return optimizer
    return partial(optimizer.func, *optimizer.args, **{**optimizer.keywords, "fused": True})
