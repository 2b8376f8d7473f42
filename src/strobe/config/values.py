"""A config -> everything that is wrong with its values, found before anything heavy is imported."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from strobe.config.gaps import absent, as_values, complete, unresolved
from strobe.config.rules import RULES
from strobe.config.tasks import VAE, declared_mode, interface, metric_problems, serves_images
from strobe.config.vocabulary import setting_here
from strobe.record.config_file import odd_entries
from strobe.record.layout import Mode
from strobe.record.settings import leaves

_UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "weeks": 604800, "milliseconds": 1e-3}
_OWN_GROUPS = {"trainer.logger": "logger=<option>", "trainer.callbacks": "callbacks=<option>"}


def problems(cfg: DictConfig) -> list[str]:
    """Everything wrong with the values of a composed config, one line each; an empty list is a pass."""
    return looked_through(cfg)[1]


def looked_through(cfg: DictConfig) -> tuple[dict[Any, Any], list[str]]:
    """The values of a composed config, interpolations resolved, and everything wrong with them, one line each.

    The values are empty where some can't be resolved.
    """
    values = complete(cfg)
    if values is None:
        if wrong := list(absent(OmegaConf.to_container(cfg, resolve=False))) or list(unresolved(cfg)):
            return {}, wrong
        values = as_values(cfg)
    if wrong := list(absent(values)):
        return values, wrong
    if wrong := list(odd_entries(values)):
        return values, wrong
    images = serves_images(values["data"])
    for key, rule in RULES.items():
        if key.startswith("data.") and not images:
            continue
        parent, _, name = key.rpartition(".")
        node = _at(values, parent)
        if isinstance(node, dict) and name in node and not rule.holds(node[name]):
            value = OmegaConf.select(cfg, key)
            wrong.append(rule.refusal(key, value, _OWN_GROUPS.get(key) or setting_here(key, str(value))))
    reported = {line.partition("=")[0] for line in wrong}
    wrong += [line for key, line in _odd_leaves(values) if key not in reported]
    return values, wrong or list(_combinations(values))


def monitored(cfg: DictConfig) -> tuple[str | None, Mode]:
    """The metric that decides which epoch is best, and which way; None where the newest is the best.

    Without a validation set, ``train/<name>`` for ``val/<name>``.
    """
    metric, mode = cfg.monitor.metric, cast(Mode, str(cfg.monitor.mode))
    if metric is not None and str(metric).startswith("val/") and has_no_validation(cfg):
        metric = f"train/{str(metric).removeprefix('val/')}"
    return None if metric is None else str(metric), mode


def has_no_validation(cfg: Mapping[Any, Any]) -> bool:
    """Whether the data of a config, or of its values, being ours, keep nothing for a validation."""
    data = cfg["data"]
    if not isinstance(data, Mapping):  # said by what looks through a config
        return False
    ours = str(data.get("_target_")).startswith("strobe.") or serves_images(data)
    return ours and data.get("val_size") == 0


def objective(cfg: DictConfig) -> tuple[str | None, Mode]:
    """The metric that runs of this config are compared by, and which way; None where there is none."""
    metric = cfg.objective
    if metric is None or metric == cfg.monitor.metric:
        return monitored(cfg)
    mode = cfg.get("objective_mode") or declared_mode(cfg, str(metric)) or cfg.monitor.mode
    return str(metric), cast(Mode, mode)


def _odd_leaves(container: Any) -> Iterator[tuple[str, str]]:
    """Values that make sense nowhere: empty strings and NaN."""
    for key, value in leaves(container, into_lists=True):
        if value == "":
            yield key, f"{key}= is empty: give it a value, or null"
        elif isinstance(value, float) and math.isnan(value):
            yield key, f"{key}=nan: must be a number"


def _combinations(values: Mapping[Any, Any]) -> Iterator[str]:
    """Values that are right alone and wrong together."""
    trainer, watched = values["trainer"], values["monitor"]["metric"]
    endless = trainer["max_epochs"] == -1 and trainer["max_steps"] == -1
    if endless and trainer["max_time"] is None:
        yield (
            "trainer.max_epochs=-1: nothing would end the run; "
            "add trainer.max_steps=<n> or trainer.max_time=<dd:hh:mm:ss>"
        )
    if trainer["max_time"] is not None:
        yield from _time_limit(trainer["max_time"])
    for unit in ("epochs", "steps"):
        least, most = trainer[f"min_{unit}"], trainer[f"max_{unit}"]
        if least is not None and most not in (None, -1) and least > most:
            yield f"trainer.min_{unit}={least}: is more than trainer.max_{unit}={most}; choose one of at most {most}"
    scheduler = values["scheduler"] or {}
    target = str(scheduler.get("_target_", ""))
    counts_steps = any(key in scheduler and scheduler[key] is None for key in ("total_steps", "T_max"))
    if endless and counts_steps:
        yield f"scheduler {target}: needs to know the run's length; set trainer.max_epochs or trainer.max_steps"
    plateau = target.endswith("ReduceLROnPlateau")
    if plateau and watched is None:
        yield "scheduler=plateau watches monitor.metric, which is null: choose one, for example monitor.metric=val/loss"
    if plateau and str(watched).startswith("train/"):
        yield (
            f"scheduler=plateau watches monitor.metric={watched}, which is known only once the epoch has ended: "
            "choose one of the validation, for example monitor.metric=val/loss monitor.mode=min"
        )
    if plateau and has_no_validation(values):
        yield "scheduler=plateau watches the validation set, and data.val_size=0 leaves none: choose data.val_size=5000"
    yield from _net_of_a_vae(values)
    yield from _search_for_a_rate(values)
    yield from _early_stopping(values.get("callbacks") or {})
    every = trainer["check_val_every_n_epoch"]
    if plateau and every not in (1, None) and str(watched).startswith("val/"):
        yield (
            f"trainer.check_val_every_n_epoch={every}: scheduler=plateau looks at {watched} after each epoch; "
            "choose trainer.check_val_every_n_epoch=1, or another schedule"
        )
    yield from metric_problems(values)
    if not values["test"] and str(values["objective"] or "").startswith("test/"):
        yield f"objective={values['objective']}: there is no test with test=false; choose objective=val/acc"
    data = values["data"]
    if data.get("loader") == "memory" and data.get("num_workers"):
        yield f"data.num_workers={data['num_workers']}: the in-memory loader has no workers; add data.loader=torch"


def seconds(duration: object) -> float:
    """How long ``trainer.max_time`` is: ``dd:hh:mm:ss``, or a mapping of units such as ``{minutes: 30}``.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(duration, Mapping):
        return sum(_UNITS[str(unit)] * float(count) for unit, count in duration.items())
    parts = [int(part) for part in str(duration).split(":")]
    days, hours, minutes, rest = parts
    return days * 86400 + hours * 3600 + minutes * 60 + rest


