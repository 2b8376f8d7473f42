"""What is wrong with a command line, in words, with the nearest right one."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.config.rules import TOP_LEVEL
from strobe.machine.program import typed

SHORT_FLAGS = {"--config-dir": "-cd", "--config-name": "-cn", "--config-path": "-cp", "--package": "-p", "--cfg": "-c"}
"""Hydra's flags with a value, and how they are written in short."""

_FLAGS_WITH_VALUE = {*SHORT_FLAGS, *SHORT_FLAGS.values()}


_USUAL_WORDS = {
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs", "max_epoch", "nb_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("steps", "num_steps", "iterations", "iters", "max_iter"), "trainer.max_steps"),
    **dict.fromkeys(("time", "time_limit"), "trainer.max_time"),
    **dict.fromkeys(("lr", "learning_rate", "learningrate", "eta"), "optimizer.lr"),
    **dict.fromkeys(("wd", "weight_decay", "decay"), "optimizer.weight_decay"),
    **dict.fromkeys(("bs", "batch", "batchsize", "batch_size", "train_batch_size"), "data.batch_size"),
    **dict.fromkeys(("workers", "num_workers", "n_workers"), "data.num_workers"),
    **dict.fromkeys(("data_dir", "data_path", "data_root", "datadir"), "data.root"),
    **dict.fromkeys(("augmentation", "augment", "aug"), "data.augment"),
    **dict.fromkeys(("val_split", "valid_size", "validation_size"), "data.val_size"),
    **dict.fromkeys(("hidden_size", "hidden_dim", "hidden_units", "n_hidden"), "model.hidden"),
    **dict.fromkeys(("dropout", "drop", "p_dropout", "dropout_rate"), "model.dropout"),
    **dict.fromkeys(("precision", "fp16", "amp", "bf16", "mixed_precision", "use_amp"), "trainer.precision"),
    **dict.fromkeys(("device", "accelerator", "backend"), "trainer.accelerator"),
    **dict.fromkeys(("gpus", "gpu", "num_gpus", "n_gpus", "devices", "num_devices", "tpu_cores"), "trainer.devices"),
    **dict.fromkeys(("nodes", "num_nodes"), "trainer.num_nodes"),
    **dict.fromkeys(("clip", "grad_clip", "clip_grad", "gradient_clip", "max_grad_norm"), "trainer.gradient_clip_val"),
    **dict.fromkeys(("accumulate", "accum", "grad_accum", "accumulation_steps"), "trainer.accumulate_grad_batches"),
    **dict.fromkeys(("random_seed", "random_state", "manual_seed"), "seed"),
    **dict.fromkeys(("ckpt", "ckpt_path", "checkpoint_path", "resume_from", "from_checkpoint"), "resume"),
    **dict.fromkeys(("output_dir", "log_dir", "save_dir", "out"), "hydra.run.dir"),
    **dict.fromkeys(("trials", "n_trials", "num_trials"), "hydra.sweeper.n_trials"),
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("net", "network", "arch", "architecture"), "model"),
    **dict.fromkeys(("dataset", "datamodule"), "data"),
    **dict.fromkeys(("sched", "lr_scheduler", "schedule"), "scheduler"),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function"), "loss"),
    **dict.fromkeys(("metric", "monitor_metric"), "monitor.metric"),
    **dict.fromkeys(("exp", "experiments"), "experiment"),
}
"""What people type who come from elsewhere -> what it is called here."""

_VALUES = {"device": {"cuda": "gpu"}, **{word: {"true": "16-mixed"} for word in ("fp16", "amp", "use_amp")}}
"""For some of those words, what their values are called here."""


