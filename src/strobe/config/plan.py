"""What a command would do: checked in full, counted, not done."""

import json
import math
from collections.abc import Sequence

from omegaconf import DictConfig

from strobe.config.checks import problems_with_libraries
from strobe.config.compose import plain, resolved
from strobe.config.targets import resolve
from strobe.config.tasks import serves_images
from strobe.config.trial import problems_when_built
from strobe.config.values import problems
from strobe.errors import require
from strobe.machine.table import aligned

_BUILT = ("task", "model", "optimizer", "scheduler", "loss", "metrics", "callbacks", "logger", "trainer")
_ARCHITECTURE = ("task", "model")  # what a net is made of, beside the data


def plan(cfgs: Sequence[DictConfig]) -> str:
    """Check configs and say what they amount to.

    Raises:
        ConfigError: If anything is wrong with any of them; lists all of it.
    """
    require(dict.fromkeys(problem for cfg in cfgs for problem in problems(cfg)))
    cfgs = [resolved(cfg) for cfg in cfgs]
    require(dict.fromkeys(problem for cfg in cfgs for problem in problems_with_libraries(cfg)))
    different = {json.dumps([plain(cfg)[group] for group in _BUILT] + [_dataset(cfg)]): cfg for cfg in cfgs}
    require(dict.fromkeys(problem for cfg in different.values() for problem in problems_when_built(cfg)))
    nets = {
        json.dumps([plain(cfg)[group] for group in _ARCHITECTURE] + [_dataset(cfg)], sort_keys=True) for cfg in cfgs
    }
    steps = [estimated_steps(cfg) for cfg in cfgs]
    known = [count for count in steps if count is not None]
    rows = [
        ("jobs", f"{len(cfgs)}"),
        ("architectures", f"{len(nets)}"),
        ("optimizer steps", f"{sum(known):,}" + ("" if len(known) == len(steps) else " and some that can't be told")),
    ]
    return aligned(rows)


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
