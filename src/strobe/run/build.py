"""From a config to objects: the only place that instantiates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import DoublePrecision
from omegaconf import DictConfig, OmegaConf
from torch import nn

from strobe.callbacks.recorder import EpochRecorder
from strobe.callbacks.steps import StepLog
from strobe.callbacks.stop import StopGracefully, StopRequest
from strobe.callbacks.tensorboard import TensorBoardPages
from strobe.config.values import monitored, objective
from strobe.data.datamodule import ImageDataModule
from strobe.distributed.launch import cluster_environments, strategy_for_trainer
from strobe.models.inspection import count_parameters
from strobe.record.checkpoints import SafeCheckpointIO
from strobe.record.layout import Mode
from strobe.record.run_record import RunRecord
from strobe.run.effective import effective_settings
from strobe.run.factories import refusals_named, scaled, try_out, with_fused_kernel
from strobe.run.loggers import keep_whole
from strobe.tasks.classifier import Classifier

_REQUESTED = ("accelerator", "devices", "num_nodes", "strategy", "precision")

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
    """Everything that one experiment is made of.

    Attributes:
        fresh_model: Makes another model like ``model``, untrained.
        objective: The metric that runs are compared by, and whether more or less of it is better.
        in_effect: What is in effect now; callbacks may change it while training runs.
    """

    data: ImageDataModule
    model: Classifier
    trainer: Trainer
    recorder: EpochRecorder
    fresh_model: Callable[[], Classifier]
    objective: tuple[str, Mode]
    in_effect: Callable[[], dict[str, Any]]


def build(
    cfg: DictConfig,
    data: ImageDataModule,
    net: nn.Module,
    record: RunRecord,
    stop: StopRequest,
    *,
    purge_step: int | None = None,
    further_callbacks: Sequence[Callback] = (),
) -> Run:
    """Build a run that trains.

    Args:
        cfg: The validated config.
        data: From `build_data`.
        net: From `build_net`.
        record: Where the run is written down.
        stop: Tells the fit that someone wants it to end.
        purge_step: For a resumed run: the step from which on TensorBoard is to forget what it has.
        further_callbacks: Beside those that every run has and those of the config.
    """
    metric, mode = monitored(cfg)
    plugins = _build_each("trainer.plugins", cfg.trainer.plugins)
    recorder = EpochRecorder(
        record, monitor=metric, mode=mode, save=bool(cfg.trainer.enable_checkpointing), **(cfg.get("checkpoint") or {})
    )
    callbacks = [
        StepLog(),
        TensorBoardPages(data.in_shape),
        *_callbacks(cfg),
        recorder,
        *further_callbacks,
        StopGracefully(stop, recorder, next((own for own in plugins if isinstance(own, ClusterEnvironment)), None)),
    ]
    loggers = _build_loggers(cfg.logger, record.directory, purge_step)
    # Without a validation set: an empty list of loaders would draw a warning.
    changes: dict[str, Any] = {"limit_val_batches": 0} if cfg.data.val_size == 0 else {}
    changes["enable_checkpointing"] = True  # the recorder is a Checkpoint to Lightning, also when it saves nothing
    trainer = build_trainer(cfg, record.directory, callbacks=callbacks, loggers=loggers, plugins=plugins, **changes)
    _skip_idle_hooks(trainer)

    def model_of(net: nn.Module) -> Classifier:
        return build_model(cfg, data, net, trainer)

    model = model_of(net)

    def in_effect() -> dict[str, Any]:
        lr = cfg.optimizer.lr * (trainer.world_size if cfg.scale_lr else 1)
        return effective_settings(trainer, batch_size=data.batch_size, lr=lr, compiled=bool(cfg.compile))

    requested = {key: record.config["trainer"][key] for key in _REQUESTED}
    record.update(parameters=count_parameters(model.net), requested=requested, effective=in_effect())
    return Run(data, model, trainer, recorder, lambda: model_of(build_net(cfg, data)), objective(cfg), in_effect)


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


def build_net(cfg: DictConfig, data: ImageDataModule) -> nn.Module:
    """The net alone, for the images of ``data``."""
    return net_for(cfg, in_shape=data.in_shape, num_classes=data.num_classes)


def net_for(cfg: DictConfig, *, in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The net alone, for images ``(channels, height, width)`` of so many classes."""
    net: nn.Module = _make("model", cfg.model)(in_shape=in_shape, num_classes=num_classes)
    return net