def explain(arguments: Sequence[str], error: Exception, conf: Path) -> list[str]:
    """Every mistake among the overrides, one line each; the original error where none is found.

    Args:
        arguments: The command line without the program.
        error: What Hydra raised.
        conf: The config directory.
    """
    overrides = _overrides_in(arguments)
    named_sweep = any(override.startswith("sweep=") and override != "sweep=default" for override in overrides)
    multirun = named_sweep or any(argument in ("-m", "--multirun") for argument in arguments)
    mistakes: list[str] = []
    if not isinstance(error, YAMLError):  # then a file is wrong, not the command
        with suppress(HydraException, OmegaConfBaseException):
            mistakes = _mistakes(
                overrides, _folders(arguments, conf), _flag(arguments, "--config-name") or "train", multirun
            )
    if mistakes:
        return mistakes
    cause = error.__cause__ if isinstance(error.__cause__, HydraException | OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip() and "full_key" not in line]
    return lines or [repr(error)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, if one is like it."""
    candidates = list(known)
    if close := difflib.get_close_matches(word, candidates, n=1, cutoff=0.6):
        return close[0]
    # A right key under a wrong parent (`lr` for `optimizer.lr`).
    last = word.rpartition(".")[2]
    endings = [key for key in candidates if key.rpartition(".")[2] == last]
    if endings:
        return endings[0]
    close = difflib.get_close_matches(last, [key.rpartition(".")[2] for key in candidates], n=1, cutoff=0.75)
    return next((key for key in candidates if key.rpartition(".")[2] == close[0]), None) if close else None


def idle_additions(hydra: DictConfig) -> list[str]:
    """What is wrong with keys that a command added at the top of a config and that nothing reads, one line each.

    Args:
        hydra: Hydra's own node of the config: what was typed, and the groups that options were chosen from.
    """
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # they may hold interpolations
    read = {*TOP_LEVEL, *(str(group).partition("/")[0] for group in hydra.runtime.choices)}
    wrong = []
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        top = re.split(r"[.@/\[]", key)[0]
        if not text.startswith("+") or top in read or any(f"${{{top}" in other for other in overrides):
            continue
        known = [name for name in TOP_LEVEL if name != "hydra"]
        guess = _usual(key) or ((like := nearest(top, known)) and key.replace(top, like, 1))
        hint = f"did you mean {guess}?" if guess else f"there are: {', '.join(known)}"
        wrong.append(f"{text}: nothing reads this key; {hint}")
    return wrong


def _usual(key: str) -> str | None:
    """What a key is called here that a person knows from elsewhere."""
    parent, _, last = key.rpartition(".")
    usual = _USUAL_WORDS.get(last.lower())
    elsewhere = parent in ("", "trainer", "training", "train", "cfg", "config", "hparams", "args")
    return usual if usual is not None and (elsewhere or usual.startswith(f"{parent}.")) else None


def dotted_keys(config: Mapping[Any, Any] | DictConfig, prefix: str = "") -> list[str]:
    """Every key of a nested config, ``a.b.c``, parents included."""
    if isinstance(config, DictConfig):
        config = _unresolved(config)
    keys = []
    for key, node in config.items():
        name = f"{prefix}{key!s}"
        keys.append(name)
        if isinstance(node, Mapping):
            keys += dotted_keys(node, f"{name}.")
    return keys


def _overrides_in(arguments: Sequence[str]) -> list[str]:
    overrides, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _FLAGS_WITH_VALUE:
            skip = True
        elif not argument.startswith("-"):
            overrides.append(argument)
    return overrides


def _flag(arguments: Sequence[str], name: str) -> str | None:
    """The value of a flag with a value, written either way."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in (name, SHORT_FLAGS[name]):
            return following
        if argument.startswith((f"{name}=", f"{SHORT_FLAGS[name]}=")):
            return argument.partition("=")[2]
    return None


def _folders(arguments: Sequence[str], conf: Path) -> list[Path]:
    """Where a command's configs are, that of its primary config first."""
    named = [_flag(arguments, "--config-path") or str(conf), _flag(arguments, "--config-dir")]
    return [Path(folder).resolve() for folder in named if folder]


def _loader(folder: Path) -> ConfigLoader:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


def _mistakes(overrides: Sequence[str], folders: Sequence[Path], config_name: str, multirun: bool) -> list[str]:
    loaders = [_loader(folder) for folder in folders]
    loader = loaders[0]
    parser = OverridesParser.create(config_loader=loader)
    mistakes, parsed = [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            mistakes.append(unreadable(text))
    groups = _groups(loaders)
    choices = []
    for override in parsed:
        line = override.input_line or ""
        if override.is_sweep_override() and not multirun:
            mistakes.append(f"{line}: several values make a sweep, which needs -m: {' '.join(typed('train'))} -m ...")
        elif override.key_or_group in groups:
            wrong = _wrong_choices(override, groups[override.key_or_group])
            mistakes += wrong
            if not wrong and not override.is_sweep_override():
                choices.append(line)
    further = ",".join("'file://" + str(folder).replace("'", r"\'") + "'" for folder in folders[1:] if folder.is_dir())
    searched = [f"hydra.searchpath=[{further}]"] if further else []
    config = loader.load_configuration(config_name, overrides=[*searched, *choices], run_mode=RunMode.RUN)
    known = dotted_keys(config)
    for override in parsed:
        key = override.key_or_group
        if key in groups or override.is_add() or override.is_force_add():
            continue
        if not exists(config, key):
            mistakes.append(unknown_key(key, override, known, groups))
    return mistakes


def unreadable(text: str) -> str:
    """What is wrong with an override that can't be parsed."""
    if "=" not in text:
        return f"{text!r} is not an override: write key=value"
    key, _, value = text.partition("=")
    return f"{text!r} can't be read: quote a value with special characters, as in {key}=\"'{value}'\""


def _wrong_choices(override: Override, options: Sequence[str]) -> list[str]:
    values = override.value()
    if override.is_sweep_override():
        chosen: list[object] = list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    else:
        chosen = list(values) if isinstance(values, list) else [values]
    wrong = []
    for value in chosen:
        name = str(value).strip("'\"") if value is not None else "null"
        if name in ("null", *options):
            continue
        guess = nearest(name, options)
        hint = f"did you mean {override.key_or_group}={guess}? " if guess else ""
        wrong.append(f"{override.key_or_group}={name}: no such option; {hint}There are: {', '.join(options)}")
    return wrong


def unknown_key(key: str, override: Override, known: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """What is wrong with a key that a config does not have, and which was meant."""
    value = (override.input_line or "").partition("=")[2]
    public = [name for name in known if not name.startswith("hydra.") or key.startswith("hydra")]
    parent, _, last = key.rpartition(".")
    if (usual := _usual(key)) is not None:
        if usual in known or usual in groups:
            return f"{key}: no such key; did you mean {usual}={_VALUES.get(last, {}).get(value, value)}?"
        return f"{key}: no such key; here it is {usual}, which the options that were chosen don't have"
    siblings = [name for name in public if name.rpartition(".")[0] == parent] if parent in known else []
    close = difflib.get_close_matches(last, [name.rpartition(".")[2] for name in siblings], n=1, cutoff=0.7)
    guess = (f"{parent}.{close[0]}" if close else None) if siblings and parent else nearest(key, [*public, *groups])
    if guess is not None:
        return f"{key}: no such key; did you mean {guess}={value}?"
    others = [name for name in siblings if not name.endswith("_")] or [name for name in public if "." not in name]
    return f"{key}: no such key; there are: {', '.join(others)}"


def exists(config: DictConfig, key: str) -> bool:
    """Whether a config has a key, also one within a list, or behind an interpolation."""
    node: object = _unresolved(config)
    for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, str) and node.startswith("${"):
            return OmegaConf.select(config, key) is not None
        else:
            return False
    return True


def _unresolved(config: DictConfig) -> Mapping[Any, Any]:
    """As plain containers; an interpolation is its text."""
    container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, Mapping), "a DictConfig becomes a dict"
    return container


def _groups(loaders: Iterable[ConfigLoader], parent: str = "") -> dict[str, list[str]]:
    """Config groups and their options: ours, the user's, and those of Hydra and its plugins."""
    groups: dict[str, set[str]] = {}
    for loader in loaders:
        for name in loader.list_groups(parent):
            full = f"{parent}/{name}" if parent else name
            groups.setdefault(full, set()).update(loader.get_group_options(full))
            for inner, options in _groups([loader], full).items():
                groups.setdefault(inner, set()).update(options)
    return {group: sorted(options) for group, options in groups.items() if options}
