"""A config -> everything that is wrong with its values, found before anything heavy is imported."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import ConfigError
from src.record import REPORT, already_holds_a_run
from src.rules import RULES, shown

_OWN_GROUPS = {"trainer.logger": "logger=<option>", "trainer.callbacks": "callbacks=<option>"}


def problems(cfg: DictConfig) -> list[str]:
    """Everything wrong with the values of a composed config, one line each; an empty list is a pass."""
    found = list(_unresolved(cfg))
    if found:
        return found
    for key, rule in RULES.items():
        if not _has(cfg, key):
            continue
        value = OmegaConf.select(cfg, key)
        if not rule.holds(value):
            advice = _OWN_GROUPS.get(
                key, f"{key}={rule.example}".lower() if isinstance(rule.example, bool) else f"{key}={rule.example}"
            )
            found.append(f"{key}={shown(value)}: must be {rule.allowed}, for example {advice}")
    reported = tuple(f"{line.partition('=')[0]}" for line in found)
    found += [line for key, line in _odd_leaves(cfg) if key not in reported]
    if not found:
        found += _combinations(cfg)
    return found


class CheckFirst(Callback):
    """Ends a wrong command before Hydra makes a directory for it, and never lets a run write over another."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the config of a single run.

        Raises:
            SystemExit: With code 2, if anything is wrong, with 0 after ``validate=only``; Hydra swallows other
                exceptions of a callback.
        """
        keys: list[Any] = [key for key in config if key != "hydra"]
        cfg = OmegaConf.masked_copy(config, keys)
        found = problems(cfg)
        directory = Path(config.hydra.run.dir)
        if (
            not found
            and cfg.resume is None
            and (directory / REPORT).exists()
            and config.hydra.output_subdir is not None
        ):
            found = [already_holds_a_run(directory)]
        if not found and cfg.validate == "only":
            from src.plan import plan  # imports torch

            try:
                print(plan([cfg]))
            except ConfigError as error:
                found = [str(error)]
            else:
                raise SystemExit(0)
        if found:
            print("\n".join(found), file=sys.stderr)
            raise SystemExit(2)


def _unresolved(cfg: DictConfig) -> Iterator[str]:
    """Interpolations that lead nowhere, and values left at ``???``."""
    try:
        for key in sorted(OmegaConf.missing_keys(cfg)):
            yield f"{key}: has no value yet (???), give it one: {key}=..."
        OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        yield f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}"


def _odd_leaves(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Values that make sense nowhere: empty strings and NaN."""
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=True)):
        if value == "":
            yield key, f"{key}= is empty: give it a value, or null"
        elif isinstance(value, float) and math.isnan(value):
            yield key, f"{key}=nan: must be a number"


def _combinations(cfg: DictConfig) -> Iterator[str]:
    """Values that are right alone and wrong together."""
    trainer, monitor = cfg.trainer, cfg.monitor
    endless = trainer.max_epochs == -1 and trainer.max_steps == -1
    if endless and trainer.max_time is None:
        yield (
            "trainer.max_epochs=-1: nothing would end the run; "
            "add trainer.max_steps=<n> or trainer.max_time=<dd:hh:mm:ss>"
        )
    scheduler = cfg.scheduler or {}
    target = str(scheduler.get("_target_", ""))
    counts_steps = any(key in scheduler and scheduler[key] is None for key in ("total_steps", "T_max"))
    if endless and counts_steps:
        yield f"scheduler {target}: needs to know the run's length; set trainer.max_epochs or trainer.max_steps"
    if target.endswith("ReduceLROnPlateau") and cfg.data.val_size == 0:
        yield "scheduler=plateau watches the validation set, and data.val_size=0 leaves none: choose data.val_size=5000"
    expected = "min" if str(monitor.metric).endswith("loss") else "max"
    if monitor.mode != expected:
        yield (
            f"monitor.mode={monitor.mode}: the best {monitor.metric} is its {expected}imum; add monitor.mode={expected}"
        )
    if not cfg.test and str(cfg.objective or "").startswith("test/"):
        yield f"objective={cfg.objective}: there is no test with test=false; choose objective=val/acc"
    if cfg.data.loader == "memory" and cfg.data.num_workers:
        yield f"data.num_workers={cfg.data.num_workers}: the in-memory loader has no workers; add data.loader=torch"


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{prefix}[{index}]")
    else:
        yield prefix, node


def _has(cfg: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return isinstance(node, DictConfig) and name in node
