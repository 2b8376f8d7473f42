"""Quasi-random draws for a search: points that fill the space evenly."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial


class HaltonSampler(BaseSampler):
    """Trial n gets the n-th point of a scrambled Halton sequence. Optuna's own sampler of this kind needs scipy.

    Args:
        space: What is searched; of a parameter that a condition leaves out the coordinate is not used.
        seed: Of the scrambling.

    Source: Halton: On the efficiency of certain quasi-random sequences of points, 1960; the random permutations of
    digits after Owen: A randomized Halton algorithm in R, 2017.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, seed: int) -> None:
        self._space = dict(space)
        self._seed = seed
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All of the space, at once."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The trial's point."""
        point = [scrambled(trial.number, base, self._seed) for base in _primes(len(search_space))]
        return {name: _at(search_space[name], share) for name, share in zip(search_space, point, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For what is not in the space: at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


def scrambled(index: int, base: int, seed: int) -> float:
    """The digits of ``index`` in a base, mirrored at the point, each permuted at random: a number in [0, 1).

    Args:
        index: Counts from 0.
        base: A prime; each coordinate has its own.
        seed: Of the permutations.
    """
    value, weight = 0.0, 1.0
    for place in range(math.ceil(40 / math.log2(base))):  # as many digits as make 40 bits
        weight /= base
        digits = np.random.default_rng([seed, base, place]).permutation(base)
        value += weight * int(digits[index % base])
        index //= base
    return min(value, 1.0 - 2**-40)


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _at(distribution: BaseDistribution, share: float) -> Any:
    """The value at a share in [0, 1) of the way through a distribution."""
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[int(share * len(distribution.choices))]
        case FloatDistribution(log=True):
            return float(distribution.low * (distribution.high / distribution.low) ** share)
        case FloatDistribution():
            return distribution.low + (distribution.high - distribution.low) * share
        case IntDistribution(log=True):
            ratio = (distribution.high + 0.5) / (distribution.low - 0.5)
            return min(distribution.high, max(distribution.low, round((distribution.low - 0.5) * ratio**share)))
        case IntDistribution():
            count = (distribution.high - distribution.low) // distribution.step + 1
            return distribution.low + int(share * count) * distribution.step
    raise AssertionError(f"{distribution}")
