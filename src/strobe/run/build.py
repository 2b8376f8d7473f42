"""From a config to objects: the only place that instantiates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf
from torch import nn

from strobe.callbacks.optimization import Optimization, missing_step_counts
from strobe.callbacks.position import Position
from strobe.callbacks.profile import WORDS, Profile
from strobe.callbacks.recorder import EpochRecorder
from strobe.callbacks.steps import StepLog
from strobe.callbacks.stop import StopGracefully, StopRequest
from strobe.callbacks.tensorboard import TensorBoardPages
from strobe.config.compose import plain
from strobe.config.tasks import declared_mode
from strobe.config.values import has_no_validation, monitored, objective
from strobe.data.foreign import adopt
from strobe.data.memory import MemoryDataModule
from strobe.distributed.ranks import cluster_environments, strategy_for_trainer
from strobe.errors import ConfigError, require
from strobe.models.inspection import count_parameters
from strobe.models.unread import without_pretrained_weights
from strobe.record.checkpoints import SafeCheckpointIO
from strobe.record.layout import Mode
from strobe.record.run_record import RunRecord
from strobe.run.economy import NoProfiler, leave_batches_in_place, skip_idle_hooks
from strobe.run.effective import effective_settings
from strobe.run.factories import Factory, build_callbacks, build_each, learning_rate_of, refusals_named
from strobe.run.loggers import keep_whole
from strobe.run.parts import about, begin_from, build_model, build_net, build_optimizer, facts_for_task, facts_of
from strobe.run.watchers import idle_callbacks
from strobe.tasks.task import Task

_REQUESTED = ("accelerator", "devices", "num_nodes", "strategy", "precision")


@dataclass(frozen=True)
class Run:
    """Everything that one experiment is made of.

    Attributes:
        fresh_model: Makes another model like ``model``, untrained.
        objective: The metric that runs are compared by, and whether more or less of it is better.
        in_effect: What is in effect now; callbacks may change it while training runs.
    """

    data: LightningDataModule
    model: LightningModule
    trainer: Trainer
    recorder: EpochRecorder
    fresh_model: Callable[[], LightningModule]
    objective: tuple[str | None, Mode]
    in_effect: Callable[[], dict[str, Any]]


def build(
    cfg: DictConfig,
    data: LightningDataModule,
    net: nn.Module | None,
    record: RunRecord,
    stop: StopRequest,
    *,
    purge_step: int | None = None,
    further_callbacks: Sequence[Callback] = (),
    begins: bool = True,
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
        begins: Whether it begins its training; a run that is resumed gets its weights from its checkpoint.
    """
    metric, mode = monitored(cfg)
    plugins = build_each("trainer.plugins", cfg.trainer.plugins)
    position: Position = data if isinstance(data, MemoryDataModule) else adopt(data, int(cfg.seed))
    recorder = EpochRecorder(
        record,
        position,
        about=partial(about, data),
        monitor=metric,
        mode=mode,
        save=bool(cfg.trainer.enable_checkpointing),
        **(cfg.get("checkpoint") or {}),
    )
    named = build_callbacks(cfg)
    callbacks = [
        StepLog(),
        TensorBoardPages(facts_of(data).get("in_shape")),
        *named.values(),
        recorder,
        *further_callbacks,
        StopGracefully(stop, recorder, next((own for own in plugins if isinstance(own, ClusterEnvironment)), None)),
    ]
    loggers = _build_loggers(cfg.logger, record.directory, purge_step)
    profile = Profile(cfg.trainer.profiler, record.directory) if cfg.trainer.profiler in WORDS else None
    # Without a validation set: an empty list of loaders would draw a warning.
    changes: dict[str, Any] = {"limit_val_batches": 0} if has_no_validation(cfg) else {}
    changes["enable_checkpointing"] = True  # the recorder is a Checkpoint to Lightning, also when it saves nothing
    if profile is not None:
        callbacks.insert(0, profile)
        changes["profiler"] = profile.clock
    trainer = build_trainer(cfg, record.directory, callbacks=callbacks, loggers=loggers, plugins=plugins, **changes)
    optimizer, scheduler = build_optimizer(cfg, trainer)
    model = build_model(cfg, facts_for_task(data), net, (optimizer, scheduler), trainer)
    further, validates = bool(cfg.get("metrics")), not has_no_validation(cfg)

    def better(name: str) -> Mode | None:
        return declared_mode(cfg, name) or (mode if name == metric else None)

    of_task = model.metrics if isinstance(model, Task) else {}
    require(idle_callbacks(named, of_task, better, further=further, validates=validates, logs=bool(loggers)))
    if begins and cfg.get("init_from") is not None:
        begin_from(Path(str(cfg.init_from)).expanduser(), model, strict=plain(cfg)["init_strict"])
    rate = None
    groups = plain(cfg)["optimizer"].get("groups") or () if cfg.get("optimizer") is not None else ()
    if not is_overridden("configure_optimizers", model):
        if optimizer is None:
            raise ConfigError(f"optimizer=null: {type(model).__name__} has none of its own; choose optimizer=adam")
        optimization = Optimization(
            optimizer,
            scheduler,
            monitor=metric,
            decay_norm_and_bias=cfg.decay_norm_and_bias,
            groups=groups,
            lr_scale=trainer.world_size if cfg.scale_lr else 1,
        )
        optimization.serve(model)
        trainer.callbacks.insert(0, optimization)  # type: ignore[attr-defined]  # Lightning doesn't declare it
        rate = learning_rate_of(optimizer)
    elif groups:
        raise ConfigError(f"optimizer.groups: {type(model).__name__} builds its optimizer itself; leave them out")
    elif scheduler is not None and (open_ended := missing_step_counts(scheduler, lambda: 1)):
        raise ConfigError(
            f"scheduler.{next(iter(open_ended))}: {type(model).__name__} builds its schedule itself: give the number "
            "of its steps"
        )
    skip_idle_hooks(trainer, model)
    leave_batches_in_place(trainer, model, data)
    requested = {key: record.config["trainer"][key] for key in _REQUESTED}
    in_effect = partial(effective_settings, trainer, position, lr=rate, compiled=bool(cfg.compile))
    record.update(
        parameters=count_parameters(model if net is None else net), requested=requested, effective=in_effect()
    )
    return Run(
        data,
        model,
        trainer,
        recorder,
        partial(_fresh_model, cfg, data, trainer),
        objective(cfg),
        in_effect,
    )


