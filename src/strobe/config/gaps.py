"""What a config lacks: keys that every run reads, values left open, interpolations that lead nowhere."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from strobe.config.rules import shown
from strobe.config.tasks import CLASSIFICATION
from strobe.errors import first_line
from strobe.machine.secrets import MASK, is_masked
from strobe.record.settings import leaves

_NOT_SET = re.compile("Environment variable '(.*)' not found")
_LEFT_OPEN = ("???", MASK)
_STANDS_FOR = {"folder": "<dir>", "path": "<file>", "target": "<column>"}  # what a key takes whose value is left open
_OF_RUNS = ("data", "trainer")
_GROUPS = ("task", "data", "model", "scheduler", "callbacks", "metrics")  # whose keys are looked at before targets are
_READ = {
    "": (*_OF_RUNS, "monitor", "seed", "objective", "test", "scheduler", "name", "tags"),
    "monitor": ("metric", "mode"),
    "checkpoint": ("keep", "every_n_steps", "every_minutes"),
    "trainer": (
        *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "check_val_every_n_epoch", "precision"),
        *("accelerator", "devices", "strategy", "num_nodes", "sync_batchnorm", "enable_checkpointing"),
    ),
}
"""What is read of every config, whatever it names."""


def absent(values: Any) -> Iterator[str]:
    """Keys that every run reads and that were taken away, with ``~`` for example, and values in the place of keys."""
    for group, keys in _READ.items():
        node = values if group == "" else values.get(group)
        if not isinstance(node, Mapping):
            # Null is right for `checkpoint`, and of a `trainer` has been said in the first turn.
            is_wrong = node is not None or group == "monitor"
            if group in values and is_wrong and not _is_left_open(node):
                named = ", ".join(f"{group}.{key}" for key in keys)
                yield f"{group}={shown(node)}: is no single value; set one of its keys: {named}"
            continue
        for key in keys:
            if key not in node or (key in _OF_RUNS and node[key] is None):
                full = f"{group}.{key}" if group else key
                value = f"{key}=<option>" if key in _OF_RUNS else f"{full}=<value>"
                yield f"{full}: every run needs it; leave ~{full} out, or give another: {value}"
    for group in _GROUPS:
        if not isinstance(node := values.get(group), Mapping | None) and not _is_left_open(node):
            yield f"{group}={shown(node)}: is no option of this group; choose one: {group}=<option>"
    task = values.get("task")
    target = str(task.get("_target_")) if isinstance(task, Mapping) else None
    for group in ("model", "optimizer", "loss"):
        if target == CLASSIFICATION and group not in values:
            yield f"{group}: a classifier needs one; leave ~{group} out, or choose another: {group}=<option>"


def _is_left_open(node: object) -> bool:
    """Whether it has yet to become a value: of configs that can't be resolved, more is said by `unresolved`."""
    return isinstance(node, str) and (node == "???" or "${" in node)


def unresolved(cfg: DictConfig) -> Iterator[str]:
    """Interpolations that lead nowhere, values left at ``???``, and secrets that were masked."""
    try:
        for key in sorted(OmegaConf.missing_keys(cfg)):
            value = _STANDS_FOR.get(key.rpartition(".")[2], "...")
            yield f"{key}: has no value yet (???), give it one: {key}={value}"
        OmegaConf.to_container(cfg, resolve=True)
        for key, value in leaves(OmegaConf.to_container(cfg, resolve=False), into_lists=True):
            if is_masked(value):
                yield (
                    f"{key}={value}: a secret that the run has not written down; give it again, {key}=..., or for good "
                    f"as {key}='${{oc.env:<variable>}}'"
                )
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        key = getattr(error, "full_key", None) or "config"
        if variable := _NOT_SET.search(str(error)):
            yield f"{key}: the environment variable {variable[1]} is not set; set it, or give {key}=..."
        else:
            yield f"{key}: {first_line(error)}"


def complete(cfg: DictConfig) -> dict[Any, Any] | None:
    """The values of a config; None where some are missing, masked or can't be resolved, as `unresolved` says."""
    try:
        values = as_values(cfg)
    except OmegaConfBaseException:
        return None
    return None if any(value in _LEFT_OPEN for _, value in leaves(values, into_lists=True)) else values


def as_values(cfg: DictConfig) -> dict[Any, Any]:
    """The values of a config as plain containers, interpolations resolved."""
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict), "a DictConfig becomes a dict"
    return values
