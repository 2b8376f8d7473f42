"""A config -> what its classes refuse as they are made: tried without data, on the meta device, which computes nothing.

No file is written, nothing is fetched, and the random numbers of the run to come stay the same.
"""

import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from strobe.config.compose import plain
from strobe.config.kinds import COLLECTIONS, NODES
from strobe.config.parameters import Parameters
from strobe.config.resolving import resolve
from strobe.config.seclusion import Seclusion
from strobe.config.seen import Seen
from strobe.config.tasks import serves_images
from strobe.errors import first_line
from strobe.tasks.classifier import Classifier

_IMAGES = 2  # in the batch that a net is tried with: normalization over a batch of one is an error
_FACTORIES = ("optimizer", "scheduler")
_STEPS = 1000  # of a schedule that is as long as the run, whose length is known only with its data
_META = re.compile(
    "(?<![a-z])meta(?![a-z])", re.IGNORECASE
)  # of what torch says where values are needed, and there are none
_PLAIN_SPEAKING = (ValueError, TypeError, RuntimeError)


def problems_when_built(cfg: DictConfig | Mapping[Any, Any], tried: Seen | None = None) -> list[str]:
    """What classes refuse of a config that `problems_with_targets` finds nothing wrong with, one line each.

    What can't be tried without data, files or the network is passed over.

    Args:
        cfg: The config, or its values.
        tried: What was made of other configs: it is not made again. Takes what is made of this one.
    """
    config = plain(cfg)
    factories = [config.get(group) for group in _FACTORIES]
    rest = _without_factories(config)
    tried = Seen() if tried is None else tried
    if not tried.add([rest, factories]):
        return []
    with ExitStack() as quiet:
        quiet.enter_context(isolate_rng(include_cuda=False))
        quiet.enter_context(warnings.catch_warnings(action="ignore"))
        quiet.enter_context(redirect_stdout(StringIO()))  # what a class says as it is made, it will say again
        quiet.enter_context(redirect_stderr(StringIO()))
        trial = _Trial(config)
        # Our tasks keep the factories as they are; another's may refuse what it is given.
        if rest in tried and _task_of(config).startswith("strobe.tasks."):
            return trial.problems_of_factories()
        wrong = trial.problems()
        if not wrong and "task" in trial.made:
            tried.add(rest)
        return wrong


def _without_factories(config: Mapping[str, Any]) -> list[Any]:
    """All of a config that counts for what can be made of it, but for the optimizer and the schedule."""
    data = config.get("data")
    images = None
    if data is not None and serves_images(data):
        images = {key: value for key, value in data.items() if key != "seed"}  # which only has to be a number
    others = ("task", "model", "loss", "metrics", "compile", "decay_norm_and_bias")
    return [images, (config.get("monitor") or {}).get("metric"), *(config.get(key) for key in others)]


def _task_of(config: Mapping[str, Any]) -> str:
    node = config.get("task")
    return f"{Classifier.__module__}." if node is None else str(node["_target_"])