def _fresh_model(cfg: DictConfig, data: LightningDataModule, trainer: Trainer) -> LightningModule:
    with without_pretrained_weights():
        net = build_net(cfg, data)
        return build_model(cfg, facts_for_task(data), net, build_optimizer(cfg, trainer), trainer)


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
    root: dict[str, Any] = {"default_root_dir": str(directory)} if cfg.trainer.default_root_dir is None else {}
    if cfg.trainer.profiler is None and not cfg.trainer.barebones:
        root["profiler"] = NoProfiler()
    given = {**root, "callbacks": list(callbacks), "logger": list(loggers), "plugins": plugins, **changes}
    own = OmegaConf.is_config(cfg.trainer.strategy)
    given["strategy"] = (
        Factory("trainer.strategy", cfg.trainer.strategy)() if own else strategy_for_trainer(str(cfg.trainer.strategy))
    )
    settings = OmegaConf.masked_copy(cfg.trainer, [key for key in cfg.trainer if key not in ("plugins", "strategy")])
    with refusals_named("trainer"):
        trainer: Trainer = instantiate(settings, _convert_="all", **given)
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
        make = Factory(f"logger.{name}", node)
        # TensorBoard's alone forgets the steps that a resumed run takes again; by its own keywords.
        purge = {"purge_step": purge_step} if purge_step is not None and make.makes(TensorBoardLogger) else {}
        logger = make(save_dir=str(directory), also=purge)
        keep_whole(logger, purge_step)
        loggers.append(logger)
    return loggers
