"""From the overrides of a job to its config, without asking Hydra anew for each job of a sweep."""

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# Private: the short text for a job's overrides, which Hydra alone knows how to make.
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from strobe.sweeps.handed import Handed, Value

# Overrides of a sweep's command that its jobs must not see: what made it a sweep, and where it lies.
_OF_THE_SWEEP = ("hydra.sweep", "hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.mode", "hydra.run.dir")
_BASES = 128  # of 400 KB each
_OVERRIDES = 2048


@dataclass(frozen=True)
class _Base:
    """What Hydra composes of one set of group choices.

    Attributes:
        cfg: The config.
        raw: The same as plain containers, interpolations as text.
        pickled: The config with Hydra's own node, for another process.
        dirname: How Hydra makes a short text of overrides.
    """

    cfg: DictConfig
    raw: Mapping[Any, Any]
    pickled: bytes
    dirname: Mapping[str, Any]

    def under(self, values: Sequence[Override]) -> dict[str, Any] | None:
        """What the base has where values are to be laid over it; None if it could not simply be put back there."""
        found: dict[str, Any] = {}
        for override in values:
            node: Any = self.raw
            for name in override.key_or_group.split("."):
                if not isinstance(node, Mapping) or name not in node:
                    return None
                node = node[name]
            if not _alike(node, override.value()):
                return None
            found[override.key_or_group] = node
        return found


class Planner:
    """Composes the configs of jobs. Group choices are composed by Hydra and kept; values are laid over them.

    Hydra composes a config in 50 ms and more; most jobs of a sweep differ in values alone.

    Args:
        loader: Hydra's.
        config_name: Of the primary config.
        hydra_overrides: Those of the sweep's command that are Hydra's own.
    """

    def __init__(self, loader: ConfigLoader, config_name: str, hydra_overrides: Iterable[str]) -> None:
        self.parser = OverridesParser.create(config_loader=loader)
        self.hydra_overrides = [
            override for override in hydra_overrides if not override.lstrip("+~").startswith(_OF_THE_SWEEP)
        ]
        self._loader = loader
        self._config_name = config_name
        self._base = lru_cache(_BASES)(self._composed)
        self._parsed = lru_cache(_OVERRIDES)(lambda text: self.parser.parse_overrides([text])[0])
        self._groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config that ``python -m src.train <overrides>`` would compose."""
        base, values = self._read(overrides)
        cfg = base.cfg.copy()
        _lay_over(cfg, values)
        return cfg

    @contextmanager
    def lent(self, overrides: Sequence[str]) -> Iterator[DictConfig]:
        """The same, for as long as the block lasts: to make a config costs more than all that is asked of it.

        Where plain values take the place of plain values, the base itself is given, and has its own values back after
        the block. It must not be changed or kept.
        """
        base, values = self._read(overrides)
        under = base.under(values)
        if under is None:
            cfg = base.cfg.copy()
            _lay_over(cfg, values)
            yield cfg
            return
        try:
            _lay_over(base.cfg, values)
            yield base.cfg
        finally:
            for key, value in under.items():
                OmegaConf.update(base.cfg, key, value, merge=True)
            OmegaConf.clear_cache(base.cfg)  # of what resolvers gave to this job

    def each(self, batch: Iterable[Sequence[str]]) -> Iterator[DictConfig]:
        """The configs of jobs, each lent until the next is asked for."""
        for overrides in batch:
            with self.lent(overrides) as cfg:
                yield cfg

    def handed(self, overrides: Sequence[str]) -> Handed | None:
        """What a job with these overrides makes its config of, Hydra's own among them.

        Returns:
            None where it has to ask Hydra: the order of what is added and taken away is Hydra's to keep.
        """
        parsed = [self._parsed(text) for text in overrides]
        if not all(self._sets_a_value(each) or self._chooses(each) for each in parsed):
            return None
        base, values = self._read(overrides)
        task = [each for each in parsed if not each.is_hydra_override()]
        hydra = [each for each in parsed if each.is_hydra_override()]
        return Handed(
            base=base.pickled,
            values=[_as_value(each) for each in values],
            task=[str(each.input_line) for each in task],
            hydra=[*self.hydra_overrides, *(str(each.input_line) for each in hydra)],
            dirname=get_overrides_dirname(task, **base.dirname),
        )

    def _read(self, overrides: Sequence[str]) -> tuple[_Base, list[Override]]:
        """The base of a job, and the values that are to be laid over it."""
        parsed = [self._parsed(text) for text in overrides]
        values = [override for override in parsed if self._sets_a_value(override)]
        choices = [text for text, each in zip(overrides, parsed, strict=True) if not self._sets_a_value(each)]
        return self._base(tuple(choices)), values

    def _composed(self, choices: tuple[str, ...]) -> _Base:
        composed = self._loader.load_configuration(
            config_name=self._config_name, overrides=[*self.hydra_overrides, *choices], run_mode=RunMode.RUN
        )
        keys: list[Any] = [key for key in composed if key != "hydra"]
        cfg = OmegaConf.masked_copy(composed, keys)
        OmegaConf.set_struct(cfg, True)
        raw = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(raw, Mapping), "a DictConfig becomes a dict"
        return _Base(cfg, raw, pickle.dumps(composed), {**composed.hydra.job.config.override_dirname})

    def _sets_a_value(self, override: Override) -> bool:
        """Whether it is a plain ``key=value``, or ``++key=value``; what else there is, is Hydra's to compose."""
        return _replaces(override) and override.package is None and not self._is_group(override.key_or_group)

    def _chooses(self, override: Override) -> bool:
        """Whether it is a plain ``group=option``."""
        return _replaces(override) and self._is_group(override.key_or_group)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            found = self._loader.get_group_options(key, config_name=self._config_name, overrides=self.hydra_overrides)
            self._groups[key] = bool(found)  # also where hydra.searchpath leads
        return self._groups[key]


def _replaces(override: Override) -> bool:
    """Whether it neither adds, but by force, nor takes away."""
    return not (override.is_delete() or override.is_add())


def _lay_over(cfg: DictConfig, values: Iterable[Override]) -> None:
    for override in values:
        _as_value(override).lay_over(cfg)


def _as_value(override: Override) -> Value:
    return Value(override.key_or_group, override.value(), override.is_force_add())


def _alike(before: Any, after: Any) -> bool:
    """Whether both are plain values, or lists of such: then one takes the place of the other and leaves nothing."""
    if isinstance(before, list) and isinstance(after, list):
        return all(map(_is_scalar, [*before, *after]))
    return _is_scalar(before) and _is_scalar(after)


def _is_scalar(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str)
