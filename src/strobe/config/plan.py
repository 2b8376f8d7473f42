"""What a command would do: checked in full, counted, not done."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from strobe.config.abilities import data_problems, machine_problems
from strobe.config.compose import settled
from strobe.config.resolving import resolve
from strobe.config.seen import Seen, fingerprint
from strobe.config.targets import problems_with_targets
from strobe.config.tasks import serves_images
from strobe.config.trial import problems_when_built
from strobe.config.values import looked_through
from strobe.errors import require
from strobe.machine.table import aligned

_ARCHITECTURE = ("task", "model")  # what a net is made of, beside the data


def plan(cfgs: Iterable[DictConfig], rehearsed: Callable[[Mapping[str, Any]], list[str]] | None = None) -> str:
    """Check configs, one after another, and say what they amount to.

    Args:
        cfgs: The configs.
        rehearsed: Tells what else a run would refuse of the values of a config with which nothing else is wrong.

    Raises:
        ConfigError: If anything is wrong with any of them; lists all of it.
    """
    tally = _Tally(rehearsed)
    for cfg in cfgs:
        tally.add(cfg)
    for wrong in (tally.wrong_values, tally.wrong_targets, tally.wrong_when_built):
        require(wrong)
    rows = [
        ("jobs", f"{tally.jobs}"),
        ("architectures", f"{len(tally.nets)}"),
        ("optimizer steps", f"{tally.steps:,}" + (" and some that can't be told" if tally.some_endless else "")),
    ]
    return aligned(rows)


class _Tally:
    """Looks at configs and keeps none of them; what most have in common it looks at once.

    Once a value is wrong it looks at nothing but values, and then at nothing but values and targets.
    """

    def __init__(self, rehearsed: Callable[[Mapping[str, Any]], list[str]] | None) -> None:
        self._rehearsed = rehearsed
        self.jobs = self.steps = 0
        self.some_endless = False
        self.nets = Seen()
        self.wrong_values: dict[str, None] = {}
        self.wrong_targets: dict[str, None] = {}
        self.wrong_when_built: dict[str, None] = {}
        self._right, self._tried = Seen(), Seen()
        self._steps: dict[bytes, int | None] = {}

    def add(self, cfg: DictConfig) -> None:
        """Check a config and count what it amounts to."""
        self.jobs += 1
        resolved, wrong = looked_through(cfg)
        self.wrong_values |= dict.fromkeys(wrong)
        if self.wrong_values:
            return
        values = settled(resolved)
        wrong = problems_with_targets(values, self._right)
        steps = None if wrong else self._asked_of_machine(values, wrong)
        self.wrong_targets |= dict.fromkeys(wrong)
        if self.wrong_targets:
            return
        wrong = problems_when_built(values, self._tried)
        if self._rehearsed is not None and not wrong:
            wrong = self._rehearsed(values)
        self.wrong_when_built |= dict.fromkeys(wrong)
        self.nets.add([json.dumps([values[group] for group in _ARCHITECTURE], sort_keys=True), _dataset(cfg)])
        self.steps += steps or 0
        self.some_endless |= steps is None

    def _asked_of_machine(self, values: Mapping[str, Any], wrong: list[str]) -> int | None:
        """The steps of a run; adds to ``wrong`` what the machine or the dataset does not allow."""
        asked = {
            "trainer": values["trainer"],
            "optimizer": {"_target_": (values.get("optimizer") or {}).get("_target_")},
            "data": {key: value for key, value in values["data"].items() if key != "seed"},
        }
        known = fingerprint(asked)
        if known not in self._steps:
            config = OmegaConf.create(asked)
            wrong += [*machine_problems(config), *data_problems(config)]
            if wrong:
                return None
            self._steps[known] = estimated_steps(config)
        return self._steps[known]


def estimated_steps(cfg: DictConfig) -> int | None:
    """Optimizer steps of a run; None where the size of its dataset is known only from its files."""
    trainer, data = cfg.trainer, cfg.data
    if trainer.fast_dev_run:
        return 1 if trainer.fast_dev_run is True else int(trainer.fast_dev_run)
    sizes = getattr(resolve(_dataset(cfg)), "sizes", None)
    if not sizes:
        return None
    batches: int = math.ceil((sizes["train"] - data.val_size) / data.batch_size)
    limit = trainer.overfit_batches or trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, int(limit)) if isinstance(limit, int) else int(batches * limit)
    max_steps, max_epochs = int(trainer.max_steps), trainer.max_epochs
    if max_epochs in (None, -1):
        return max_steps if max_steps != -1 else None
    steps = math.ceil(batches / int(trainer.accumulate_grad_batches)) * int(max_epochs)
    return steps if max_steps == -1 else min(steps, max_steps)


def _dataset(cfg: DictConfig) -> str:
    """The class that knows the data: the dataset's, or that of a datamodule without one."""
    return str((cfg.data.dataset if serves_images(cfg.data) else cfg.data)["_target_"])
