"""The config that a run has left."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from strobe.config.overrides import dotted_keys, nearest
from strobe.errors import ConfigError
from strobe.record.layout import CONFIG
from strobe.record.report import read_report


def saved_config(directory: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """A run's resolved config, with changes.

    Raises:
        ConfigError: If the directory is not a run directory, its config is damaged, or an override names no key.
    """
    read_report(directory)
    try:
        cfg = OmegaConf.load(directory / CONFIG)
        assert isinstance(cfg, DictConfig)
        known = dotted_keys(cfg)
        for override in overrides:
            key = override.partition("=")[0]
            if "=" not in override or key not in known:
                guess = nearest(key, known)
                raise ConfigError(f"{override}: no such key in this run{f'; did you mean {guess}?' if guess else ''}")
        merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))
    except (OSError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{directory / CONFIG} can't be read: {error}") from error
    assert isinstance(merged, DictConfig)
    return merged