def build_model(cfg: DictConfig, data: ImageDataModule, net: nn.Module, trainer: Trainer) -> Classifier:
    """The LightningModule: net, optimizer, schedule and loss."""
    factor = trainer.world_size if cfg.scale_lr else 1
    optimizer = with_fused_kernel(scaled(instantiate(cfg.optimizer, _convert_="all"), "lr", factor), trainer)
    scheduler = scaled(instantiate(cfg.scheduler, _convert_="all"), "max_lr", factor)
    try_out(optimizer, scheduler)
    if cfg.compile:
        net.compile()  # in place: the parameters keep their names, so checkpoints are those of an eager run
    model = Classifier(
        net,
        optimizer,
        scheduler,
        _make("loss", cfg.loss)(),
        data.num_classes,
        monitor=monitored(cfg)[0],
        decay_norm_and_bias=cfg.decay_norm_and_bias,
    )
    if isinstance(trainer.precision_plugin, DoublePrecision):
        # Lightning does so after it has loaded a checkpoint, whose weights would be rounded on their way.
        model.double()
    return model


def build_trainer(
    cfg: DictConfig,
    directory: Path,
    *,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    plugins: Sequence[Any] = (),
    **changes: Any,
) -> Trainer:
    """Lightning's Trainer, told to leave files nowhere but in the run directory.

    Args:
        cfg: The config.
        directory: The run directory.
        callbacks: All of them.
        loggers: All of them.
        plugins: Those of the config.
        changes: Arguments that override the config's.
    """
    plugins = [SafeCheckpointIO(), *plugins]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins += cluster_environments()
    root = {"default_root_dir": str(directory)} if cfg.trainer.default_root_dir is None else {}
    given = {**root, "callbacks": list(callbacks), "logger": list(loggers), "plugins": plugins, **changes}
    given["strategy"] = strategy_for_trainer(str(cfg.trainer.strategy))
    settings = OmegaConf.masked_copy(cfg.trainer, [key for key in cfg.trainer if key not in ("plugins", "strategy")])
    trainer: Trainer = _make("trainer", settings)(**given)
    cluster = getattr(trainer.strategy, "cluster_environment", None)  # a strategy of one device has none
    if isinstance(cluster, ClusterEnvironment):
        with refusals_named("trainer"):  # Lightning looks at this when it launches
            cluster.validate_settings(trainer.num_devices, trainer.num_nodes)
    return trainer


def _build_loggers(nodes: Mapping[str, Any] | None, directory: Path, purge_step: int | None) -> list[Logger]:
    loggers = []
    for name, node in (nodes or {}).items():
        if node is None:
            continue
        make = _make(f"logger.{name}", node)
        changes: dict[str, Any] = {"save_dir": str(directory)} if node.get("save_dir") is None else {}
        if purge_step is not None and str(node["_target_"]).endswith("TensorBoardLogger"):
            changes["purge_step"] = purge_step
        logger = make(**changes)
        keep_whole(logger, purge_step)
        loggers.append(logger)
    return loggers


def _skip_idle_hooks(trainer: Trainer) -> None:
    """Take away the per-step hooks that a callback of ours inherits and that do nothing.

    Lightning calls each of them in every step, within a profiler's context: for half a dozen callbacks that is a fifth
    of a small net's step. It passes over a hook that is not callable.
    """
    ours = (callback for callback in trainer.callbacks if type(callback).__module__.startswith("strobe."))  # type: ignore[attr-defined]
    for callback in ours:
        for hook in _PER_STEP_HOOKS:
            if getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook):
                setattr(callback, hook, None)


def _callbacks(cfg: DictConfig) -> list[Callback]:
    built = _build_each("callbacks", cfg.callbacks)
    # Lightning refuses a bar that was asked for twice over: once by callback, once by not being switched off.
    shows_bar = bool(cfg.trainer.enable_progress_bar)
    return [callback for callback in built if shows_bar or not isinstance(callback, ProgressBar)]


def _build_each(path: str, nodes: Mapping[str, Any] | None) -> list[Any]:
    return [_make(f"{path}.{name}", node)() for name, node in (nodes or {}).items() if node is not None]


def _make(path: str, node: Any) -> Callable[..., Any]:
    """What the node's target makes, given the arguments that no config holds.

    Raises (when called):
        ConfigError: If the class refuses a value.
    """
    factory = instantiate(node, _partial_=True, _convert_="all")

    def make(**arguments: Any) -> Any:
        with refusals_named(path):
            return factory(**arguments)

    return make
