"""Hydra's composing, once a command: by itself it composes a config to learn the mode, and once more for the run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Private: nothing public tells Hydra what it has been told.
from hydra._internal.hydra import Hydra
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException


@contextmanager
def composed_once(multirun: bool, handed: DictConfig | None = None) -> Iterator[None]:
    """Have Hydra use, within the block, what it has composed to learn the mode.

    Args:
        multirun: Whether a sweep is asked for by ``-m``.
        handed: The config of a single run that has been composed elsewhere; Hydra composes nothing then.
    """
    asks = Hydra.get_mode

    def get_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> RunMode | None:
        run_mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        try:
            cfg = handed or self.config_loader.load_configuration(config_name, overrides, run_mode)
        except (HydraException, OmegaConfBaseException):
            # Hydra's own way lets more pass: it may be a sweep that its configs ask for.
            found: RunMode | None = asks(self, config_name, overrides)
            if multirun or found == RunMode.MULTIRUN:
                return found
            raise  # as it would be for the run
        mode: RunMode | None = cfg.hydra.mode
        if mode in (None, run_mode):
            _keep(cfg, self.config_loader, overrides, run_mode)
        return mode

    Hydra.get_mode = get_mode  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = asks  # type: ignore[method-assign]


def _keep(cfg: DictConfig, loader: ConfigLoader, asked: Sequence[str], mode: RunMode) -> None:
    """Have the loader answer with a config, if the next that it is asked for is the same once more."""
    load, typed = loader.load_configuration, list(asked)
    further = f"hydra.mode={mode.name}"  # which Hydra adds where nobody says it

    def kept(config_name: str | None, overrides: list[str], run_mode: RunMode, **how: Any) -> DictConfig:
        loader.load_configuration = load  # type: ignore[method-assign]
        if run_mode != mode or overrides not in (typed, [*typed, further]):
            return load(config_name, overrides, run_mode, **how)
        if overrides != typed:
            cfg.hydra.mode = mode
            cfg.hydra.overrides.hydra.append(further)
        return cfg

    loader.load_configuration = kept  # type: ignore[method-assign, assignment]
