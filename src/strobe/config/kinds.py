"""What may stand where in a config: classes by type, and the arguments that a config leaves to `build`."""

import importlib.util
import inspect
import sys
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins import CheckpointIO, LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler
from torchmetrics import Metric, MetricCollection

from strobe.config.annotations import expects
from strobe.data.dataset import ImageDataset

FACTS = frozenset({"title", "shape", "in_shape", "num_classes", "classes", "mean", "std"})
"""What `ImageDataModule` knows before any file is read."""

_TO_TASKS = frozenset({"net", "optimizer", "scheduler", "loss", "metrics", "monitor", "compile", "decay_norm_and_bias"})


@dataclass(frozen=True)
class Kind:
    """What one place of a config takes.

    Attributes:
        classes: A target is a subclass of one of them.
        words: What a target has to be, after "it is not".
        functions: Whether a function that says it returns one will do.
        text: Whether a text or a number may stand there instead of a node.
        factory: Whether the node has to make a factory, because an argument is known only later.
        given: Arguments that `build` gives always, and that a config must not.
        offered: Arguments that `build` gives to a class that names them where the config does not.
        facts: Which of the data's facts it offers too.
        filled: Arguments that are null in a config to be given by `build`.
        further: Keys beside the arguments, which `build` reads itself.
    """

    classes: tuple[type, ...]
    words: str
    functions: bool = False
    text: bool = False
    factory: bool = False
    given: frozenset[str] = frozenset()
    offered: frozenset[str] = frozenset()
    facts: Literal["all", "num_classes"] | None = None
    filled: frozenset[str] = frozenset()
    further: frozenset[str] = frozenset()

    def given_to(self, parameters: Collection[str], facts: Collection[str] | None) -> frozenset[str]:
        """The parameters that `build` gives where a config leaves them open.

        Args:
            parameters: Those that a class names.
            facts: Those that the data tells; None where that is known only with the data.
        """
        told = frozenset(parameters if facts is None else facts) if self.facts else frozenset()
        told = told if self.facts == "all" else told & {"num_classes"}
        return (self.given | self.offered | told) & frozenset(parameters)

    def holds(self, named: object) -> bool:
        """Whether what a target names is of this kind."""
        if isinstance(named, type):
            return _is_augmentation(named) if self is _AUGMENTATION else issubclass(named, self.classes)
        made = made_by(named)
        return self.functions and made is not None and issubclass(made, self.classes) and _may_be_called(named)


_AUGMENTATION = Kind((object,), "an augmentation (see strobe.data.augment)", facts="num_classes")
_PLUGINS = (Precision, ClusterEnvironment, CheckpointIO, LayerSync)

NODES = {
    "task": Kind((LightningModule,), "a subclass of lightning.pytorch.LightningModule", offered=_TO_TASKS, facts="all"),
    "data": Kind((LightningDataModule,), "a subclass of lightning.pytorch.LightningDataModule"),
    "data.dataset": Kind((ImageDataset,), "a subclass of strobe.data.dataset.ImageDataset"),
    "model": Kind(
        (nn.Module,), "a subclass of torch.nn.Module, or a function that returns one", functions=True, facts="all"
    ),
    "optimizer": Kind(
        (Optimizer,),
        "a subclass of torch.optim.Optimizer",
        factory=True,
        given=frozenset({"params"}),
        further=frozenset({"groups"}),
    ),
    "scheduler": Kind(
        (LRScheduler,),
        "a subclass of torch.optim.lr_scheduler.LRScheduler",
        factory=True,
        given=frozenset({"optimizer"}),
        filled=frozenset({"T_max", "total_steps"}),
    ),
    "loss": Kind((nn.Module,), "a subclass of torch.nn.Module", functions=True, facts="num_classes"),
    "trainer": Kind((Trainer,), "lightning.pytorch.Trainer"),
    "trainer.accelerator": Kind((Accelerator,), "a subclass of lightning.pytorch.accelerators.Accelerator", text=True),
    "trainer.strategy": Kind((Strategy,), "a subclass of lightning.pytorch.strategies.Strategy", text=True),
    "trainer.profiler": Kind((Profiler,), "a subclass of lightning.pytorch.profilers.Profiler", text=True),
}
COLLECTIONS = {
    "callbacks": Kind((Callback,), "a subclass of lightning.pytorch.Callback"),
    "logger": Kind((Logger,), "a subclass of lightning.pytorch.loggers.Logger", filled=frozenset({"save_dir"})),
    "metrics": Kind((Metric, MetricCollection), "a subclass of torchmetrics.Metric", facts="num_classes"),
    "data.augmentations": _AUGMENTATION,
    "trainer.plugins": Kind(_PLUGINS, "a plugin of Lightning's, or a subclass of one"),
}
LISTS = ("trainer.plugins",)
"""Collections that may be lists of nodes too."""

