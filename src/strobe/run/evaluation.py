"""A run's checkpoint, measured again."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strobe.config.checks import all_problems
from strobe.config.saved import damage_named, loaded, saved_config
from strobe.config.strangers import Allowed
from strobe.data.datamodule import ImageDataModule
from strobe.errors import ConfigError, require
from strobe.record.checkpoints import dataset_facts, load_checkpoint, load_state
from strobe.record.config_file import read_config
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.record.report import read_report
from strobe.run.build import build_data, build_model, build_net, build_trainer
from strobe.run.process import settle_process

log = logging.getLogger(__name__)

_ONE_DEVICE = ("trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto", "trainer.sync_batchnorm=false")
_NOT_NEEDED = (
    *("++callbacks=null", "++logger=null", "++scheduler=null"),
    *("++trainer.plugins=null", "++trainer.profiler=null", "++trainer.default_root_dir=null"),
)
"""What a test does without: it is neither looked at nor built, whatever it names."""


def evaluate(
    directory: Path, overrides: Sequence[str] = (), checkpoint: str = BEST, trust: Sequence[str] = ()
) -> dict[str, float]:
    """Measure a checkpoint on the official test images, on one device, whatever it was trained on; writes nothing.

    Args:
        directory: The run directory.
        overrides: Changes to the run's config, such as ``trainer.accelerator=cpu``.
        checkpoint: File under ``checkpoints/``.
        trust: Packages that the config may name classes of although this user has not signed it.

    Returns:
        ``test/loss`` and ``test/acc``.

    Raises:
        ConfigError: If the directory is not a run directory, its config is not to be trusted, or an override is wrong.
        CheckpointError: If the checkpoint can't be used.
    """
    changes = [*_ONE_DEVICE, *_NOT_NEEDED]
    read_report(directory)
    if loaded(read_config(directory)).trainer.get("accelerator") != "cpu":
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
    model = build_model(cfg, data, build_net(cfg, data), trainer)
    path = directory / CHECKPOINTS / checkpoint
    saved = load_checkpoint(path)
    load_state(model, saved["state_dict"], path)
    _apply_facts(dataset_facts(saved, path), data)
    trainer.test(model, datamodule=data, verbose=False)
    return {name: value for name, value in model.epoch_metrics.items() if name.startswith("test/")}


def _apply_facts(trained: Mapping[str, Any] | None, data: ImageDataModule) -> None:
    """Have the images prepared as those that the net was trained on, whatever set they are of.

    Raises:
        ConfigError: If they have another size, or their classes are others: the logits would not mean them.
    """
    if trained is None:
        return
    data.prepare_data()
    data.setup("test")  # a folder of pictures knows its facts once it has been read
    facts = data.dataset.facts()
    for name, what in (("shape", "images of"), ("classes", "the classes")):
        if facts[name] != trained[name]:
            raise ConfigError(
                f"data.dataset: {data.dataset.title} has {what} {facts[name]}, the net was trained on {trained[name]}: "
                "evaluate it on a set that has the same"
            )
    if (facts["mean"], facts["std"]) != (trained["mean"], trained["std"]):
        data.trained_with = tuple(trained["mean"]), tuple(trained["std"])
        log.warning(
            "Normalized as in training, with mean %s and std %s; those of %s are others",
            *(trained["mean"], trained["std"], data.dataset.title),
        )
