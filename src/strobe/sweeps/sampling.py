"""How a search chooses its points, and how many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import optuna

from strobe.config.rules import choice, whole
from strobe.config.rules import number as a_number
from strobe.errors import require
from strobe.record.database import Database
from strobe.record.study import PrunerName
from strobe.sweeps.quasirandom import HaltonSampler
from strobe.sweeps.space import Space

SamplerName = Literal["tpe", "random", "grid", "nsgaii", "cmaes", "qmc"]


@dataclass(frozen=True)
class SearchSettings:
    """How to search.

    Attributes:
        n_trials: Of the whole study, over all processes and restarts.
        sampler: How points are chosen.
        pruner: How trials are given up early.
        seed: Of the sampler.
        objectives: Names of metrics, or ``parameters`` or ``total_s``; empty is the run's objective.
        conditions: See `strobe.sweeps.space.Space`.
        timeout: Seconds after which this process begins no further trial; None for no limit.
        storage: URL of the database that keeps the study; None keeps it in the sweep's directory.

    Raises:
        ConfigError: If a value is not among those allowed.
    """

    n_trials: int
    sampler: SamplerName
    pruner: PrunerName
    seed: int
    objectives: Sequence[str]
    conditions: Sequence[str]
    timeout: float | None = None
    storage: str | None = field(default=None, repr=False)  # it may hold a password

    def __post_init__(self) -> None:
        rules = {
            "n_trials": whole(min=1, example=20),
            "sampler": choice(*get_args(SamplerName)),
            "pruner": choice(*get_args(PrunerName)),
            "seed": whole(min=0, example=1),
            "timeout": a_number(above=0, or_=[None], example=3600),
        }
        wrong = [
            f"hydra.sweeper.{name}={getattr(self, name)}: must be {rule.allowed}, for example {rule.example}"
            for name, rule in rules.items()
            if not rule.holds(getattr(self, name))
        ]
        if len(self.objectives) > 1 and self.sampler in ("grid", "cmaes"):
            wrong.append(f"hydra.sweeper.sampler={self.sampler} has one objective; choose nsgaii, tpe, random or qmc")
        require(wrong)
        self.database()

    def database(self) -> Database | None:
        """The database that keeps the study.

        Raises:
            ConfigError: If there can be none at that URL.
        """
        return None if self.storage is None else Database(self.storage)


def sampler_of(search: SearchSettings, space: Space, number: int) -> optuna.samplers.BaseSampler:
    """For one trial: its draws follow from the search's seed and its number, whichever process makes them, and when."""
    seed = (search.seed * 1_000_003 + number) % 2**32
    match search.sampler:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "grid":
            return optuna.samplers.GridSampler(space.grid(), seed=search.seed)
        case "nsgaii":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case "cmaes":
            # What it can't handle, choices and conditions, is drawn at random.
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "qmc":
            return HaltonSampler(space.distributions, seed=search.seed)
        case _:
            # Trials run side by side: those under way count as mediocre, so that not all try the same place.
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def most_trials(search: SearchSettings, space: Space) -> int:
    """How many trials make sense: a grid has so many points, and no more."""
    points = math.prod(map(len, space.grid().values())) if search.sampler == "grid" else search.n_trials
    return min(points, search.n_trials)
