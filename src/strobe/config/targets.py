"""A config -> everything wrong with what it names. Nothing it names is called."""

import importlib
import inspect
import typing
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO, LayerSync, Precision
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from strobe.config.annotations import accepts, describe
from strobe.config.overrides import nearest
from strobe.data import augment
from strobe.data.datamodule import ImageDataModule
from strobe.data.dataset import ImageDataset

# Given by `build`, never by a config.
_BUILT = {
    "model": {"in_shape", "num_classes"},
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
    "data": {"dataset", "augmentations"},
}

# Left open (null) in a config, filled in by `build` or by the Classifier.
_FILLED = {"logger": {"save_dir"}, "scheduler": {"T_max", "total_steps"}}


def problems_with_targets(cfg: DictConfig) -> list[str]:
    """Everything wrong with the targets of a config, or of a part of one, and with their arguments."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict), "a DictConfig becomes a dict"
    wrong = list(_misplaced(config))
    for path, node, kinds in _nodes(config):
        wrong += _node_problems(path, node, kinds)
    return wrong


def resolve(target: str) -> object:
    """The object that a dotted path names, found as Hydra finds it; nothing is called.

    Raises:
        ImportError: If there is no such module or attribute, or its name is one that has a module run.
    """
    first, *parts = target.split(".")
    if not all(part.isidentifier() for part in (first, *parts)):
        raise ImportError("is not the name of a class, <module>.<Class>")
    if odd := [part for part in (first, *parts) if part.startswith("__")]:
        raise ImportError(f"is refused, because no class is named {odd[0]!r}, and a module of that name is a program")
    name = first
    try:
        named: object = importlib.import_module(first)
    except ModuleNotFoundError as error:
        if error.name != first:
            raise
        raise ImportError(f"there is no module {first!r}") from None
    for part in parts:
        within, name = name, f"{name}.{part}"
        if not hasattr(named, part) and isinstance(named, ModuleType):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
        if not hasattr(named, part):
            known = [key for key in vars(named) if not key.startswith("_")] if hasattr(named, "__dict__") else []
            guess = nearest(part, known)
            raise ImportError(f"{within} has no {part!r}{f'; did you mean {guess!r}?' if guess else ''}")
        named = getattr(named, part)
    return named


_KINDS: dict[str, type] = {
    "data": ImageDataModule,
    "data.dataset": ImageDataset,
    "model": nn.Module,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "loss": nn.Module,
    "trainer": Trainer,
}
_COLLECTIONS: dict[str, tuple[type, ...]] = {
    "callbacks": (Callback,),
    "logger": (Logger,),
    "data.augmentations": (object,),
    "trainer.plugins": (Precision, ClusterEnvironment, CheckpointIO, LayerSync),
}


def _nodes(config: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[type, ...]]]:
    """Every node that will be instantiated, with the classes of which its target has to be a subclass."""
    for path, node in _mappings(config):
        if path in _KINDS:
            yield path, node, (_KINDS[path],)
        elif (parent := path.rpartition(".")[0]) in _COLLECTIONS:
            yield path, node, _COLLECTIONS[parent]
        elif "_target_" in node and "[" not in path:
            # A target within another node would be built with it: allow modules (a net made of nets), nothing else.
            yield path, node, (nn.Module,)


def _mappings(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings of nested settings, with their paths: ``a.b[0].c``."""
    if isinstance(node, dict):
        if path:
            yield path, node
        for key, value in node.items():
            yield from _mappings(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _mappings(value, f"{path}[{index}]")


def _misplaced(config: Mapping[Any, Any]) -> Iterator[str]:
    """Things where no object belongs: targets within lists, and collections that are no collections of nodes."""
    for path, node in _mappings(config):
        if "_target_" in node and "[" in path:
            yield f"{path}._target_: refused, because objects aren't allowed in lists"
    for path in _COLLECTIONS:
        collection: Any = config
        for key in path.split("."):
            collection = collection.get(key) if isinstance(collection, dict) else None
        if collection is None:
            continue
        if not isinstance(collection, dict):
            yield f"{path}={collection}: must be a mapping of names to nodes with a _target_"
            continue
        for name, node in collection.items():
            if node is not None and not isinstance(node, dict):
                yield f"{path}.{name!s}={node}: must be a node with a _target_, or null"


def _node_problems(path: str, node: Mapping[str, Any], kinds: tuple[type, ...]) -> list[str]:
    if "_target_" not in node:
        return [f"{path}: names no class; add {path}._target_=<module>.<Class>"]
    target = node["_target_"]
    if not isinstance(target, str):
        return [f"{path}._target_={target!r}: must be a text, <module>.<Class>"]
    try:
        cls = resolve(target)
    except ImportError as error:
        return [f"{path}._target_={target!r}: {error}"]
    except (Exception, SystemExit) as error:  # a module of the user's own that fails as it is imported
        return [f"{path}._target_={target!r}: importing it failed: {type(error).__name__}: {error}"]
    if not isinstance(cls, type) or not issubclass(cls, kinds) or (object in kinds and not _is_augmentation(cls)):
        return [f"{path}._target_={target!r}: refused, because it is not {_allowed(path, kinds[0])}"]
    if issubclass(cls, StochasticWeightAveraging):
        return [
            f"{path}._target_={target!r}: refused, because its average is made after the last checkpoint, and would be "
            "neither tested nor kept; choose lightning.pytorch.callbacks.EMAWeightAveraging"
        ]
    return _argument_problems(path, node, cls)


def _allowed(path: str, kind: type) -> str:
    if kind is object:
        return "an augmentation (see strobe.data.augment)"
    if path.startswith("trainer.plugins."):
        return "a plugin of Lightning's, or a subclass of one"
    return f"a subclass of {kind.__module__.removesuffix('._' + kind.__name__.lower())}.{kind.__name__}"


def _is_augmentation(cls: type) -> bool:
    own = cls.__module__ == augment.__name__
    call = inspect.signature(cls.__call__).parameters if "__call__" in vars(cls) else {}
    return own or list(call)[1:] == ["images", "targets", "generator"]


def _argument_problems(path: str, node: Mapping[str, Any], cls: type[object]) -> list[str]:
    signature = inspect.signature(cls)
    try:
        hints = typing.get_type_hints(cls.__init__)
    except Exception:  # an annotation that only exists for type checkers
        hints = {}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    built = _BUILT.get(path, set())
    known = [name for name in signature.parameters if name not in built]
    wrong = []
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
            wrong.append(f"{path}.{name}: {cls.__name__} takes no such argument; {hint} takes {', '.join(known)}")
            continue
        plain = node[key]
        if plain is None and name in _FILLED.get(path.partition(".")[0], ()):
            continue
        if name in hints and not (isinstance(plain, dict) and "_target_" in plain) and not accepts(hints[name], plain):
            wrong.append(f"{path}.{name}={plain!r}: {cls.__name__} takes {describe(hints[name])}")
    for name, parameter in signature.parameters.items():
        required = parameter.default is parameter.empty and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )
        if required and name not in built and name not in node:
            wrong.append(f"{path}.{name}: {cls.__name__} needs it; add +{path}.{name}=<value>")
    return wrong
