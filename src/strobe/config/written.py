"""A config as it is written down: without secrets, and without what the environment holds."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers.oc import env

from strobe.machine.secrets import is_secret, learn, learn_all, learn_url, masked, masked_override, redacted

_RESOLVER = "oc.env"
_FREE_TEXT = ("name", "note", "tags")  # in which people write what they like, a secret that they gave elsewhere too
_SHORTEST = 8  # a value from the environment that is masked in messages too, although no name says it is a secret
_NUMBER_OR_PATH = re.compile(r"[\s\d.,:e+-]*|[/~.].*|[A-Za-z]:\\.*", re.IGNORECASE)


def written(cfg: DictConfig) -> dict[str, Any]:
    """The config with values in the place of interpolations, but for secrets.

    The value of a key that looks like a secret's is masked; one that comes from the environment, in however many steps,
    remains the interpolation that it is, to be read again by whoever needs it.
    """
    found = masked(_written(cfg, OmegaConf.to_container(cfg, resolve=False)))
    assert isinstance(found, dict), "a DictConfig becomes a dict"
    return _without_known_secrets(found)


def learn_secrets(cfg: DictConfig) -> None:
    """Have the secrets of a config masked in all that is said and logged from now on."""
    learn_all(OmegaConf.to_container(cfg, resolve=False))
    _learn_environment(cfg, OmegaConf.to_container(cfg, resolve=False))


def without_secrets(config: DictConfig) -> DictConfig | None:
    """A config that is not resolved, Hydra's node included, as Hydra may write it; None where it has no secrets."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    learn_all(plain)
    harmless: Any = _without_known_secrets(masked(plain))
    for kind, typed in harmless["hydra"]["overrides"].items():
        harmless["hydra"]["overrides"][kind] = [masked_override(str(override)) for override in typed]
    sweeper = harmless["hydra"].get("sweeper")
    if isinstance(sweeper, dict) and isinstance(storage := sweeper.get("storage"), str):
        learn_url(storage)
        sweeper["storage"] = redacted(storage)
    if harmless == plain:
        return None
    harmless["hydra"]["job"]["override_dirname"] = ",".join(harmless["hydra"]["overrides"]["task"])
    created = OmegaConf.create(_redacted(harmless))
    assert isinstance(created, DictConfig)
    return created


def _without_known_secrets(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: _redacted(value) if key in _FREE_TEXT else value for key, value in settings.items()}


def _written(node: Any, raw: Any) -> Any:
    """What is to be written of a container, ``raw`` being its content with interpolations as text."""
    if isinstance(raw, Mapping):
        return {str(key): _written_value(node, key, value) for key, value in raw.items()}
    return [_written_value(node, index, value) for index, value in enumerate(raw)]


def _written_value(parent: Any, key: Any, raw: Any) -> Any:
    if isinstance(raw, Mapping | list):
        return _written(parent[key], raw)
    if not isinstance(raw, str) or "${" not in raw:
        return parent[key]
    with _environment_watched() as read:
        value = _plain(parent[key])
    return raw if read or (isinstance(value, str) and redacted(value) != value) else value


def _learn_environment(node: Any, raw: Any, secret: bool = False) -> None:
    items = raw.items() if isinstance(raw, Mapping) else enumerate(raw)
    for key, value in items:
        below = secret or is_secret(str(key))
        try:
            if isinstance(value, Mapping | list):
                _learn_environment(node[key], value, below)
            elif isinstance(value, str) and "${" in value:
                with _environment_watched() as read:
                    _plain(node[key])
                for name, found in read.items():
                    if below or is_secret(name) or (len(found) >= _SHORTEST and not _NUMBER_OR_PATH.fullmatch(found)):
                        learn(found, f"${{{_RESOLVER}:{name}}}")
        except OmegaConfBaseException:  # it can't be resolved: that will be said by what checks the config
            continue


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def _redacted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _redacted(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_redacted(value) for value in node]
    return redacted(node) if isinstance(node, str) else node


@contextmanager
def _environment_watched() -> Iterator[dict[str, str]]:
    """Gives the variables that are read while the block runs, and their values; a default is no variable's value."""
    read: dict[str, str] = {}

    def watching(name: str, *default: Any) -> Any:
        read[name] = os.environ.get(name, "")
        return env(name, *default)

    OmegaConf.register_new_resolver(_RESOLVER, watching, replace=True)
    try:
        yield read
    finally:
        OmegaConf.register_new_resolver(_RESOLVER, env, replace=True)
