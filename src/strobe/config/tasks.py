"""What a task takes of a config and what it logs; needs no torch for the tasks that are shipped."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from hydra.utils import instantiate

from strobe.config.resolving import found
from strobe.record.layout import Mode

CLASSIFICATION = "strobe.tasks.classifier.Classifier"
"""The task of a config that names none."""

VAE = "strobe.tasks.vae.VAE"

IMAGES = "strobe.data.datamodule.ImageDataModule"

GIVEN = {"net": "model", "optimizer": "optimizer", "scheduler": "scheduler", "loss": "loss", "metrics": "metrics"}
"""Arguments that a task may name -> the group of the config from which they are given."""

_BELONGS_TO = {"scale_lr": "optimizer"}  # a key that means nothing without a group
_NOTHING = ("null", "none", "{}", "[]", "false")  # values that ask for nothing


@dataclass(frozen=True)
class Interface:
    """What is known of a task's class.

    Attributes:
        name: Of the class.
        groups: The groups of the config that it takes.
        metrics: What it declares to log, without ``val/`` and so on; None if it declares nothing.
    """

    name: str
    groups: frozenset[str]
    metrics: Mapping[str, Mode] | None


_WITH_NET = frozenset(("model", "optimizer", "scheduler", "metrics", "decay_norm_and_bias"))
_SHIPPED = {
    interface.name: interface
    for interface in (
        Interface(CLASSIFICATION, _WITH_NET | {"loss"}, {"loss": "min", "acc": "max"}),
        Interface(
            "strobe.tasks.regression.Regression", _WITH_NET | {"loss"}, {"loss": "min", "mae": "min", "rmse": "min"}
        ),
        Interface(VAE, _WITH_NET, {"loss": "min", "reconstruction": "min"}),
        Interface("strobe.tasks.gan.GAN", frozenset(), {"frechet_pixels": "min"}),
    )
}


def interface(cfg: Mapping[Any, Any]) -> Interface:
    """What the task of a config takes and logs; of one whose class can't be imported, that it takes everything."""
    node = cfg.get("task") or {}
    if not isinstance(node, Mapping):  # said by what checks targets
        return Interface(str(node), frozenset(GIVEN.values()), None)
    target = str(node.get("_target_", CLASSIFICATION))
    if (shipped := _SHIPPED.get(target)) is not None:
        return Interface(target.rpartition(".")[2], _without_given(shipped.groups, node), shipped.metrics)
    task, wrong = found(target)
    if wrong or not isinstance(task, type):  # that is said by what checks targets
        return Interface(target.rpartition(".")[2], frozenset(GIVEN.values()), None)
    arguments = inspect.signature(task).parameters
    groups = {group for argument, group in GIVEN.items() if argument in arguments}
    if "decay_norm_and_bias" in arguments:
        groups.add("decay_norm_and_bias")
    if not _is_own(task, "configure_optimizers"):
        groups |= {"optimizer", "scheduler", "decay_norm_and_bias"}
    if hasattr(task, "measure") and _is_own(task, "step"):
        groups.add("metrics")
    declared = getattr(task, "metrics", None)
    metrics = cast(Mapping[str, Mode], declared) if _declares(declared) else None
    return Interface(task.__name__, _without_given(groups, node), metrics)


def idle_groups(cfg: Mapping[Any, Any]) -> list[str]:
    """The groups that a config has and its task doesn't take: what they name would not be in effect.

    They are null in a run's config, but only once interpolations, which may lead into them, are values.
    """
    takes = interface(cfg).groups
    return [group for group in GIVEN.values() if group not in takes and cfg.get(group) is not None]


def serves_images(data: Mapping[str, Any]) -> bool:
    """Whether the data that a node names are our images: a key of another datamodule means what it means there."""
    target = str(data.get("_target_", IMAGES))
    if target == IMAGES:
        return True
    dataset = data.get("dataset")
    if target.startswith("strobe.") or not isinstance(dataset, Mapping) or "_target_" not in dataset:
        return False
    cls, wrong = found(target)
    return not wrong and any(f"{each.__module__}.{each.__name__}" == IMAGES for each in getattr(cls, "__mro__", ()))


def idle_overrides(cfg: Mapping[Any, Any], overrides: Iterable[str]) -> Iterator[str]:
    """What was typed for a group that the task doesn't take, a line each."""
    of = interface(cfg)
    for text in overrides:
        if text.startswith("~"):
            continue
        key, _, value = text.lstrip("+").partition("=")
        top = key.partition(".")[0].partition("@")[0].partition("[")[0]
        group = _BELONGS_TO.get(top, top)
        asks = value.lower() not in _NOTHING or (top == "decay_norm_and_bias" and value.lower() == "false")
        if group in (*GIVEN.values(), "decay_norm_and_bias") and group not in of.groups and asks:
            takes = {"decay_norm_and_bias": "optimizer", "metrics": "metrics; a Task of strobe does"}.get(group, group)
            yield f"{key}: {of.name} takes no {takes}"


