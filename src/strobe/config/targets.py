"""A config -> everything wrong with what it names. Nothing it names is called."""

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from strobe.config.annotations import accepts, describe
from strobe.config.overrides import nearest
from strobe.data import augment
from strobe.data.datamodule import ImageDataModule
from strobe.data.dataset import ImageDataset
from strobe.record.settings import leaves

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
    wrong = list(_misplaced(cfg))
    for path, node, kind in _nodes(cfg):
        wrong += _node_problems(path, node, kind)
    return wrong


def resolve(target: str) -> object:
    """The object that a dotted path names, by importing its module; nothing is called.

    Raises:
        ImportError: If there is no such module or attribute.
    """
    parts = target.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            named: object = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise
        for attribute in parts[count:]:
            if not hasattr(named, attribute):
                known = [key for key in vars(named) if not key.startswith("_")] if hasattr(named, "__dict__") else []
                guess = nearest(attribute, known)
                raise ImportError(f"{name} has no {attribute!r}{f'; did you mean {guess!r}?' if guess else ''}")
            named = getattr(named, attribute)
        return named
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


def _targets(node: Any) -> Iterator[str]:
    """The paths of all nodes with a target, also those within lists: ``a.b[0].c``."""
    for path, _ in leaves(node, into_lists=True):
        parent, _, key = path.rpartition(".")
        if key == "_target_":
            yield parent


def _misplaced(cfg: DictConfig) -> Iterator[str]:
    """Things where no object belongs: targets within lists, and collections that are no collections of nodes."""
    for path in _targets(OmegaConf.to_container(cfg, resolve=True)):
        if "[" in path:
            yield f"{path}._target_: refused, because objects aren't allowed in lists"
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
    if issubclass(cls, StochasticWeightAveraging):
        return [
            f"{path}._target_={target!r}: refused, because its average is made after the last checkpoint, and would be "
            "neither tested nor kept; choose lightning.pytorch.callbacks.EMAWeightAveraging"
        ]
    return _argument_problems(path, node, cls)


def _allowed(path: str, kind: type) -> str:
    if kind is object:
        return "an augmentation (see strobe.data.augment)" if path.startswith("data") else "a plugin of Lightning's"
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
        value = OmegaConf.select(node, name)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
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
