"""Own classes by config: the right type may be named wherever it comes from, and anything else is refused unmade."""

import copy
import importlib.util
import itertools
import random
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

from strobe.config import kinds
from strobe.config.annotations import Made, accepts, describe
from strobe.config.compose import CONF
from strobe.config.plan import plan
from strobe.config.resolving import resolve
from strobe.config.targets import problems_with_targets
from strobe.config.trial import problems_when_built
from strobe.config.values import problems
from strobe.errors import ConfigError
from strobe.run.rehearsal import Rehearsal
from tests.config.test_validate import NEGATIVE_OR_OUT_OF_RANGE

MINE = """
import abc, os, random, socket
from os import system
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from strobe.data.augment import Flip
from strobe.data.datamodule import ImageDataModule

class Net(nn.Module):
    def __init__(self, width: int = 3, activation: nn.Module | None = None):
        super().__init__()
        self.out = nn.LazyLinear(10)
    def forward(self, x):
        return self.out(x.flatten(1))

class Facts(nn.Module):
    def __init__(self, in_shape, num_classes, mean, title): super().__init__()

class Words(nn.Module):
    def __init__(self, vocab_size): super().__init__()

class HalfAnnotated(nn.Module):
    def __init__(self, width: int, of_checkers: "OnlyForCheckers" = None, extra: "int" = 1): super().__init__()

class Any_(nn.Module):
    def __init__(self, layers, **others): super().__init__()

def net(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def no_annotation(): return nn.Flatten()

def a_number() -> float: return 0.5

class GAN(L.LightningModule):
    def __init__(self, in_shape, latent: int = 8, lr: float = 1e-3, betas: tuple = (0.5, 0.9)): super().__init__()

class FromTemplate(L.LightningModule):
    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer,
                 scheduler: torch.optim.lr_scheduler.LRScheduler, compile: bool):
        super().__init__()
        if not isinstance(net, nn.Module): raise ValueError("no net")

class Language(L.LightningModule):
    def __init__(self, net: nn.Module, vocab_size: int): super().__init__()

class Data(L.LightningDataModule):
    def __init__(self, batch_size: int = 4, dataset=None): super().__init__()

class DataWithFacts(Data):
    def facts(self): return {"vocab_size": 5}

class Images(ImageDataModule): pass

class Metric(torchmetrics.Metric):
    def __init__(self, num_classes): super().__init__()
    def update(self, *a): ...
    def compute(self): ...

class Own: pass
class OwnCallback(Callback): pass
class OwnLogger(Logger):
    name, version = "own", 0
    def log_metrics(self, metrics, step=None): ...
    def log_hyperparams(self, *a, **k): ...
class OwnPrecision(Precision): pass
class OwnStrategy(DDPStrategy): pass
class OwnProfiler(Profiler):
    def start(self, n): ...
    def stop(self, n): ...
class HalfAnIO(CheckpointIO): pass

class OwnFlip(Flip): pass
class CutMix:
    def __init__(self, num_classes: int, alpha: float = 1.0): ...
    def __call__(self, images, targets, generator, strength=1.0): return images, targets
class AsModule(nn.Module):
    def forward(self, x, y, g): return x, y
class OfImagesAlone(nn.Module):
    def forward(self, images): return images
class NeedsMore:
    def __call__(self, images, targets, generator, more): return images, targets
class TakesAnything:
    def __call__(self, *args): return args

class Writes(Net):
    def __init__(self):
        super().__init__()
        Path("written").write_text("")
class Swallows(Net):
    def __init__(self):
        super().__init__()
        try: Path("written").write_text("")
        except OSError: pass
class Fetches(Net):
    def __init__(self):
        super().__init__()
        socket.create_connection(("127.0.0.1", 9))
class Draws(Net):
    def __init__(self):
        super().__init__()
        print(torch.rand(3, device="cpu"), random.random(), np.random.rand())
class LooksAtValues(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x
class Fails(Net):
    def __init__(self): raise KeyError("width")
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of the user's own."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("mine", None)


def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    GlobalHydra.instance().clear()
    OmegaConf.set_struct(cfg, False)
    return cfg


@pytest.fixture(scope="module")
def shipped() -> DictConfig:
    return composed()


@pytest.fixture
def config(shipped: DictConfig) -> Callable[..., DictConfig]:
    """The shipped config with nodes put in the place of others, by their path."""

    def made(nodes: Mapping[str, Any] | None = None, *overrides: str) -> DictConfig:
        cfg = composed(*overrides) if overrides else copy.deepcopy(shipped)
        for path, node in (nodes or {}).items():
            OmegaConf.update(cfg, path, node, merge=False, force_add=True)
        return cfg

    return made


Config = Callable[..., DictConfig]


def named(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, **arguments}


# A target of each kind, and where it may stand.
KINDS = {
    "mine.GAN": {"task", "model", "loss"},  # a LightningModule is a module too
    "mine.Data": {"data"},
    "mine.Images": {"data"},
    "strobe.data.idx.MNIST": {"data.dataset"},
    "mine.Net": {"model", "loss"},
    "mine.net": {"model", "loss"},
    "torchvision.models.resnet18": {"model", "loss"},
    "torch.nn.CrossEntropyLoss": {"model", "loss"},
    "torch.optim.RAdam": {"optimizer"},
    "torch.optim.lr_scheduler.ConstantLR": {"scheduler"},
    "mine.Metric": {"metrics.x", "model", "loss"},
    "torchmetrics.F1Score": {"metrics.x", "model", "loss"},
    "mine.OwnCallback": {"callbacks.x"},
    "mine.OwnLogger": {"logger.x"},
    "mine.OwnPrecision": {"trainer.plugins.x"},
    "mine.OwnStrategy": {"trainer.strategy"},
    "mine.OwnProfiler": {"trainer.profiler"},
    "lightning.pytorch.accelerators.CPUAccelerator": {"trainer.accelerator"},
    "mine.OwnFlip": {"data.augmentations.x"},
    "mine.CutMix": {"data.augmentations.x"},
    "mine.AsModule": {"data.augmentations.x", "model", "loss"},
    "mine.OfImagesAlone": {"model", "loss"},
    "mine.NeedsMore": set(),
    "mine.TakesAnything": set(),
    "mine.no_annotation": set(),
    "mine.a_number": set(),
    "mine.Own": set(),
    "mine.HalfAnIO": set(),
    "mine.system": set(),
    "os.system": set(),
    "subprocess.Popen": set(),
    "builtins.eval": set(),
    "builtins.dict": set(),
    "torch.load": set(),
    "torch.hub.load": set(),
    "torch.jit.load": set(),
    "pathlib.Path": set(),
    "pathlib.Path.write_text": set(),
    "functools.partial": set(),
    "hydra.utils.call": set(),
    "numpy.load": set(),
    "lightning.pytorch.LightningModule.load_from_checkpoint": set(),
    "mine.GAN.load_from_checkpoint": set(),
    "strobe.config.resolving.resolve": set(),
}
PLACES = sorted({place for places in KINDS.values() for place in places})


@pytest.mark.parametrize("place", PLACES)
def test_a_target_may_stand_where_its_type_belongs_and_nowhere_else(config: Config, place: str) -> None:
    for target, places in KINDS.items():
        node = named(target, _partial_=True) if place in ("optimizer", "scheduler") else named(target)
        found = [line for line in problems_with_targets(config({place: node})) if line.startswith(f"{place}._target_")]
        assert (found == []) == (place in places), (target, found)
        assert all("refused" in line and target in line for line in found)


FULL = {
    "task": "mine.GAN",
    "data": "mine.Data",
    "optimizer": "torch.optim.RAdam",
    "scheduler": "torch.optim.lr_scheduler.ConstantLR",
    "loss": "torch.nn.HuberLoss",
    "metrics.x": "torchmetrics.MeanMetric",
    "callbacks.x": "mine.OwnCallback",
    "logger.x": "mine.OwnLogger",
    "trainer.plugins": [named("mine.OwnPrecision"), named("lightning.pytorch.plugins.AsyncCheckpointIO")],
    "trainer.strategy": named(
        "lightning.pytorch.strategies.DDPStrategy", timeout=named("datetime.timedelta", seconds=60)
    ),
    "trainer.profiler": "mine.OwnProfiler",
}


def test_everything_at_once_may_be_ones_own(config: Config) -> None:
    factories = ("optimizer", "scheduler")
    nodes = {
        path: named(node, **({"_partial_": True} if path in factories else {})) if isinstance(node, str) else node
        for path, node in FULL.items()
    }
    nodes["task"]["in_shape"] = [1, 2, 2]
    cfg = config(nodes, "model=mlp")
    cfg.model = None
    assert problems_with_targets(cfg) == []
    assert problems_when_built(cfg) == []


@pytest.mark.parametrize("place", ["model", "optimizer", "scheduler", "loss"])
def test_what_a_task_does_not_use_may_be_null(config: Config, place: str) -> None:
    cfg = config({"task": named("mine.GAN"), place: None})
    assert problems_with_targets(cfg) == []
    assert problems_when_built(cfg) == []


@pytest.mark.parametrize("place", ["optimizer", "scheduler"])
def test_an_optimizer_or_schedule_that_would_be_made_at_once_says_what_to_add(config: Config, place: str) -> None:
    target = {"optimizer": "torch.optim.RAdam", "scheduler": "torch.optim.lr_scheduler.ConstantLR"}[place]
    (line,) = problems_with_targets(config({place: named(target)}))
    assert f"add {place}._partial_=true" in line
    (line,) = problems_with_targets(config({place: named(target, _partial_=True, _args_=[0.1])}))
    assert line.startswith(f"{place}._args_=[0.1]")
    assert problems_with_targets(config({"optimizer.groups": [{"match": "*.bias", "lr": 0.1}]})) == []


@pytest.mark.parametrize("place", ["callbacks", "logger", "metrics", "data.augmentations"])
def test_what_is_kept_by_name_is_no_list(config: Config, place: str) -> None:
    (line,) = problems_with_targets(config({place: [named("mine.OwnCallback")]}))
    assert line.startswith(f"{place}=[")
    assert "must be a mapping of names" in line


def test_a_function_is_told_to_say_what_it_returns(config: Config) -> None:
    (line,) = problems_with_targets(config({"model": named("mine.no_annotation")}))
    assert "def no_annotation(...) -> torch.nn.Module" in line


@pytest.mark.skipif(importlib.util.find_spec("pytorch_lightning") is None, reason="pytorch_lightning is not installed")
@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("callbacks.x", "pytorch_lightning.callbacks.Timer"),
        ("task", "pytorch_lightning.LightningModule"),
        ("data", "pytorch_lightning.LightningDataModule"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_other_lightning_is_named(config: Config, place: str, target: str) -> None:
    lines = problems_with_targets(config({place: named(target)}))
    assert any("pytorch_lightning; import lightning.pytorch instead" in line for line in lines)


def test_a_class_that_is_not_finished_says_what_it_lacks(config: Config) -> None:
    (line,) = problems_with_targets(config({"trainer.plugins.x": named("mine.HalfAnIO")}))
    assert "load_checkpoint" in line
    assert "save_checkpoint" in line


# data, where the argument is asked for, whether it is fine, what is said of it if it is not
@pytest.mark.parametrize(
    ("data", "node", "words"),
    [
        (None, {"model": named("mine.Facts")}, ""),
        (None, {"task": named("mine.GAN")}, ""),
        (None, {"metrics.x": named("mine.Metric")}, ""),
        (None, {"model": named("mine.Words")}, "model.vocab_size: Words needs it; add +model.vocab_size=<value>"),
        (None, {"model": named("mine.Words", vocab_size=3)}, ""),
        ("mine.DataWithFacts", {"model": named("mine.Words")}, ""),
        ("mine.DataWithFacts", {"task": named("mine.Language")}, ""),
        ("mine.Data", {"model": named("mine.Words")}, "and Data has no facts(); add +model.vocab_size=<value>"),
        ("mine.Data", {"task": named("mine.Language")}, "and Data has no facts(); add +task.vocab_size=<value>"),
        ("mine.Data", {"task": named("mine.Language", vocab_size=3)}, ""),
        ("mine.Data", {"data.dataset": named("mine.Own")}, ""),  # an argument as any other
        ("mine.Images", {}, "data.dataset: Images needs it"),
    ],
)
def test_what_a_class_needs_is_given_by_the_data_or_has_to_be_in_the_config(
    config: Config, data: str | None, node: dict[str, Any], words: str
) -> None:
    nodes = {**({"data": named(data)} if data else {}), **node}
    cfg = config(nodes)
    if data == "mine.Data" and "model" not in node:
        cfg.model = named("mine.Net")
    lines = problems_with_targets(cfg)
    assert (lines == []) == (words == ""), lines
    assert words in "".join(lines)


@pytest.mark.parametrize("group", ["model", "optimizer", "scheduler"])
def test_a_task_that_needs_what_no_group_makes_says_so(config: Config, group: str) -> None:
    cfg = config({"task": named("mine.FromTemplate"), group: None})
    found = problems_with_targets(cfg)
    if group == "scheduler":  # the template's own classes are annotated so, and take None
        assert found == []
    else:
        (line,) = found
        assert f"{group}=null; choose {group}=<option>" in line


# A node within another, what it is for, and whether that may be.
WITHIN = [
    ("model", named("mine.Net", activation=named("torch.nn.ReLU")), True),
    ("model", named("mine.Net", activation=named("mine.no_annotation")), True),
    ("model", named("mine.Net", activation=named("mine.Own")), False),  # of ones own, but no module
    ("model", named("mine.Net", width=named("mine.no_annotation")), False),
    ("model", named("mine.Net", width=named("mine.Own")), False),
    ("model", named("mine.HalfAnnotated", width=1, of_checkers=3, extra=2), True),
    ("model", named("mine.HalfAnnotated", width="a"), False),
    ("model", named("mine.HalfAnnotated", width=1, extra="a"), False),
    ("model", named("mine.Any_", layers=[named("torch.nn.ReLU"), {"a": named("mine.Own")}]), True),
    ("model", named("mine.Any_", layers=[named("os.system")]), False),
    ("model", named("mine.Any_", layers=1, more={"a": [{"b": named("subprocess.Popen")}]}), False),
    ("model", named("mine.Any_", layers=named("mine.Net", widht=2)), False),
    ("model", named("mine.Any_", layers=named("torch.optim.SGD", _partial_=True)), True),
    (
        "model",
        named("torch.nn.Sequential", _args_=[named("torch.nn.Flatten"), named("torch.nn.Linear", _args_=[4, 2])]),
        True,
    ),
    ("model", named("torch.nn.Sequential", _args_=[named("os.system")]), False),
    ("model", named("torch.nn.Linear", _args_=[1, 2, True, None, None, 5]), False),
    ("model", named("torch.nn.Linear", _args_=[1, 2], in_features=3), False),
    ("model", named("torch.nn.Linear", _args_=3), False),
    (
        "task",
        named("mine.FromTemplate", net=named("mine.Net"), optimizer=named("torch.optim.SGD", _partial_=True)),
        True,
    ),
    ("task", named("mine.FromTemplate", net=named("torch.optim.SGD", _partial_=True)), False),
    ("task", named("mine.FromTemplate", net=named("mine.Net"), compile=named("mine.Own")), False),
    ("task", named("mine.GAN", lr=named("mine.a_number")), True),
    ("task", named("mine.GAN", betas=[0.5, 0.9]), True),
    (
        "data",
        named(
            "mine.Data",
            dataset=named("torchvision.transforms.v2.Compose", transforms=[named("torchvision.transforms.v2.ToImage")]),
        ),
        True,
    ),
    (
        "callbacks.x",
        named(
            "lightning.pytorch.callbacks.ModelCheckpoint", train_time_interval=named("datetime.timedelta", seconds=1)
        ),
        True,
    ),
    ("callbacks.x", named("lightning.pytorch.callbacks.ModelCheckpoint", train_time_interval=3), False),
    (
        "callbacks.x",
        named("lightning.pytorch.callbacks.LambdaCallback", on_fit_start=named("mine.no_annotation")),
        False,
    ),
    ("callbacks.x", named("lightning.pytorch.callbacks.LambdaCallback", on_fit_start=3), False),
    ("logger.x", named("mine.OwnLogger", save_dir=None), False),
]


@pytest.mark.parametrize(("place", "node", "fine"), WITHIN, ids=str)
def test_a_node_within_another_is_what_its_place_asks_for(
    config: Config, place: str, node: dict[str, Any], fine: bool
) -> None:
    lines = problems_with_targets(config({"model": named("mine.Net"), place: node}))
    assert (lines == []) == fine, lines
    assert all(line.startswith(place) for line in lines)


@pytest.mark.parametrize("place", ["trainer.strategy", "trainer.profiler", "trainer.accelerator", "optimizer.groups"])
@pytest.mark.parametrize("value", [[named("os.system")], [{"a": named("mine.system")}]], ids=str)
def test_nothing_hides_where_a_text_or_a_list_may_stand(config: Config, place: str, value: Any) -> None:
    assert problems_with_targets(config({place: value}))


@pytest.mark.parametrize("place", ["trainer.strategy", "trainer.profiler", "trainer.accelerator"])
def test_a_number_is_no_text(config: Config, place: str) -> None:
    (line,) = problems_with_targets(config({place: 3}))
    assert line.startswith(f"{place}=3")


@pytest.mark.parametrize(
    "place", ["tags", "seed", "name", "monitor.x", "sweep.x", "identity.x", "extra", "checkpoint.x"]
)
@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: [it], lambda it: {"a": [it]}], ids=["alone", "list", "deep"]
)
def test_no_object_belongs_anywhere_else(config: Config, place: str, wrap: Callable[[Any], Any]) -> None:
    lines = problems_with_targets(config({place: wrap(named("mine.Net"))}))
    assert any(line.startswith(place) and "no object belongs" in line for line in lines)


DANGEROUS = [target for target, places in KINDS.items() if not places and not target.startswith("mine.")]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_dangerous_may_stand_within_any_node(config: Config, place: str) -> None:
    (fitting, *_) = (target for target, places in KINDS.items() if place in places)
    for target, wrapped in itertools.product(DANGEROUS, (lambda it: it, lambda it: [it], lambda it: {"a": [it]})):
        node = named(fitting, evil=wrapped(named(target)), _partial_=True)
        assert problems_with_targets(config({place: node})), target


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a profiler that was made by half
@pytest.mark.parametrize("name", list(kinds.NEEDS))
def test_a_package_that_a_class_needs_is_named_before_it_is_made(name: str) -> None:
    """And the table of what needs what is right, wherever the package is not installed."""
    try:
        cls: Any = resolve(name)
    except ImportError:
        pytest.skip("this Lightning has no such class")
    installed = any(importlib.util.find_spec(package) for package in kinds.NEEDS[name])
    assert installed == (kinds.refusal(cls) == "")
    assert installed or f"needs the package {kinds.NEEDS[name][0]!r}" in kinds.refusal(type("Own", (cls,), {}))
    if not installed:
        more = {"BitsandbytesPrecision": {"mode": "nf4"}, "TransformerEnginePrecision": {"weights_dtype": torch.half}}
        words = kinds.NEEDS[name][0].replace("_", "[-_ ]")
        with pytest.raises(Exception, match=f"(?i){words}|xla"):
            cls(**more.get(name.rpartition(".")[2], {}))


class Color(Enum):
    RED = "#f00"


class Called(Protocol):
    def __call__(self) -> int: ...


class Settings(TypedDict):
    a: int


# An annotation, values that it takes, values that it doesn't.
ANNOTATIONS: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [1, -1], [1.0, True, "1", None, [1], {}]),
    (float, [1, 1.5], [True, "1", None, float("nan")]),
    (bool, [True], [1, "true", None]),
    (str, ["a"], [1, None, ["a"]]),
    (Path, ["a"], [1, None]),
    (tuple, [[1]], [1, None, "a"]),
    (list, [[1]], [1, None, {}]),
    (dict, [{"a": 1}], [1, [1], None]),
    (Sequence, [[1]], [1, None]),
    (list[int], [[], [1]], [["a"], 1, None]),
    (Sequence[int], [[1]], [["a"], 1]),
    (Iterable[str], [["a"]], [[1], 1]),
    (tuple[int, str], [[1, "a"]], [[1], ["a", 1], 1]),
    (tuple[int, ...], [[], [1, 2]], [["a"]]),
    (dict[str, int], [{}, {"a": 1}], [{"a": "b"}, 1, ["a"]]),
    (Mapping[str, int], [{"a": 1}], [{"a": "b"}]),
    (Literal["a", 1], ["a", 1], ["b", True, None, Made(nn.Module)]),
    (int | None, [1, None], ["a", Made(nn.ReLU)]),
    (Color, ["RED", "#f00", "Color.RED"], ["GREEN", 1]),
    (Settings, [{"a": 1}], [1, "a"]),
    (nn.Module, [Made(nn.ReLU), Made(None), Made(nn.ReLU, factory=True)], [1, "a", None, Made(timedelta)]),
    (list[nn.Module], [[Made(nn.ReLU)]], [[Made(timedelta)], [1], Made(nn.ReLU)]),
    (Callable[[int], int], [Made(nn.ReLU), Made(timedelta, factory=True)], [1, "a", Made(timedelta)]),
    (Callable, [Made(nn.ReLU)], [1]),
    (type[nn.Module], [], [1, "a", Made(nn.ReLU)]),
    (Called, [1, Made(nn.ReLU)], []),
    (Any, [1, "a", None, [1], Made(None)], []),
    (object, [1, None, Made(None)], []),
]


@pytest.mark.parametrize(("hint", "fine", "wrong"), ANNOTATIONS, ids=[str(case[0]) for case in ANNOTATIONS])
def test_an_annotation_says_which_values_are_meant(hint: Any, fine: list[Any], wrong: list[Any]) -> None:
    assert [value for value in fine if not accepts(hint, value)] == []
    assert [value for value in wrong if accepts(hint, value)] == []
    assert describe(hint).isprintable()


@pytest.mark.parametrize(
    "override",
    [
        f"{group}={path.stem}"
        for group in ("data", "model", "optimizer", "scheduler", "loss", "experiment")
        for path in sorted((CONF / group).glob("*.yaml"))
    ],
)
def test_all_that_is_shipped_can_be_built(config: Config, override: str) -> None:
    for_numbers = ["task=regression", "+model.num_classes=1"] if override in ("loss=huber", "loss=mse") else []
    for_numbers += ["task=vae"] if override == "model=vae" else []
    found = problems_when_built(config({}, *for_numbers, override))
    assert found == [] or override in ("data=image_folder", "data=table")  # which are nothing without a path


@pytest.mark.parametrize("overrides", [each for each in NEGATIVE_OR_OUT_OF_RANGE if not each.startswith("trainer.")])
def test_what_training_would_refuse_is_refused_without_training(config: Config, overrides: str) -> None:
    cfg = config({}, *overrides.split())
    found = problems(cfg) or problems_with_targets(cfg) or problems_when_built(cfg)
    group = overrides.split()[-1].partition("=")[0].partition(".")[0]
    assert found
    assert all(line.startswith(group) for line in found)


REFUSED_WHEN_BUILT = [
    ({"model": named("mine.Fails")}, "model: KeyError: 'width'"),
    ({"model": named("torch.nn.Flatten")}, "model: Flatten makes a tensor of shape (2, 784)"),
    ({"model": named("torchvision.models.resnet18")}, "model: ResNet fails on images (1, 28, 28)"),
    ({"model": named("mine.net", num_classes=7)}, "choose model.num_classes=10"),
    ({"model": named("mine.Any_", layers=named("torch.nn.Linear", in_features=-1, out_features=1))}, "model: "),
    ({"loss": named("torch.nn.MultiLabelMarginLoss")}, "loss: MultiLabelMarginLoss fails on logits (2, 10)"),
    ({"loss": named("strobe.models.losses.CrossEntropy", class_weights=[1.0, 2.0])}, "loss: CrossEntropy fails"),
    ({"loss": named("torch.nn.CrossEntropyLoss", reduction="none")}, "must be one number"),
    ({"metrics.x": named("torchmetrics.F1Score", task="multiclass", num_classes=1)}, "metrics.x: "),
    ({"optimizer": named("torch.optim.RAdam", _partial_=True, lr=-1.0)}, "optimizer: Invalid learning rate"),
    ({"scheduler": named("torch.optim.lr_scheduler.ConstantLR", _partial_=True, factor=3.0)}, "scheduler: "),
    ({"task": named("mine.FromTemplate", net=named("mine.Fails"))}, "task: KeyError: 'width'"),
    ({"data.augmentations.affine.zoom": 3}, "data.augmentations.affine: need degrees"),
]


@pytest.mark.parametrize(("nodes", "words"), REFUSED_WHEN_BUILT, ids=[words for _, words in REFUSED_WHEN_BUILT])
def test_what_a_class_refuses_is_one_line(config: Config, nodes: dict[str, Any], words: str) -> None:
    cfg = config(nodes)
    assert problems_with_targets(cfg) == []
    (line,) = problems_when_built(cfg)
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "node",
    [
        *(named(f"mine.{name}") for name in ("Writes", "Swallows", "Fetches", "Draws", "LooksAtValues")),
        named("torchvision.models.resnet18", weights="DEFAULT"),
        named("mine.Words", vocab_size=None),
    ],
    ids=str,
)
def test_a_trial_leaves_nothing_behind_and_passes_over_what_it_cannot_tell(
    config: Config,
    node: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket.socket, "connect", None)
    cfg = config({"model": node, "task": named("mine.GAN")} if "Words" in node["_target_"] else {"model": node})
    problems_with_targets(cfg)
    before = (torch.get_rng_state(), random.getstate(), sorted(tmp_path.iterdir()))
    assert problems_when_built(cfg) == []
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), sorted(tmp_path.iterdir())) == before[1:]
    assert capfd.readouterr() == ("", "")
    (tmp_path / "afterwards").write_text("as ever")


def test_a_loss_for_several_labels_is_tried_with_several(config: Config) -> None:
    assert problems_when_built(config({"loss": named("torch.nn.BCEWithLogitsLoss")})) == []


def test_with_data_of_ones_own_what_needs_it_is_passed_over(config: Config) -> None:
    cfg = config({"data": named("mine.DataWithFacts"), "model": named("mine.Words"), "task": named("mine.Language")})
    assert problems_with_targets(cfg) == []
    assert problems_when_built(cfg) == []


ONLY_WITH_FILES = [
    ("data=image_folder", "data.dataset.folder: has no value yet"),
    ("data=image_folder data.dataset.folder=nowhere", "there is no such directory"),
    ("data=table data.path=nowhere.csv data.target=y", "data.path=nowhere.csv: there is no such file"),
    ("data=table data.path=TABLE data.target=z", "has no column 'z'"),
    ("data=table data.path=TABLE data.target=y data.val_size=2.5", "data.val_size=2.5: choose a share"),
    ("data=table data.path=TABLE data.target=y task=regression model=cnn", "CNN takes images"),
    ("task=regression model=cnn data=fashion_mnist loss=cross_entropy", "add +model.num_classes=1"),
    ("task=vae model=torchvision", "choose model=vae"),
    ("data.download=false data.root=nowhere", "nowhere/MNIST/raw/train-images-idx3-ubyte is missing (and 3 more)"),
    ("data=cifar10 data.download=false data.root=nowhere", "or point data.root at a copy"),
    ("optimizer.groups=[{match:foo,lr:1}]", "optimizer.groups[0].match: 'foo' matches no parameter"),
    ("optimizer.groups=[{params:foo,lr:1}]", "optimizer.groups[0].match=None: must be a pattern"),
]


@pytest.mark.parametrize(("line", "words"), ONLY_WITH_FILES, ids=[line for line, _ in ONLY_WITH_FILES])
def test_what_a_run_would_find_in_its_files_is_found_without_one(
    config: Config, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = config({}, *line.replace("TABLE", str(table)).split())
    found = [*problems(cfg), *problems_with_targets(cfg)] or problems_when_built(cfg)
    assert any(words in each for each in found), found


REHEARSED = [
    ("trainer.profiler=foo", "trainer.profiler='foo': must be simple, advanced, pytorch or null"),
    ("trainer.overfit_batches=-1", "overfit_batches"),
    ("trainer.fast_dev_run=-1", "fast_dev_run=-1"),
    ("trainer.val_check_interval=7.5", "val_check_interval"),
    ("trainer.barebones=true", "barebones"),
    ("trainer.reload_dataloaders_every_n_epochs=-1", "reload_dataloaders_every_n_epochs"),
    ("callbacks=early_stopping callbacks.early_stopping.monitor=val/foo", "monitor='val/foo': must be val/loss"),
    ("callbacks=early_stopping data.val_size=0", "nothing is validated"),
    ("callbacks=lr_monitor logger=none", "there is none: add logger=csv"),
    ("debug=lr_find trainer.max_steps=1", "callbacks.lr_finder: steps=1: must be at least 20"),
    ("init_from=nowhere", "init_from: nowhere does not exist"),
]


@pytest.mark.parametrize(("line", "words"), REHEARSED, ids=[line for line, _ in REHEARSED])
def test_what_a_run_would_refuse_as_it_is_built_a_plan_refuses(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(words)):
        plan([config({}, "trainer=cpu", *line.split())], Rehearsal())
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("mine.py", "__pycache__")] == []


@pytest.mark.parametrize("line", ["", "task=gan", "task=vae", "callbacks=ema debug=profiler", "debug=lr_find"])
def test_a_plan_of_what_would_run_is_made(config: Config, line: str) -> None:
    assert plan([config({}, "trainer=cpu", *line.split())], Rehearsal()).startswith("jobs")
