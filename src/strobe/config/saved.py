"""The config that a run has left: data, which is looked at before anything that it names is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.config.changes import changed, parsed
from strobe.config.overrides import idle_additions
from strobe.config.strangers import Allowed, Foreign, foreign
from strobe.errors import ConfigError, first_line, require
from strobe.machine.program import typed
from strobe.record.config_file import ConfigText, odd_entries, read_config, shortened
from strobe.record.layout import CONFIG
from strobe.record.report import read_report
from strobe.record.settings import leaves
from strobe.record.signature import NoKeyError, user_key

_OF_HYDRA = ("hydra", "defaults")
_PARTS = ("data", "trainer", "monitor")  # which every run has
_WITHOUT_TASK = ("model", "optimizer", "loss")  # and one that names no task: there was but one, which takes them


def saved_config(
    directory: Path,
    overrides: Sequence[str] = (),
    allowed: Allowed | None = None,
    *,
    parts: Sequence[str] | None = None,
) -> DictConfig:
    """A run's resolved config, with changes; of a stranger's, only if it names nothing that this user has not allowed.

    Args:
        directory: The run directory.
        overrides: Changes, as they are typed.
        allowed: What a stranger's config may name, beside what is safe and what the changes name.
        parts: The keys of the top that are asked for; the others are left out, whatever they name. None for all.

    Raises:
        ConfigError: If the directory is not a run directory, its config is damaged or not to be trusted, or an override
            names no key.
    """
    read_report(directory)
    text = read_config(directory)
    cfg = loaded(text)
    if parts is not None:
        cfg = OmegaConf.masked_copy(cfg, [key for key in parts if key in cfg])
    changes = parsed(overrides)
    require(idle_additions(_as_hydra_has_them(cfg, overrides)))
    result = changed(cfg, changes)
    if not text.own:
        typed_keys = [key for change in changes for key, _ in leaves({change.key_or_group: change.value()})]
        found = foreign(_container(result), allowed or Allowed.of((), overrides))
        require(
            _refusal(directory, each, typeable=parts is None) for each in found if not _is_below(each.path, typed_keys)
        )
    return result


def loaded(text: ConfigText) -> DictConfig:
    """The config of a run as it was written, interpolations and all.

    Raises:
        ConfigError: If it is damaged, or holds what no run's config does.
    """
    try:
        cfg = OmegaConf.create(text.text)
        assert isinstance(cfg, DictConfig), "read_config has seen to that"
        container = _container(cfg)
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{text.path} is damaged: {first_line(error)}") from None
    wrong = [f"{key}: is Hydra's, and no part of a run's config" for key in container if key in _OF_HYDRA]
    wrong += odd_entries(container)
    parts = _PARTS if isinstance(container.get("task"), dict) else (*_PARTS, *_WITHOUT_TASK)
    wrong += [f"{key}: is missing" for key in parts if not isinstance(container.get(key), dict)]
    require(f"{text.path}: {line}" for line in wrong)
    return cfg


def named_by(text: ConfigText) -> Iterator[str]:
    """What a run's config names that a stranger's may not, and its classes, a line each."""
    container = _container(loaded(text))
    for path, value in leaves(container, into_lists=True):
        if path.rpartition(".")[2] == "_target_":
            yield f"{shortened(path)}: {shortened(repr(value))}"
    for each in foreign(container, Allowed()):
        if not each.path.endswith("_target_"):
            yield f"{shortened(each.path)}: {each.what}"


@contextmanager
def damage_named(directory: Path) -> Iterator[None]:
    """Have a value that can't be looked up, or is not there, told as damage of the config.

    Raises:
        ConfigError: In place of what OmegaConf raised.
    """
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{directory / CONFIG} is damaged: {first_line(error)}") from error


def not_signed(directory: Path) -> str:
    """That a config is a stranger's, and why, where that is the key's fault."""
    try:
        user_key(make=False)
        reason = ""
    except NoKeyError as error:
        reason = f" ({error})"
    return f"the config of {directory} is not signed by you{reason}"


def _refusal(directory: Path, wrong: Foreign, *, typeable: bool) -> str:
    ways = [f"--trust {wrong.package}"] if wrong.package else [f"your own {wrong.path}=<value>"] if typeable else []
    ways.append(f"after a look at it, {' '.join(typed('trust'))} {directory}")
    return f"{wrong.path}: {wrong.what}, and {not_signed(directory)}; the way on is {' or, '.join(ways)}"


def _is_below(path: str, keys: Sequence[str]) -> bool:
    return any(path == key or path.startswith((f"{key}.", f"{key}[")) for key in keys)


def _container(cfg: DictConfig) -> dict[Any, Any]:
    container = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(container, dict), "a DictConfig becomes a dict"
    return container


def _as_hydra_has_them(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The overrides as `idle_additions` takes them; what the config has at its top already is read by something."""
    hydra = {"overrides": {"task": list(overrides)}, "runtime": {"choices": {str(key): "" for key in cfg}}}
    return OmegaConf.create(hydra)