class _Trial:
    """Makes what one config names.

    Args:
        config: Plain containers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.wrong: list[str] = []
        self.data: Any = None
        self.facts: dict[str, Any] = {}
        self.made: dict[str, Any] = {}  # by the name under which a task is offered it; and the task

    def problems(self) -> list[str]:
        """One line for each thing that was refused."""
        self.facts = self._facts(self.config.get("data"))
        for name, node in ((self.config.get("data") or {}).get("augmentations") or {}).items():
            if self.config["data"] is not None and serves_images(self.config["data"]) and isinstance(node, dict):
                self._make(f"data.augmentations.{name}", node)
        metrics = {name: node for name, node in (self.config.get("metrics") or {}).items() if node is not None}
        made = {name: self._make(f"metrics.{name}", node) for name, node in metrics.items()}
        if None not in made.values():
            self.made["metrics"] = made
        self._keep("loss", self._make("loss", self.config.get("loss")))
        self._keep("net", self._make("model", self.config.get("model")))
        self._factories()
        self._task()
        return self.wrong

    def problems_of_factories(self) -> list[str]:
        """The same of the optimizer and the schedule alone, which nothing else depends on."""
        self._factories()
        return self.wrong

    def _make(self, path: str, node: Any, offered: Mapping[str, Any] | None = None) -> Any:
        """What a node makes; None where it is null, was refused, or can't be made without data."""
        if node is None:
            return None
        named = resolve(node["_target_"])
        takes = Parameters.of(named)
        known = {**self.facts, **(offered or {})}
        kind = NODES.get(path) or COLLECTIONS[path.rpartition(".")[0]]
        given = kind.given_to(takes.by_name, self.facts) if takes is not None else frozenset()
        arguments = {key: known[key] for key in given & known.keys() if key not in node}
        if takes is not None and "_args_" not in node and not {*takes.required} <= arguments.keys() | node.keys():
            return None  # for want of a fact that only the data knows
        with _Attempt(self.wrong, path), torch.device("meta"):
            return instantiate(node, _partial_=True, _convert_="all")(**arguments)
        return None

    def _facts(self, data: Any) -> dict[str, Any]:
        """What images tell of themselves without their files; nothing where the files decide, or of other data."""
        if (
            data is None
            or not serves_images(data)
            or not isinstance(getattr(resolve(data["dataset"]["_target_"]), "shape", None), tuple)
        ):
            return {}
        with _Attempt(self.wrong, "data"):
            dataset = instantiate(data["dataset"], _convert_="all")
            settings = {key: value for key, value in data.items() if key not in ("dataset", "augmentations")}
            self.data = instantiate(settings, _partial_=True, _convert_="all")(dataset=dataset)
            facts = self.data.facts() if hasattr(self.data, "facts") else dataset.facts()
            return {**facts, "in_shape": self.data.in_shape, "num_classes": self.data.num_classes}
        return {}

    def _keep(self, name: str, made: Any) -> None:
        if made is not None:
            self.made[name] = made

    def _factories(self) -> None:
        """Make an optimizer of one small parameter, and a schedule for it."""
        node, schedule = self.config.get("optimizer"), self.config.get("scheduler")
        tried = None
        if node is not None:
            node = {key: value for key, value in node.items() if key not in NODES["optimizer"].further}
            with _Attempt(self.wrong, "optimizer"):
                self.made["optimizer"] = instantiate(node, _convert_="all")
                tried = self.made["optimizer"]([nn.Parameter(torch.zeros(2, 2))])
        if schedule is None:
            self.made["scheduler"] = None
        elif tried is not None:
            takes = Parameters.of(resolve(schedule["_target_"]))
            lengths = {
                key: _STEPS
                for key in NODES["scheduler"].filled
                if takes is not None and key in takes.by_name and schedule.get(key) is None
            }
            with _Attempt(self.wrong, "scheduler"):
                factory = instantiate(schedule, _convert_="all")
                made = factory(tried, **lengths)
                if not isinstance(made, ReduceLROnPlateau):
                    made.step()
                self.made["scheduler"] = factory

    def _task(self) -> None:
        """Make the task, if all that it asks for is there; of a classifier, try the net and the loss."""
        node = self.config.get("task")
        named = Classifier if node is None else resolve(node["_target_"])
        if isinstance(named, type) and issubclass(named, Classifier):
            self._classify()
        if node is None:
            return
        settings = {key: self.config[key] for key in ("compile", "decay_norm_and_bias") if key in self.config}
        monitor = (self.config.get("monitor") or {}).get("metric")
        offered = {**self.made, **settings, "monitor": monitor}
        takes = Parameters.of(named)
        if takes is not None and not (NODES["task"].offered & takes.by_name.keys()) - node.keys() <= offered.keys():
            return
        self._keep("task", self._make("task", node, offered))

    def _classify(self) -> None:
        """Give the net a batch of images, and the loss what it makes of them."""
        shape, classes = self.facts.get("in_shape"), self.facts.get("num_classes")
        net, loss = self.made.get("net"), self.made.get("loss")
        if shape is None or classes is None or net is None:
            return
        if (wants := getattr(net, "wants", None)) is not None:  # a net may want its images in another size
            self.data.suit(**wants)
            shape = self.data.in_shape
        logits = None
        images = torch.zeros(_IMAGES, *shape, device="meta")
        with _Attempt(self.wrong, "model", f"{type(net).__name__} fails on images {shape}: "), torch.no_grad():
            logits = net(images)
        if logits is None:
            return
        if not isinstance(logits, Tensor) or logits.shape != (_IMAGES, classes):
            advice = self._advice(classes) if isinstance(logits, Tensor) else ""
            self.wrong.append(
                f"model: {type(net).__name__} makes {_described(logits)} of {_IMAGES} images {shape}; must be a tensor "
                f"of shape ({_IMAGES}, {classes}), because there are {classes} classes{advice}"
            )
            return
        if loss is None:
            return
        value = None
        # Labels that don't exclude each other are a row of 0 and 1 for each image; else a class is a whole number.
        several = getattr(loss, "several_labels", isinstance(loss, nn.BCEWithLogitsLoss))
        targets = torch.zeros_like(logits) if several else torch.zeros(_IMAGES, dtype=torch.int64, device="meta")
        with (
            _Attempt(self.wrong, "loss", f"{type(loss).__name__} fails on logits {tuple(logits.shape)}: "),
            torch.no_grad(),
        ):
            value = loss(logits, targets)
        if value is not None and not (isinstance(value, Tensor) and value.numel() == 1):
            self.wrong.append(
                f"loss: {type(loss).__name__} makes {_described(value)} of a batch; must be one number, the mean"
            )

    def _advice(self, classes: int) -> str:
        node = self.config["model"]
        takes = Parameters.of(resolve(node["_target_"]))
        if takes is None or not takes.take("num_classes"):
            return ""
        return f"; {'choose ' if 'num_classes' in node else 'add +'}model.num_classes={classes}"


class _Attempt(Seclusion):
    """Whatever is raised within becomes a line, unless it is for want of data, files or the network.

    Args:
        wrong: Takes the line.
        path: Of the node that is tried.
        where: What is said before what was raised.
    """

    def __init__(self, wrong: list[str], path: str, where: str = "") -> None:
        super().__init__()
        self.wrong, self.path, self.where = wrong, path, where

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Put what was raised into words."""
        super().__exit__(kind, error, trace)
        while isinstance(error, InstantiationException) and error.__cause__ is not None:  # a node within the node
            error = error.__cause__
        if error is None or not isinstance(error, Exception | SystemExit):
            return False
        needs_more = self.was_left or isinstance(error, OSError) or _META.search(str(error))
        if not needs_more:
            name = "" if isinstance(error, _PLAIN_SPEAKING) else f"{type(error).__name__}: "
            self.wrong.append(f"{self.path}: {self.where}{name}{first_line(error)}")
        return True


def _described(made: object) -> str:
    return (
        f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"an object of {type(made).__name__}"
    )
