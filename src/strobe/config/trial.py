"""A config -> what its classes refuse as they are made: tried without data, on the meta device, which computes nothing.

No file is written, nothing is fetched, and the random numbers of the run to come stay the same.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from strobe.config.attempt import Attempt
from strobe.config.compose import plain
from strobe.config.fits import problems_with_outputs
from strobe.config.kinds import COLLECTIONS, NODES
from strobe.config.parameters import Parameters
from strobe.config.resolving import resolve
from strobe.config.seen import Seen
from strobe.config.tasks import serves_images
from strobe.data.dataset import ImageDataset
from strobe.errors import require
from strobe.models.groups import parameter_groups
from strobe.models.groups import problems as problems_with_groups
from strobe.tasks.classifier import Classifier

_FACTORIES = ("optimizer", "scheduler")
_STEPS = 1000  # of a schedule that is as long as the run, whose length is known only with its data


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
        if rest in tried and _task_of(config).startswith("strobe.tasks.") and not trial.asks_for_groups():
            return trial.problems_of_factories()
        wrong = trial.problems()
        if not wrong and "task" in trial.made:
            tried.add(rest)
        return wrong


def _without_factories(config: Mapping[str, Any]) -> list[Any]:
    """All of a config that counts for what can be made of it, but for the optimizer and the schedule."""
    data = {key: value for key, value in (config.get("data") or {}).items() if key != "seed"}  # which is any number
    others = ("task", "model", "loss", "metrics", "compile", "decay_norm_and_bias")
    return [data, (config.get("monitor") or {}).get("metric"), *(config.get(key) for key in others)]


def _knows_its_shape(dataset: object) -> bool:
    """Whether a dataset tells the shape of its images once it is made, which takes a look at a directory at most."""
    ships = str(getattr(dataset, "__module__", "")).startswith("strobe.")
    return ships or isinstance(getattr(dataset, "shape", None), tuple)


def _missing(paths: Sequence[Path]) -> list[str]:
    """What is wrong with files that may not be fetched, in a line."""
    lost = [str(path) for path in paths if not path.is_file()]
    others = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    return [
        f"data.download=false: {path} is missing{others}; allow it (data.download=true) or point data.root at a copy"
        for path in lost[:1]
    ]


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
        self._groups()
        return self.wrong

    def asks_for_groups(self) -> bool:
        """Whether the parameters are shared out by their names, which the whole net tells."""
        return bool((self.config.get("optimizer") or {}).get("groups"))

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
        with Attempt(self.wrong, path), torch.device("meta"):
            return instantiate(node, _partial_=True, _convert_="all")(**arguments)
        return None

    def _facts(self, data: Any) -> dict[str, Any]:
        """What data tell of themselves without their files, or at a glance at them; nothing where that takes a run."""
        if data is None:
            return {}
        named = resolve(data["_target_"])
        with Attempt(self.wrong, "data"):
            if not serves_images(data):
                at_hand = hasattr(named, "facts_at_hand")
                return dict(instantiate(data, _convert_="all").facts_at_hand()) if at_hand else {}
            if not _knows_its_shape(resolve(data["dataset"]["_target_"])):
                return {}
            dataset = instantiate(data["dataset"], _convert_="all")
            settings = {key: value for key, value in data.items() if key not in ("dataset", "augmentations")}
            self.data = instantiate(settings, _partial_=True, _convert_="all")(dataset=dataset)
            if isinstance(dataset, ImageDataset) and not getattr(self.data, "download", True):
                self.wrong += _missing(dataset.paths(self.data.root))
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
            with Attempt(self.wrong, "optimizer"):
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
            with Attempt(self.wrong, "scheduler"):
                factory = instantiate(schedule, _convert_="all")
                made = factory(tried, **lengths)
                if not isinstance(made, ReduceLROnPlateau):
                    made.step()
                self.made["scheduler"] = factory

    def _task(self) -> None:
        """Make the task, if all that it asks for is there; of those that ship, try the net and the loss."""
        node = self.config.get("task")
        named = Classifier if node is None else resolve(node["_target_"])
        if (net := self.made.get("net")) is not None:
            if self.data is not None and (wants := getattr(net, "wants", None)) is not None:
                self.data.suit(**wants)  # a net may want its images in another size
                self.facts["in_shape"] = self.data.in_shape
            self.wrong += problems_with_outputs(named, net, self.made.get("loss"), self.facts, self.config["model"])
        if node is None:
            return
        settings = {key: self.config[key] for key in ("compile", "decay_norm_and_bias") if key in self.config}
        monitor = (self.config.get("monitor") or {}).get("metric")
        offered = {**self.made, **settings, "monitor": monitor}
        takes = Parameters.of(named)
        if takes is not None and not (NODES["task"].offered & takes.by_name.keys()) - node.keys() <= offered.keys():
            return
        self._keep("task", self._make("task", node, offered))

    def _groups(self) -> None:
        """Share the parameters of the task out among the groups of the optimizer."""
        task = self.made.get("task")
        if self.asks_for_groups() and "optimizer" in self.made:
            groups = self.config["optimizer"]["groups"]
            with Attempt(self.wrong, "optimizer.groups"):
                require(problems_with_groups(groups, self.made["optimizer"]))
                if task is not None:
                    parameter_groups(task.named_parameters(), groups, optimizer=self.made["optimizer"])