_OBJECTS = (nn.Module, Optimizer, LRScheduler, Dataset, Sampler, DataLoader)
_OBJECTS_IN_WORDS = (
    "a module, metric, optimizer, scheduler, data set, sampler, loader or transform, nor a class of your own or one "
    "that its place asks for"
)
_TAKE_FUNCTIONS = ("task", "data", "model", "loss")
_TRANSFORMS = "torchvision.transforms."

# What is not a user's own: classes of these are allowed by kind, and functions not at all.
_LIBRARIES = frozenset(
    {
        *("torch", "torchvision", "torchaudio", "torchmetrics", "lightning", "lightning_fabric", "lightning_utilities"),
        *("pytorch_lightning", "hydra", "hydra_plugins", "omegaconf", "yaml", "antlr4", "numpy", "scipy", "pandas"),
        *("PIL", "fsspec", "cloudpickle", "joblib", "dill", "setuptools", "pkg_resources", "strobe"),
    }
)

NEEDS = {
    "strobe.callbacks.wandb_logger.Wandb": ("wandb",),
    "strobe.callbacks.mlflow_logger.MLflow": ("mlflow",),
    "lightning.pytorch.loggers.WandbLogger": ("wandb",),
    "lightning.pytorch.loggers.MLFlowLogger": ("mlflow",),
    "lightning.pytorch.loggers.CometLogger": ("comet_ml",),
    "lightning.pytorch.loggers.NeptuneLogger": ("neptune",),
    "lightning.pytorch.loggers.LitLogger": ("litlogger",),
    "lightning.pytorch.loggers.TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "lightning.pytorch.callbacks.RichProgressBar": ("rich",),
    "lightning.pytorch.callbacks.RichModelSummary": ("rich",),
    "lightning.pytorch.strategies.DeepSpeedStrategy": ("deepspeed",),
    "lightning.pytorch.strategies.XLAStrategy": ("torch_xla",),
    "lightning.pytorch.strategies.SingleDeviceXLAStrategy": ("torch_xla",),
    "lightning.pytorch.profilers.XLAProfiler": ("torch_xla",),
    "lightning.pytorch.plugins.BitsandbytesPrecision": ("bitsandbytes",),
    "lightning.pytorch.plugins.TransformerEnginePrecision": ("transformer_engine",),
    "lightning.pytorch.plugins.XLAPrecision": ("torch_xla",),
}
"""Packages, of which one will do, that classes of Lightning's ask for only as they are made."""


def made_by(named: object) -> type | None:
    """The class of what a target makes; None for a function that doesn't say."""
    if isinstance(named, type):
        return named
    if not inspect.isroutine(named):
        return None
    try:
        returned = typing.get_type_hints(named).get("return")
    except Exception:  # an annotation that only exists for type checkers, a builtin
        returned = None
    if isinstance(returned, type) and typing.get_origin(returned) is None:
        return returned
    within = getattr(named, "__self__", None)  # Net.from_pretrained makes a Net
    return within if isinstance(within, type) else None


def may_be_within(named: object, top: str, hint: Any) -> bool:
    """Whether a node may name this within another node.

    Args:
        named: What it names.
        top: The key of the config's top that it stands below.
        hint: The annotation of the parameter that it is for.
    """
    if isinstance(named, type):
        is_known = issubclass(named, _OBJECTS) or named.__module__.startswith(_TRANSFORMS)
        return is_known or _is_of_the_users(named) or expects(hint, named)
    if not inspect.isroutine(named) or top not in _TAKE_FUNCTIONS:
        return False
    made = made_by(named)
    return _is_of_the_users(named) or (made is not None and issubclass(made, _OBJECTS) and _may_be_called(named))


