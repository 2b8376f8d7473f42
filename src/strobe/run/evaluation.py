"""A run's checkpoint, measured again."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import OmegaConf

from strobe.callbacks.logged import over_ranks
from strobe.config.checks import all_problems
from strobe.config.saved import damage_named, loaded, saved_config
from strobe.config.strangers import Allowed
from strobe.data.datamodule import ImageDataModule
from strobe.data.foreign import adopt
from strobe.data.memory import MemoryDataModule
from strobe.errors import CheckpointError, ConfigError, require
from strobe.models.unread import without_pretrained_weights
from strobe.record.checkpoints import dataset_facts, load_checkpoint, load_state
from strobe.record.config_file import read_config, shortened
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.record.report import read_report
from strobe.run.build import build_trainer
from strobe.run.parts import build_data, build_model, build_net, build_optimizer, facts_for_task, facts_of
from strobe.run.process import settle_process
from strobe.tasks.task import Task

log = logging.getLogger(__name__)

_ONE_DEVICE = ("trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto", "trainer.sync_batchnorm=false")
_NOT_NEEDED = (
    *("++callbacks=null", "++logger=null", "++scheduler=null", "++init_from=null"),
    *("++trainer.plugins=null", "++trainer.profiler=null", "++trainer.default_root_dir=null"),
)
"""What a test does without: it is neither looked at nor built, whatever it names."""

_NONSENSE = "the checkpoint is damaged: what it says of the data that it was trained on makes no sense"

_MUST_AGREE = (
    *(("shape", "images of"), ("classes", "the classes"), ("features", "the columns")),
    *(("categorical", "the texts"), ("kind", "targets that are")),
)
"""Facts of two sets that have to be the same for a net to be used on either."""


def evaluate(
    directory: Path, overrides: Sequence[str] = (), checkpoint: str = BEST, trust: Sequence[str] = ()
) -> dict[str, float]:
    """Measure a checkpoint on the test split, on one device, whatever it was trained on; writes nothing.

    Args:
        directory: The run directory.
        overrides: Changes to the run's config, such as ``trainer.accelerator=cpu``.
        checkpoint: File under ``checkpoints/``.
        trust: Packages that the config may name classes of although this user has not signed it.

    Returns:
        What the task logs in its test, such as ``test/loss`` and ``test/acc``.

    Raises:
        ConfigError: If the directory is not a run directory, its config is not to be trusted, or an override is wrong.
        CheckpointError: If the checkpoint can't be used.
    """
    return tested(*prepared(directory, overrides, checkpoint, trust))


def prepared(
    directory: Path, overrides: Sequence[str] = (), checkpoint: str = BEST, trust: Sequence[str] = ()
) -> tuple[Trainer, LightningModule, LightningDataModule]:
    """What a test of a checkpoint takes, ready for `tested`; the arguments are those of `evaluate`.

    Raises:
        ConfigError: If the directory is not a run directory, its config is not to be trusted, or an override is wrong.
        CheckpointError: If the checkpoint can't be used.
    """
    changes = [*_ONE_DEVICE, *_NOT_NEEDED]
    read_report(directory)
    written: Any = OmegaConf.to_container(loaded(read_config(directory)), resolve=False)
    if written["trainer"].get("accelerator") != "cpu":
        changes.append("trainer.accelerator=auto")  # the machine may be another one
    fixed = {change.partition("=")[0] for change in _ONE_DEVICE}
    if several := [override for override in overrides if override.partition("=")[0].lstrip("+~") in fixed]:
        raise ConfigError(f"{several[0]}: an evaluation runs on one device; leave it out")
    cfg = saved_config(directory, [*changes, *overrides], Allowed.of(trust, overrides))
    with damage_named(directory):
        require(all_problems(cfg))
    settle_process(seed=cfg.seed, matmul_precision=cfg.get("matmul_precision", "highest"))
    data = build_data(cfg)
    trainer = build_trainer(
        cfg,
        directory,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        fast_dev_run=False,
        barebones=False,
    )
    with without_pretrained_weights():
        net = build_net(cfg, data)
        model = build_model(cfg, facts_for_task(data), net, build_optimizer(cfg, trainer), trainer)
    path = directory / CHECKPOINTS / checkpoint
    saved = load_checkpoint(path)
    load_state(model, saved["state_dict"], path)
    _apply_facts(dataset_facts(saved, path) or saved.get("facts"), data)
    if (why := untestable(model, data)) is not None:
        raise ConfigError(f"{directory} can't be evaluated: {why}")
    if not isinstance(data, MemoryDataModule):
        adopt(data, int(cfg.seed))
    return trainer, model, data


def tested(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> dict[str, float]:
    """What a test logs, over all ranks and loaders."""
    logged = {
        name: value
        for of_loader in trainer.test(model, datamodule=data, verbose=False)
        for name, value in of_loader.items()
    }
    own = model.epoch_metrics if isinstance(model, Task) else {}
    return {
        **over_ranks(trainer, {name: value for name, value in logged.items() if name not in own}),
        **{name: own[name] for name in logged if name in own},
    }


def untestable(model: LightningModule, data: LightningDataModule) -> str | None:
    """Why there is no test, if there is none."""
    if not is_overridden("test_step", model):
        return f"{type(model).__name__} has no test_step"
    if not is_overridden("test_dataloader", data, LightningDataModule):
        return f"{type(data).__name__} has no test_dataloader"
    return None


def _apply_facts(trained: Mapping[str, Any] | None, data: LightningDataModule) -> None:
    """Have images or rows prepared as those that the net was trained on, whatever set they are of.

    Raises:
        ConfigError: If they have another size, or their classes are others: the outputs would not mean them.
    """
    if trained is not None and not isinstance(trained, Mapping):
        raise CheckpointError(_NONSENSE)
    if not trained or "mean" not in trained or not hasattr(data, "trained_with"):
        return
    data.prepare_data()
    data.setup("test")  # a folder of pictures knows its facts once it has been read
    facts = data.as_given() if isinstance(data, ImageDataModule) else facts_of(data)
    for name, what in _MUST_AGREE:
        if name in trained and facts.get(name) != trained[name]:
            raise ConfigError(
                f"data: {facts['title']} has {what} {facts.get(name)}, the net was trained on {trained[name]}: "
                "evaluate it on a set that has the same"
            )
    own, theirs = ([each.get("mean"), each.get("std")] for each in (facts, trained))
    if not all(map(_are_numbers, [*own, *theirs])) or [len(each or ()) for each in own] != [
        len(each or ()) for each in theirs
    ]:
        raise CheckpointError(_NONSENSE)
    if own != theirs:
        data.trained_with = tuple(trained["mean"]), tuple(trained["std"])
        log.warning(
            "Normalized as in training, with mean %s and std %s; those of %s are others",
            *(shortened(str(trained["mean"])), shortened(str(trained["std"])), facts["title"]),
        )


def _are_numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and all(type(value) in (int, float) for value in values)
