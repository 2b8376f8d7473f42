"""The space of a search, from the override syntax that people know."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from strobe.errors import ConfigError


class Space:
    """What a search varies.

    Args:
        overrides: Those of the command: sweeps become parameters, the others hold for every trial.
        conditions: ``<parameter> if <other>=<value>``: it is part of a trial only when ``other`` has that value there.

    Raises:
        ConfigError: If a sweep can't be searched, or a condition names no parameter.

    Syntax: ``interval(a,b)``, ``tag(log,interval(a,b))``, ``int(interval(a,b))``, ``range(a,b)``, ``choice(a,b)``,
    ``a,b``.
    """

    def __init__(self, overrides: Sequence[Override], conditions: Sequence[str] = ()) -> None:
        self.fixed: list[str] = []
        self.distributions: dict[str, BaseDistribution] = {}
        self._added: set[str] = set()
        last = {override.get_key_element(): override for override in overrides}  # a later one replaces an earlier one
        for key, override in last.items():
            if override.is_sweep_override():
                name = key.lstrip("+")
                self.distributions[name] = _distribution(name, override)
                if key != name:  # not every option of a group has this key: see `conditions`
                    self._added.add(name)
            else:
                assert override.input_line is not None, "it was typed"
                self.fixed.append(override.input_line)
        self.conditions = dict(_parsed(text, self.distributions) for text in conditions)
        self._order = _in_order(self.distributions, self.conditions)

    def suggest(self, trial: optuna.Trial) -> list[str]:
        """The overrides that a trial adds to the fixed ones."""
        values: dict[str, Any] = {}
        for key in self._order:
            if key in self.conditions and str(values.get(self.conditions[key][0])) != self.conditions[key][1]:
                continue
            values[key] = _suggest(trial, key, self.distributions[key])
        return [f"{'++' if key in self._added else ''}{key}={value}" for key, value in values.items()]

    def drawn(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What `suggest` had drawn when it gave these overrides, other ones among them or not."""
        found: dict[str, Any] = {}
        for text in overrides:
            key, _, value = text.lstrip("+").partition("=")
            if key in self.distributions:
                with suppress(ValueError, OverflowError):
                    found[key] = _read(self.distributions[key], value)
        return found

    def grid(self) -> dict[str, list[Any]]:
        """The values of every parameter.

        Raises:
            ConfigError: If a parameter is continuous.
        """
        points: dict[str, list[Any]] = {}
        for key, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                points[key] = list(distribution.choices)
            elif isinstance(distribution, IntDistribution):
                points[key] = list(range(distribution.low, distribution.high + 1, distribution.step))
            else:
                raise ConfigError(f"{key}: hydra.sweeper.sampler=grid needs separate values, as in {key}=0.1,0.01")
        return points


def _distribution(key: str, override: Override) -> BaseDistribution:
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None or not (low <= high and math.isfinite(high - low)):
            raise ConfigError(f"{key}: interval({low},{high}) must lie between two numbers, the smaller one first")
        log = "log" in value.tags
        if log and low <= 0:
            raise ConfigError(f"{key}: a logarithmic interval can't begin at {low}; take a number above 0")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    if isinstance(value, RangeSweep) and all(isinstance(end, int) for end in (value.start, value.stop, value.step)):
        numbers = list(value.range())
        if not numbers:
            raise ConfigError(f"{key}: the range is empty")
        return IntDistribution(int(min(numbers)), int(max(numbers)), step=abs(int(value.step)))
    if isinstance(value, ChoiceSweep | RangeSweep):
        return CategoricalDistribution(tuple(override.sweep_string_iterator()))
    raise ConfigError(f"{key}: can't be searched: {override.input_line}")


def _suggest(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution():
            return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
        case IntDistribution():
            return trial.suggest_int(
                key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        case CategoricalDistribution():
            return trial.suggest_categorical(key, distribution.choices)
        case _:
            raise AssertionError(f"{key}: {distribution}")


def _read(distribution: BaseDistribution, text: str) -> Any:
    """A drawn value, from how it was written.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[[str(choice) for choice in distribution.choices].index(text)]
    assert isinstance(distribution, FloatDistribution | IntDistribution), "there are no others"
    value = float(text) if isinstance(distribution, FloatDistribution) else int(text)
    if not distribution.low <= value <= distribution.high:
        raise ValueError(f"{text} is not in {distribution}")
    return value


def _parsed(text: str, distributions: Mapping[str, BaseDistribution]) -> tuple[str, tuple[str, str]]:
    """A condition as parameter -> (other, value)."""
    key, _, requirement = (part.strip() for part in text.partition(" if "))
    other, separator, value = requirement.partition("=")
    if key not in distributions or other not in distributions or not separator:
        raise ConfigError(
            f"hydra.sweeper.conditions: {text!r} must be '<parameter> if <other>=<value>', and both be searched; "
            f"there are: {', '.join(distributions)}"
        )
    (required,) = OverridesParser.create().parse_overrides([f"{other}={value}"])
    return key, (other, required.get_value_element_as_str())  # spelt as Hydra spells choices: true is True


def _in_order(keys: Iterable[str], conditions: Mapping[str, tuple[str, str]]) -> list[str]:
    """The parameters, each after the one that it depends on."""
    ordered: list[str] = []
    waiting = list(keys)
    while waiting:
        ready = [key for key in waiting if key not in conditions or conditions[key][0] in ordered]
        if not ready:
            raise ConfigError(f"hydra.sweeper.conditions: {', '.join(waiting)} wait for each other")
        ordered += ready
        waiting = [key for key in waiting if key not in ready]
    return ordered