def why_not(named: object, kind: Kind | None) -> str:
    """Why a target is refused: what it is not, and what to name instead where that is known."""
    words = _OBJECTS_IN_WORDS if kind is None else kind.words
    if isinstance(named, type):
        if any(base.__module__.partition(".")[0] == "pytorch_lightning" for base in named.__mro__):
            words += ": it is of the package pytorch_lightning; import lightning.pytorch instead"
    elif kind is not None and kind.functions and inspect.isfunction(named) and _may_be_called(named):
        words += (
            "; have its annotation say so, or that of a function of yours that calls it: "
            f"def {named.__name__}(...) -> torch.nn.Module"
        )
    return f"refused, because it is not {words}"


def refusal(named: object) -> str:
    """Why something of the right kind can't be had."""
    if not isinstance(named, type):
        return ""
    if issubclass(named, StochasticWeightAveraging):
        return (
            "refused, because its average is made after the last checkpoint, and would be "
            "neither tested nor kept; choose callbacks=swa, callbacks=ema or "
            "lightning.pytorch.callbacks.EMAWeightAveraging"
        )
    if issubclass(named, LearningRateFinder):
        return (
            "refused, because a run would train with another rate than its config says; look for one with "
            "debug=lr_find, then give it as optimizer.lr"
        )
    if issubclass(named, BatchSizeFinder):
        return (
            "refused, because a run would train with other batches than its config says; give data.batch_size, or "
            "try several with -m data.batch_size=64,128,256"
        )
    # A class with a __new__ of its own may make objects of another, as torchmetrics.F1Score does.
    if inspect.isabstract(named) and named.__new__ is object.__new__:
        lacking = sorted(
            name for name, each in inspect.getmembers(named) if getattr(each, "__isabstractmethod__", False)
        )
        return f"refused, because it has no {' and no '.join(lacking)} of its own"
    if package := _missing_package(named):
        return f"needs the package {package!r}, which is not installed: pip install {package}"
    return ""


def not_taken(named: object, path: str, key: str) -> str:
    """Why an argument can't be given that a class seems to take."""
    if named is TensorBoardLogger and key in ("images", "histograms"):  # it hands on what it doesn't know
        return (
            f"TensorBoardLogger takes no such argument, strobe.callbacks.tensorboard_logger.TensorBoard does; leave it "
            f"out with ~{path}.{key}"
        )
    return ""


def _missing_package(cls: type) -> str | None:
    """The package that a class can't be made without and that is not installed."""
    for name, packages in NEEDS.items():
        module, _, last = name.rpartition(".")
        known = getattr(sys.modules.get(module), last, None)
        if isinstance(known, type) and issubclass(cls, known):
            return None if any(importlib.util.find_spec(package) for package in packages) else packages[0]
    return None


def _is_augmentation(cls: type) -> bool:
    """Whether its objects can be called with images, targets and a generator."""
    name = "forward" if issubclass(cls, nn.Module) else "__call__"
    call = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    if not inspect.isfunction(call):
        return False
    taken = list(inspect.signature(call).parameters.values())[1:]
    by_place = [each for each in taken if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    rest = [*by_place[3:], *(each for each in taken if each.kind is each.KEYWORD_ONLY)]
    return len(by_place) >= 3 and all(each.default is not each.empty for each in rest)


def _is_of_the_users(named: object) -> bool:
    package = str(getattr(named, "__module__", None)).partition(".")[0]
    return package.isidentifier() and package != "None" and package not in {*_LIBRARIES, *sys.stdlib_module_names}


def _may_be_called(named: object) -> bool:
    """Whether a function that makes what is asked for does no more than that, as far as one can tell by its home."""
    return _is_of_the_users(named) or str(getattr(named, "__module__", "")).startswith("torchvision.")