def _net_of_a_vae(values: Mapping[Any, Any]) -> Iterator[str]:
    """A net that ships and has no two halves; of another it is known once it is there."""
    task, net = (str((values.get(group) or {}).get("_target_")) for group in ("task", "model"))
    halves = net.startswith("strobe.models.vae.") or not net.startswith("strobe.models.")
    if task == VAE and not halves:
        parts, name = "encoder, decoder, latent", net.rpartition(".")[2]
        yield f"model: VAE needs a net with {parts}; {name} lacks {parts}: choose model=vae"


def _search_for_a_rate(values: Mapping[Any, Any]) -> Iterator[str]:
    """A task that builds its optimizers itself, in which there is no rate to look for."""
    nodes = [node for node in (values.get("callbacks") or {}).values() if isinstance(node, Mapping)]
    searches = any(str(node.get("_target_")).endswith(".LearningRateSweep") for node in nodes)
    of = interface(values)
    if searches and "optimizer" not in of.groups:
        yield (
            f"debug=lr_find: {of.name} builds its optimizers itself, so there is no optimizer.lr to look for; try its "
            "rates with -m"
        )


def _early_stopping(callbacks: Mapping[Any, Any]) -> Iterator[str]:
    """Early stopping that is to watch nothing."""
    targets = {name: str(node.get("_target_")) for name, node in callbacks.items() if isinstance(node, Mapping)}
    searches = any(target.endswith(".LearningRateSweep") for target in targets.values())
    for name, target in targets.items():
        if not target.endswith(".EarlyStopping") or callbacks[name].get("monitor", "") is not None:
            continue
        key = f"callbacks.{name}"
        yield (
            f"{key}: a search for the learning rate trains no net to be stopped early; add {key}=null, or leave "
            f"callbacks={name} out"
            if searches
            else f"{key}.monitor=null: early stopping has to watch a metric; give monitor.metric=<name>, or "
            f"{key}.monitor=<name>"
        )


def _time_limit(duration: object) -> Iterator[str]:
    try:
        if seconds(duration) > 0:
            return
        yield f"trainer.max_time={duration}: nothing would be trained; choose <dd:hh:mm:ss> above 0"
    except (KeyError, TypeError, ValueError):
        yield f"trainer.max_time={duration}: must be <dd:hh:mm:ss>, for example trainer.max_time=00:01:30:00"


def _at(values: dict[Any, Any], path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    node: Any = values
    for name in filter(None, path.split(".")):
        node = node.get(name) if isinstance(node, dict) else None
    return node