def metric_problems(values: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with the names and directions of metrics, where the task declares what it logs."""
    declared = interface(values).metrics
    watched, compared, direction = values["monitor"]["metric"], values["objective"], values.get("objective_mode")
    other = compared is not None and compared != watched
    known = declared is not None and str(compared).partition("/")[2] in declared
    if other and direction is None and (not declared or values.get("metrics")) and not known:
        yield f"objective={compared}: which way is it better? Add objective_mode=min or objective_mode=max"
    if declared is None:
        return
    further = values.get("metrics") or {}
    for key, metric, mode, splits in (
        ("monitor.metric", watched, values["monitor"]["mode"], ("val", "train")),
        ("objective", compared, direction, ("val", "train", "test")),
    ):
        if metric is None or (metric == watched and key == "objective"):
            continue
        split, _, name = str(metric).partition("/")
        if split in splits and name.partition("/")[0] in further:
            own = _mode_of(further.get(name))
            if own is not None and mode not in (None, own):
                where = "monitor.mode" if key == "monitor.metric" else "objective_mode"
                yield f"{where}={mode}: the best {metric} is its {own}imum; add {where}={own}"
            continue
        if split not in splits or name not in declared:
            if further:  # a collection's names are not known before it has been built
                continue
            allowed = ", ".join(f"{each}/{name}" for each in splits for name in declared)
            # The same metric of a split that the key takes, where the task logs it.
            named = [each for each in declared if each in str(metric)]
            example = f"val/{name if name in declared else named[0] if named else [*declared][-1]}"
            yield f"{key}={str(metric)!r}: must be {allowed}, for example {key}={example}"
        elif mode is not None and mode != declared[name]:
            where = "monitor.mode" if key == "monitor.metric" else "objective_mode"
            yield f"{where}={mode}: the best {metric} is its {declared[name]}imum; add {where}={declared[name]}"


def undirected(cfg: Mapping[Any, Any], overrides: Sequence[str]) -> Iterator[str]:
    """A metric that was typed without saying which way it is better, where nothing declares it."""
    typed = {text.lstrip("+").partition("=")[0] for text in overrides}
    if "monitor.metric" not in typed or "monitor.mode" in typed:
        return
    metric = cfg["monitor"]["metric"]
    if metric in (None, "val/acc"):
        return
    if declared_mode(cfg, str(metric)) is None:
        yield f"monitor.metric={metric}: which way is it better? Add monitor.mode=min or monitor.mode=max"


def declared_mode(cfg: Mapping[Any, Any], metric: str) -> Mode | None:
    """Which way a metric is better, as the task or one of the config's metrics declares it; None if it doesn't."""
    name = metric.partition("/")[2]
    further = cfg.get("metrics")
    own = further.get(name) if isinstance(further, Mapping) else None
    return (interface(cfg).metrics or {}).get(name) or _mode_of(own)


def _mode_of(node: Any) -> Mode | None:
    """Which way a metric of the config is better, as its class says it.

    Those of torchmetrics that choose a class by their ``task`` say it once they are made.
    """
    if not isinstance(node, Mapping):
        return None
    cls, wrong = found(str(node.get("_target_")))
    better = None if wrong else getattr(cls, "higher_is_better", None)
    if better is None and getattr(cls, "__module__", "").startswith("torchmetrics."):
        with suppress(Exception):  # what it refuses is said by what builds it
            better = getattr(instantiate(node, _convert_="all"), "higher_is_better", None)
    return None if better is None else "max" if better else "min"


def _without_given(groups: Iterable[str], node: Mapping[Any, Any]) -> frozenset[str]:
    """The groups that a task takes but for those whose arguments its own node gives."""
    given = {group for argument, group in GIVEN.items() if node.get(argument) is not None}
    return frozenset(groups) - given


def _is_own(task: type, method: str) -> bool:
    """Whether a class has a method that is neither Lightning's nor the base class of tasks'."""
    found = getattr(task, method, None)
    return found is not None and not found.__module__.startswith(("lightning.", "strobe.tasks.task"))


def _declares(declared: object) -> bool:
    return isinstance(declared, Mapping) and all(mode in ("min", "max") for mode in declared.values())
