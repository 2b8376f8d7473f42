"""Where the configs are, and a config as a command would compose it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.config.hidden import passed_over
from strobe.config.nothing import said_plainly
from strobe.config.overrides import explain, is_no_name, misspelt
from strobe.config.place import CONF as CONF
from strobe.config.tasks import idle_groups
from strobe.config.values import problems
from strobe.errors import ConfigError, require


def composed(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The resolved config of ``python -m src.train <overrides>``, for commands that are not Hydra's.

    Args:
        overrides: As they are typed.
        config_dir: The user's own config directory, as ``--config-dir`` names it.

    Raises:
        ConfigError: If an override is wrong.
    """
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    try:
        GlobalHydra.instance().clear()
        if config_dir is not None and not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir {config_dir}: there is no such directory")
        overrides = said_plainly(overrides, CONF)
        require(misspelt([*flags, *overrides], CONF))
        place = None if config_dir is None else str(Path(config_dir).resolve()).replace("'", r"\'")
        searched = [] if place is None else [f"hydra.searchpath=['file://{place}']"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides=[*searched, *overrides], return_hydra_config=True)
        require(passed_over(cfg.hydra).chosen)
        with open_dict(cfg):
            del cfg["hydra"]
        require(problems(cfg))
        return resolved(cfg)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if isinstance(error, ValueError) and not is_no_name(error):
            raise
        raise ConfigError("\n".join(explain([*flags, *overrides], error, CONF))) from error


def resolved(cfg: DictConfig) -> DictConfig:
    """The config with values in the place of interpolations, and null for what its task doesn't take."""
    values = OmegaConf.create(settled(cfg))
    assert isinstance(values, DictConfig)
    return values


def settled(cfg: DictConfig | Mapping[Any, Any]) -> dict[str, Any]:
    """The same as plain containers; of a config, or of its values where they are resolved already."""
    return {**plain(cfg), **dict.fromkeys(idle_groups(cfg))}


def plain(cfg: DictConfig | Mapping[Any, Any]) -> dict[str, Any]:
    """A config as plain containers."""
    container = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    assert isinstance(container, Mapping), "a DictConfig becomes a dict"
    return {str(key): value for key, value in container.items()}
