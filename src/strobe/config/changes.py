"""What was typed, laid over the config that a run has left."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from strobe.config.compose import CONF
from strobe.config.meant import Known
from strobe.config.nothing import said_plainly
from strobe.config.overrides import dotted_keys, exists
from strobe.config.slips import read
from strobe.config.wording import misspelt_as, unreadable
from strobe.errors import ConfigError, first_line, require


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them.

    Raises:
        ConfigError: If any can't be read, or is one of a sweep.
    """
    parser = OverridesParser.create()
    found, mistakes = [], []
    for each in read(said_plainly(overrides, CONF)):
        text = each.shown
        if each.why:
            mistakes.append(misspelt_as(each, each.meant))
            continue
        try:
            override = parser.parse_override(text)
        except HydraException:
            mistakes.append(unreadable(text))
            continue
        if override.is_sweep_override():
            mistakes.append(f"{text}: several values make a sweep; a run that is there takes one")
        found.append(override)
    require(mistakes)
    return found


def changed(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    """A config with values changed, added (``+``, ``++``) and deleted (``~``), as Hydra would do it.

    Options of groups can't be chosen any more, but that there be none: ``scheduler=none``.

    Raises:
        ConfigError: If an override names no key, or a whole group; lists all that do.
    """
    result = cfg.copy()
    OmegaConf.set_struct(result, True)
    mistakes = []
    for override in overrides:
        try:
            if (mistake := _mistake(result, override)) is not None:
                mistakes.append(mistake)
            elif override.is_delete():
                _delete(result, override.key_or_group)
            else:
                added = override.is_add() or override.is_force_add()
                value = None if _means_none(result, override) else override.value()
                OmegaConf.update(result, override.key_or_group, value, merge=True, force_add=added)
        except (OmegaConfBaseException, TypeError, ValueError) as error:
            mistakes.append(f"{override.input_line}: {first_line(error)}")
    require(mistakes)
    OmegaConf.set_struct(result, None)
    return result


def _mistake(cfg: DictConfig, override: Override) -> str | None:
    key, line = override.key_or_group, override.input_line
    value = override.value()
    whole_group = f"{line}: a run goes on with the config it has; change single values, not a whole group"
    if override.package is not None or "/" in key:
        return whole_group
    there = exists(cfg, key)
    if override.is_add():
        is_plain = not isinstance(value, dict | list)
        return f"{line}: there is such a key already; leave out the +" if there and is_plain else None
    if override.is_force_add():
        return None
    if not there and (CONF / key).is_dir():
        return whole_group
    if not there:
        typed = (line or "").partition("=")[2]
        return Known(dotted_keys(cfg)).unknown(key, typed, deletes=override.is_delete())
    if override.is_delete():
        kept = OmegaConf.select(cfg, key)
        return None if value is None or value == kept else f"{line}: its value is {kept!r}"
    is_choice = isinstance(value, str) and _is_of_a_group(cfg, key)
    return whole_group if is_choice and not _means_none(cfg, override) else None


def _means_none(cfg: DictConfig, override: Override) -> bool:
    return override.value() == "none" and _is_of_a_group(cfg, override.key_or_group)


def _is_of_a_group(cfg: DictConfig, key: str) -> bool:
    """Whether a key holds an option of a group; of one like `scheduler=none` it holds null."""
    node = OmegaConf.select(cfg, key)
    return isinstance(node, DictConfig) or (node is None and (CONF / key).is_dir())


def _delete(cfg: DictConfig, key: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if not isinstance(node, DictConfig):
        raise ConfigError(f"~{key}: only a key of a mapping can be deleted")
    with open_dict(node):
        del node[name]
