"""Where a run that is resumed continues, found before anything of it is touched."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from omegaconf import DictConfig, OmegaConf
from torch import nn

from strobe.callbacks.averaging import CURRENT, WeightAverage
from strobe.config.compose import plain
from strobe.config.resolving import found
from strobe.config.rules import plainly
from strobe.config.saved import loaded
from strobe.config.values import seconds
from strobe.errors import CheckpointError, ConfigError
from strobe.machine.secrets import is_masked
from strobe.record.checkpoints import load_checkpoint, newest_checkpoint, plain_name, prefix_of, state_problems
from strobe.record.config_file import read_config
from strobe.record.find import has_checkpoint
from strobe.record.layout import CHECKPOINTS
from strobe.record.lightning_state import saved_epochs
from strobe.record.report import EarlyStop, Report, read_report
from strobe.record.settings import leaves

log = logging.getLogger(__name__)

_FIXED = (
    *("seed", "monitor", "task", "metrics", "optimizer", "scheduler", "loss", "decay_norm_and_bias"),
    *("data._target_", "data.dataset", "data.val_size", "data.split_seed", "data.seed", "data.shuffle"),
    *(f"data.{name}" for name in ("path", "test_path", "target", "kind", "features", "drop", "categorical")),
    *("data.test_size", "data.normalize"),
)
"""Settings that a resumed run keeps: its checkpoint holds what came of them, or its numbers would mean other things."""


_AVERAGING = {CURRENT: WeightAverage, "current_model_state": WeightAveraging}
"""Where a checkpoint of averaged weights keeps those that training goes on with, and the class that wrote them."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a run continues.

    Attributes:
        checkpoint: From which.
        step: It was taken after so many steps.
        recorder: What the recorder's `state_dict` was then.
        trained: Whether all that is left is the test.
        loops: How far Lightning had counted: see `strobe.record.lightning_state.stand_at`.
    """

    checkpoint: Path
    step: int
    recorder: dict[str, Any]
    trained: bool
    loops: dict[str, Any]


def resume_point(directory: Path, cfg: DictConfig, net: nn.Module | None) -> ResumePoint | None:
    """Where to continue; None for the beginning, of a run that was ended before it had saved anything.

    Args:
        directory: The run directory.
        cfg: What is to be trained.
        net: As the config describes it; None where the task has none.

    Raises:
        ConfigError: If the directory is not a run directory, the run has ended, or it can't go on with other settings.
        CheckpointError: If no checkpoint is usable, or the newest has another net.
    """
    old = read_report(directory)
    text = read_config(directory)
    before = OmegaConf.to_container(loaded(text), resolve=text.own)  # of a stranger's, nothing is looked up here
    if changed := _changed(before, cfg):
        raise ConfigError("\n".join(changed))
    if _has_saved_nothing(directory, old):
        log.warning("%s was ended before its first checkpoint: it begins anew", directory)
        return None
    path = newest_checkpoint(directory / CHECKPOINTS)
    checkpoint = load_checkpoint(path)
    if any(key in checkpoint and not _averages(cfg, kind, checkpoint) for key, kind in _AVERAGING.items()):
        raise ConfigError(
            f"callbacks: {directory} averages its weights, and its checkpoints hold the average: a resumed run goes on "
            "with the callback that it began with; leave callbacks as they were"
        )
    if net is not None:
        _require_same_model(path, checkpoint, net)
    try:
        recorder = checkpoint["callbacks"]["EpochRecorder"]
        epochs, step = saved_epochs(checkpoint), int(checkpoint["global_step"])
        stopped: EarlyStop | None = recorder["stopped_early"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} can't be resumed from: what it says of the training lacks {error}") from None
    done = _reached(cfg, epochs, step)
    if done is None and (stopped is None or not _still_stopped(stopped, cfg, checkpoint)):
        log.info("Resuming %s at epoch %d, step %d", directory, epochs + 1, step)
        return ResumePoint(path, step, {**recorder, "stopped_early": None}, trained=False, loops=checkpoint["loops"])
    if old["status"] == "completed":
        if done is None:
            assert stopped is not None, "one of the two has ended it"
            why = f"was stopped early by {stopped['by']} in epoch {stopped['epoch'] + 1} ({stopped['reason']})"
            further = f"train on with {_way_on(stopped, cfg, epochs)}"
        else:
            why = f"has trained {done}"
            longer = f"trainer.max_steps={2 * step}" if done.endswith("steps") else f"trainer.max_epochs={epochs + 5}"
            further = (
                f"its schedule has ended with it, so train longer in a new run with {longer}"
                if checkpoint.get("schedule")
                else f"train longer with {longer}"
            )
        raise ConfigError(f"{directory} {why}, so there is nothing to resume: {further}")
    log.info("Resuming %s at its test", directory)
    return ResumePoint(path, step, recorder, trained=True, loops=checkpoint["loops"])


def _has_saved_nothing(directory: Path, report: Report) -> bool:
    """Whether a run was ended before its first checkpoint; one whose checkpoints are gone has named one as its best."""
    best = report.get("best")
    named = best is not None and best["checkpoint"] is not None
    return report["status"] != "completed" and not named and not has_checkpoint(directory)


def _changed(old: Any, new: DictConfig) -> list[str]:
    """The settings that differ from those of the run and must not, a line each."""
    before, after = dict(leaves(old)), dict(leaves(plain(new)))
    # Without a schedule the rate stays as it is: an honest way on.
    fixed = [name for name in _FIXED if name != "scheduler" or new.scheduler is not None]
    keys = [
        key
        for key in {**before, **after}
        if key in fixed or key.startswith(tuple(f"{name}." for name in fixed))
        if before.get(key) != after.get(key) and not is_masked(before.get(key))
    ]
    classes = [key.removesuffix("_target_") for key in keys if key.endswith("_target_")]
    keys = [key for key in keys if key.endswith("_target_") or not key.startswith(tuple(classes))]
    return [
        f"{key}={plainly(after.get(key))}: a resumed run goes on with what it began with, {plainly(before.get(key))}; "
        "leave it out, or start a new run"
        for key in keys
    ]


def _reached(cfg: DictConfig, epochs: int, steps: int) -> str | None:
    """What has been trained, if that is all there is to train; else None."""
    max_epochs, max_steps = cfg.trainer.max_epochs, cfg.trainer.max_steps
    if max_steps not in (None, -1) and steps >= max_steps:
        return f"{steps} of {max_steps} steps"
    if max_epochs not in (None, -1) and epochs >= max_epochs:
        return f"{epochs} of {max_epochs} epochs"
    return None


def _still_stopped(stopped: EarlyStop, cfg: DictConfig, checkpoint: Mapping[str, Any]) -> bool:
    """Whether what has ended a run early would end it here again."""
    if (cfg.trainer.min_epochs or 0) > stopped["epoch"] + 1:
        return False
    if stopped["by"] == "trainer.max_time":
        elapsed = checkpoint["callbacks"]["Timer"]["time_elapsed"]["train"]
        return cfg.trainer.max_time is not None and seconds(cfg.trainer.max_time) <= elapsed
    return stopped["by"] == "a callback" or _named(cfg, stopped["by"]) is not None


def _way_on(stopped: EarlyStop, cfg: DictConfig, epochs: int) -> str:
    if stopped["by"] == "trainer.max_time":
        return "trainer.max_time=<more>"
    if (name := _named(cfg, stopped["by"])) is not None:
        return f"callbacks.{name}=null"
    return f"trainer.min_epochs={epochs + 5}"


def _named(cfg: DictConfig, callback: str) -> str | None:
    """The name under which a config has a callback of a class."""
    nodes = {str(name): node for name, node in (cfg.callbacks or {}).items() if node is not None}
    return next((name for name, node in nodes.items() if str(node["_target_"]).endswith(f".{callback}")), None)


def _averages(cfg: DictConfig, kind: type, checkpoint: Mapping[str, Any]) -> bool:
    """Whether a callback of a config is of the kind that takes up averaged weights, and of the class that made them."""
    made = [found(node["_target_"])[0] for node in (cfg.callbacks or {}).values() if node is not None]
    keys = tuple(checkpoint.get("callbacks", ()))  # a key begins with its callback's class
    return any(
        # Of a function, who knows.
        not isinstance(cls, type) or (issubclass(cls, kind) and any(key.startswith(cls.__qualname__) for key in keys))
        for cls in made
    )


def _require_same_model(path: Path, checkpoint: dict[str, Any], net: nn.Module) -> None:
    saved = {plain_name(key): value for key, value in checkpoint["state_dict"].items()}
    prefix = prefix_of(net.state_dict(), saved) or "net."
    own = {prefix + key: value for key, value in net.state_dict().items()}
    saved = {key: value for key, value in saved.items() if key.startswith(prefix)}  # not a loss's
    if problems := state_problems(own, saved):
        raise CheckpointError(f"{path} does not fit the config's model: {'; '.join(problems)}")
