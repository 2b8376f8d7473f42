"""A config -> everything wrong with what it names and asks of this machine. Nothing it names is called."""

import importlib
import inspect
import math
import types
import typing
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.data import augment
from src.data.datamodule import ImageDataModule
from src.data.dataset import ImageDataset
from src.overrides import nearest
from src.sweeps.slots import available_cpus

# Given by `build`, never by a config.
_BUILT = {
    "model": {"in_shape", "num_classes"},
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
    "data": {"dataset", "augmentations"},
}

# Left open (null) in a config, filled in by `build` or by the Classifier.
_FILLED = {"logger": {"save_dir"}, "scheduler": {"T_max", "total_steps"}}


def problems_with_libraries(cfg: DictConfig) -> list[str]:
    """Everything wrong with targets, their arguments, and what is asked of the machine, one line each."""
    return problems_with_targets(cfg) or list(_machine_problems(cfg)) + list(_data_problems(cfg))


def problems_with_targets(cfg: DictConfig) -> list[str]:
    """Everything wrong with the targets of a config, or of a part of one, and with their arguments."""
    found = list(_misplaced(cfg))
    for path, node, kind in _nodes(cfg):
        found += _node_problems(path, node, kind)
    return found


def resolve(target: str) -> object:
    """The object that a dotted path names, by importing its module; nothing is called.

    Raises:
        ImportError: If there is no such module or attribute.
    """
    parts = target.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            found: object = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise
        for attribute in parts[count:]:
            if not hasattr(found, attribute):
                known = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
                guess = nearest(attribute, known)
                raise ImportError(f"{name} has no {attribute!r}{f'; did you mean {guess!r}?' if guess else ''}")
            found = getattr(found, attribute)
        return found
    raise ImportError(f"there is no module {parts[0]!r}")


_KINDS: dict[str, type] = {
    "data": ImageDataModule,
    "data.dataset": ImageDataset,
    "model": nn.Module,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "loss": nn.Module,
    "trainer": Trainer,
}
_COLLECTIONS: dict[str, type] = {
    "callbacks": Callback,
    "logger": Logger,
    "data.augmentations": object,
    "trainer.plugins": object,
}


def _nodes(cfg: DictConfig) -> Iterator[tuple[str, DictConfig, type]]:
    """Every node that will be instantiated, with the class its target has to be a subclass of."""
    kinds = dict(_KINDS)
    for path, kind in _COLLECTIONS.items():
        collection = OmegaConf.select(cfg, path)
        if isinstance(collection, DictConfig):
            kinds |= {f"{path}.{name!s}": kind for name in collection}
    for path, kind in kinds.items():
        node = OmegaConf.select(cfg, path)
        if isinstance(node, DictConfig):
            yield path, node, kind
    for path in _targets(OmegaConf.to_container(cfg, resolve=True)):
        if path not in kinds and "[" not in path:
            # A target within another node would be built with it: allow modules (a net made of nets), nothing else.
            yield path, OmegaConf.select(cfg, path), nn.Module


def _targets(node: Any, path: str = "") -> Iterator[str]:
    """The paths of all nodes with a target, also those within lists: ``a.b[0].c``."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _targets(value, f"{path}[{index}]")


def _misplaced(cfg: DictConfig) -> Iterator[str]:
    """Things where no object belongs: targets within lists, and collections that are no collections of nodes."""
    for path in _targets(OmegaConf.to_container(cfg, resolve=True)):
        if "[" in path:
            yield f"{path}._target_: refused, because no object belongs into a list"
    for path in _COLLECTIONS:
        collection = OmegaConf.select(cfg, path)
        if collection is None:
            continue
        if not isinstance(collection, DictConfig):
            yield f"{path}={collection}: must be a mapping of names to nodes with a _target_"
            continue
        for name, node in collection.items():
            if node is not None and not isinstance(node, DictConfig):
                yield f"{path}.{name!s}={node}: must be a node with a _target_, or null"


def _node_problems(path: str, node: DictConfig, kind: type) -> list[str]:
    if "_target_" not in node:
        return [f"{path}: names no class; add {path}._target_=<module>.<Class>"]
    target = str(node["_target_"])
    allowed = _allowed(path, kind)
    try:
        cls = resolve(target)
    except ImportError as error:
        return [f"{path}._target_={target!r}: {error}"]
    except Exception as error:  # a module of the user's own that fails as it is imported
        return [f"{path}._target_={target!r}: importing it failed: {type(error).__name__}: {error}"]
    if not isinstance(cls, type) or not issubclass(cls, kind) or (kind is object and not _is_augmentation(path, cls)):
        return [f"{path}._target_={target!r}: refused, because it is not {allowed}"]
    return _argument_problems(path, node, cls)


def _allowed(path: str, kind: type) -> str:
    if kind is object:
        return "an augmentation (see src.data.augment)" if path.startswith("data") else "a plugin of Lightning's"
    return f"a subclass of {kind.__module__.removesuffix('._' + kind.__name__.lower())}.{kind.__name__}"


def _is_augmentation(path: str, cls: type) -> bool:
    if not path.startswith("data.augmentations"):
        return cls.__module__.startswith("lightning.")
    own = cls.__module__ == augment.__name__
    call = inspect.signature(cls.__call__).parameters if "__call__" in vars(cls) else {}
    return own or list(call)[1:] == ["images", "targets", "generator"]


def _argument_problems(path: str, node: DictConfig, cls: type[object]) -> list[str]:
    signature = inspect.signature(cls)
    try:
        hints = typing.get_type_hints(cls.__init__)
    except Exception:  # an annotation that only exists for type checkers
        hints = {}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    built = _BUILT.get(path, set())
    known = [name for name in signature.parameters if name not in built]
    found = []
    for key in node:
        name = str(key)
        if name in ("_target_", "_partial_", "_convert_", "_recursive_") or (path == "data" and name in built):
            continue
        if f"{path}.{name}" in _COLLECTIONS:  # its nodes are looked at one by one
            continue
        if name not in signature.parameters or name in built:
            if takes_any and name not in built:
                continue
            guess = nearest(name, known)
            hint = f"did you mean {path}.{guess}? It" if guess else "it"
            found.append(f"{path}.{name}: {cls.__name__} takes no such argument; {hint} takes {', '.join(known)}")
            continue
        value = OmegaConf.select(node, name)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        if plain is None and name in _FILLED.get(path.partition(".")[0], ()):
            continue
        if name in hints and not (isinstance(plain, dict) and "_target_" in plain) and not accepts(hints[name], plain):
            found.append(f"{path}.{name}={plain!r}: {cls.__name__} takes {describe(hints[name])}")
    for name, parameter in signature.parameters.items():
        required = parameter.default is parameter.empty and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )
        if required and name not in built and name not in node:
            found.append(f"{path}.{name}: {cls.__name__} needs it; add +{path}.{name}=<value>")
    return found


def accepts(hint: Any, value: Any) -> bool:
    """Whether a plain value (number, text, list, None) can be meant for a parameter with this annotation.

    Annotations that say nothing about plain values (protocols, type variables) accept everything.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(accepts(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if hint is Any or hint is object:
        return True
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint in (str, Path):
        return isinstance(value, str)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = list(value) if isinstance(value, list) else []
        return len(items) == len(arguments) and all(accepts(a, item) for a, item in zip(arguments, items, strict=True))
    if isinstance(origin, type) and issubclass(origin, dict):
        return isinstance(value, dict)
    if isinstance(origin, type) and issubclass(origin, Collection | typing.Iterable):
        return isinstance(value, list | dict) and all(accepts(arguments[0], item) for item in value)
    if isinstance(hint, type):
        return isinstance(value, hint) if hint.__module__ == "builtins" else not _is_plain(value)
    return True


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | list | dict)


def describe(hint: Any) -> str:
    """An annotation in words a person can act on."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(argument) for argument in arguments))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in arguments)
    if hint is type(None):
        return "null"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if hint in words:
        return words[hint]
    if origin is not None and arguments:
        return f"a list of {describe(arguments[0])}s".replace("a list of a ", "a list of ")
    return getattr(hint, "__name__", str(hint))


def _machine_problems(cfg: DictConfig) -> Iterator[str]:
    """What this machine or this Lightning can't do."""
    trainer = cfg.trainer
    gpus = torch.cuda.device_count()
    accelerator, devices, strategy = trainer.accelerator, trainer.devices, str(trainer.strategy)
    accelerators = ["auto", "gpu", *AcceleratorRegistry.available_accelerators()]
    if accelerator not in accelerators:
        yield _unknown("trainer.accelerator", accelerator, accelerators)
        return
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if strategy not in strategies:
        yield _unknown("trainer.strategy", strategy, strategies)
    if accelerator in ("gpu", "cuda") and gpus == 0 and not torch.backends.mps.is_available():
        yield f"trainer.accelerator={accelerator}: this machine has no GPU that torch can use; choose trainer=cpu"
        return
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    available = gpus if on_gpu else None
    yield from _device_problems(devices, available)
    if str(trainer.precision) in ("16-true", "16") and not on_gpu:
        yield (
            f"trainer.precision={trainer.precision}: half precision alone trains to NaN on a CPU; "
            "choose trainer.precision=bf16-mixed or 32"
        )
    if strategy.startswith("deepspeed"):
        if importlib.util.find_spec("deepspeed") is None:
            yield (
                f"trainer.strategy={strategy}: needs the package deepspeed, which is not installed; "
                "choose trainer.strategy=fsdp"
            )
        elif trainer.enable_checkpointing:
            yield (
                f"trainer.strategy={strategy}: its checkpoints are directories, which can't be tested or resumed here; "
                "choose trainer.strategy=fsdp, or do without: trainer.enable_checkpointing=false"
            )
    if strategy.startswith(("fsdp", "deepspeed")) and str(cfg.optimizer["_target_"]).endswith(".MuonAdamW"):
        yield (
            f"optimizer=muon: it takes whole matrices, and trainer.strategy={strategy} shares them out among the "
            "GPUs; choose optimizer=adamw or trainer=ddp"
        )
    if strategy.startswith("fsdp") and not on_gpu:
        yield f"trainer.strategy={strategy}: needs GPUs; choose trainer=ddp_cpu for several processes on a CPU"
    processes = devices if type(devices) is int else 1
    if trainer.sync_batchnorm and not on_gpu and processes * trainer.num_nodes > 1:
        yield "trainer.sync_batchnorm=true: torch can synchronise it on GPUs alone; choose model.norm=layer"
    if cfg.data.num_workers > 8 * available_cpus():
        yield (
            f"data.num_workers={cfg.data.num_workers}: this machine has {available_cpus()} cores; "
            f"choose at most {8 * available_cpus()}"
        )


def _device_problems(devices: Any, available: int | None) -> Iterator[str]:
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    many = len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else devices
    if many == "auto" or many == -1:
        return
    if isinstance(devices, str):  # "0,1": Lightning reads a list of indices
        parts = [part.strip() for part in devices.split(",") if part.strip()]
        many = len(parts) if all(part.isdigit() for part in parts) else None
    if type(many) is not int or many < 1:
        yield f"trainer.devices={devices}: must be a whole number of at least 1, -1, a list of indices, or auto"
    elif available is not None and many > available:
        yield f"trainer.devices={devices}: this machine has {available}; choose trainer.devices={available}"


def _data_problems(cfg: DictConfig) -> Iterator[str]:
    dataset = resolve(str(cfg.data.dataset["_target_"]))
    sizes = getattr(dataset, "sizes", None)
    if sizes and cfg.data.val_size >= sizes["train"]:
        yield (
            f"data.val_size={cfg.data.val_size}: {getattr(dataset, 'title', 'the dataset')} has {sizes['train']} "
            f"training images; choose 0 to {sizes['train'] - 1}"
        )


def _unknown(key: str, value: object, options: Sequence[str]) -> str:
    guess = nearest(str(value), options)
    hint = f"did you mean {key}={guess}? " if guess else ""
    return f"{key}={value}: no such option; {hint}There are: {', '.join(options)}"
