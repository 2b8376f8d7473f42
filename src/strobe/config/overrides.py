"""What is wrong with a command line, in words, with the nearest right one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.config.meant import Known
from strobe.config.rules import TOP_LEVEL
from strobe.config.slips import PLACEHOLDER, SEVERAL, TOGETHER, Typed, in_full, read
from strobe.config.spelling import listed, nearest
from strobe.config.vocabulary import key_here
from strobe.config.wording import called, misspelt_as, several, unreadable
from strobe.errors import first_line


def explain(arguments: Sequence[str], error: Exception, conf: Path) -> list[str]:
    """Every mistake among the overrides, one line each; the original error where none is found.

    Args:
        arguments: The command line without the program.
        error: What Hydra raised.
        conf: The config directory.
    """
    if not isinstance(error, YAMLError) and (mistakes := mistakes_of(arguments, conf)):  # else a file is wrong
        return mistakes
    cause = error.__cause__ if isinstance(error.__cause__, HydraException | OmegaConfBaseException) else error
    if isinstance(cause, MissingConfigException) and str(cause).startswith("Cannot find primary config"):
        return [f"{first_line(cause)}; settings of your own are an experiment: experiment=<name> --config-dir=<dir>"]
    if "does not support sweep type" in str(cause):
        ranges = [part.shown for part in _read(arguments, conf) if "interval(" in part.shown]
        return [f"{shown}: ranges are for a search: add sweep=optuna" for shown in ranges]
    lines = [line.strip() for line in str(cause).splitlines() if line.strip() and "full_key" not in line]
    return lines or [repr(error)]


def mistakes_of(arguments: Sequence[str], conf: Path) -> list[str]:
    """Every mistake among the overrides that can be named, one line each, whatever Hydra would say.

    Args:
        arguments: The command line without the program.
        conf: The config directory.
    """
    parts = _read(arguments, conf)
    named_sweep = any(str(part.meant).startswith("sweep=") and part.meant != "sweep=default" for part in parts)
    meant = {str(part.meant).partition(" ")[0] for part in parts}  # -M is no flag, and says what a person wants
    multirun = named_sweep or bool({"-m", "--multirun"} & {*arguments, *meant})
    with suppress(HydraException, OmegaConfBaseException):
        return _mistakes(parts, _folders(arguments, conf), _flag(arguments, "--config-name") or "train", multirun)
    return []


def misspelt(arguments: Sequence[str], conf: Path) -> list[str]:
    """What is wrong with a command line of which Hydra would not even see overrides; empty where it can be read.

    Args:
        arguments: The command line without the program.
        conf: The config directory.
    """
    wrong = [each for each in _read(arguments, conf) if each.why]
    return explain(arguments, HydraException(f"{wrong[0].shown}: {wrong[0].why}"), conf) if wrong else []


def is_no_name(error: BaseException) -> bool:
    """Whether it is Hydra's ValueError about a number, true or null in the place of an option's name."""
    return isinstance(error, ValueError) and str(error).startswith("Config group override must be")


def idle_additions(hydra: DictConfig) -> list[str]:
    """What is wrong with keys that a command added at the top of a config and that nothing reads, one line each.

    Args:
        hydra: Hydra's own node of the config: what was typed, and the groups that options were chosen from.
    """
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # they may hold interpolations
    read = {*TOP_LEVEL, *(str(group).partition("/")[0] for group in hydra.runtime.choices)}
    wrong = []
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        top = re.split(r"[.@/\[]", key)[0]
        if not text.startswith("+") or top in read or any(f"${{{top}" in other for other in overrides):
            continue
        known = [name for name in TOP_LEVEL if name != "hydra"]
        guess = key_here(key) or ((like := nearest(top, known)) and key.replace(top, like, 1))
        hint = f"did you mean {guess}?" if guess else f"there are: {listed(known)}"
        wrong.append(f"{text}: nothing reads this key; {hint}")
    return wrong


def dotted_keys(config: Mapping[Any, Any] | DictConfig, prefix: str = "") -> list[str]:
    """Every key of a nested config, ``a.b.c``, parents included."""
    if isinstance(config, DictConfig):
        config = _unresolved(config)
    keys = []
    for key, node in config.items():
        name = f"{prefix}{key!s}"
        keys.append(name)
        if isinstance(node, Mapping):
            keys += dotted_keys(node, f"{name}.")
    return keys


def _read(arguments: Sequence[str], conf: Path) -> list[Typed]:
    """A command line in parts, where an option of the user's own may be made to be laid over another one."""
    return [Typed(each.shown, each.shown) if _is_laid_over(each, conf) else each for each in read(arguments)]


def _is_laid_over(each: Typed, conf: Path) -> bool:
    group, _, value = each.shown.partition("=")
    names = [name.strip() for name in value.strip("[]").split(",")]
    return each.why == SEVERAL and not all((conf / group / f"{name}.yaml").is_file() for name in names)


def _flag(arguments: Sequence[str], name: str) -> str | None:
    """The value of a flag with a value, written either way."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        typed_name, separator, value = argument.partition("=")
        if in_full(typed_name) == name:
            return value if separator else following
    return None


def _folders(arguments: Sequence[str], conf: Path) -> list[Path]:
    """Where a command's configs are, that of its primary config first."""
    named = [_flag(arguments, "--config-path") or str(conf), _flag(arguments, "--config-dir")]
    return [Path(folder).resolve() for folder in named if folder]


def _loader(folder: Path) -> ConfigLoader:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


def _mistakes(typed_words: Sequence[Typed], folders: Sequence[Path], config_name: str, multirun: bool) -> list[str]:
    loaders = [_loader(folder) for folder in folders]
    loader = loaders[0]
    parser = OverridesParser.create(config_loader=loader)
    groups = _groups(loaders)
    known = Known((), groups)
    mistakes: list[str] = []
    parsed: list[tuple[Typed, Override]] = []
    alone: list[Typed] = []
    choices = []
    for each in typed_words:
        if each.meant is None or each.meant.startswith("-") or each.meant.endswith(PLACEHOLDER) or each.why == TOGETHER:
            alone.append(each)
            continue
        try:
            override = parser.parse_override(each.meant)
        except HydraException:
            mistakes.append(called(each.shown, known) or unreadable(each.shown))
            continue
        if override.is_sweep_override() and not multirun and not each.why:
            mistakes.append(several(each.shown))
        elif override.key_or_group in groups:
            wrong = _wrong_choices(override, known)
            if each.why:
                value = (override.input_line or "").partition("=")[2]
                chosen = known.for_option(override.key_or_group, value) if wrong else None
                mistakes.append(misspelt_as(each, chosen or each.meant))
                continue
            mistakes += wrong
            if not wrong and not override.is_sweep_override():
                choices.append(each.meant)
            continue
        parsed.append((each, override))
    further = ",".join("'file://" + str(folder).replace("'", r"\'") + "'" for folder in folders[1:] if folder.is_dir())
    searched = [f"hydra.searchpath=[{further}]"] if further else []
    config = loader.load_configuration(config_name, overrides=[*searched, *choices], run_mode=RunMode.RUN)
    chosen_options = {str(group): str(option) for group, option in config.hydra.runtime.choices.items()}
    known = Known(dotted_keys(config), groups, chosen_options, folders)
    for each, override in parsed:
        key, value = override.key_or_group, (override.input_line or "").partition("=")[2]
        there = exists(config, key) or override.is_add() or override.is_force_add()
        if each.why:
            meant = each.meant if there else known.for_key(key, value)[0]
            mistakes.append(misspelt_as(each, meant or each.meant))
        elif override.is_add() and exists(config, key) and not isinstance(override.value(), dict | list):
            mistakes.append(f"{each.shown}: there is such a key already; leave out the +")
        elif not there:
            mistakes.append(known.unknown(key, value, deletes=override.is_delete()))
    for each in alone:
        meant = each.meant
        if meant is not None and meant.endswith(PLACEHOLDER) and not exists(config, key := meant.partition("=")[0]):
            meant = known.for_key(key, "<value>")[0] or meant
        mistakes.append(misspelt_as(each, meant or known.for_word(each.shown.strip("'="))))
    return mistakes


def _wrong_choices(override: Override, known: Known) -> list[str]:
    group, values = override.key_or_group, override.value()
    options = known.groups[group]
    if override.is_sweep_override():
        chosen: list[object] = list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    elif override.is_delete() and values is None:
        chosen = []
    else:
        chosen = list(values) if isinstance(values, list) else [values]
    wrong = []
    for value in chosen:
        if value is None or value == "null":
            wrong.append(f"{group}=null: is no option of this group; leave it out, or choose one: {listed(options)}")
            continue
        name = str(value).lower() if isinstance(value, bool) else str(value).strip("'\"")
        if name in options and isinstance(value, str):
            continue
        meant = known.for_option(group, name)
        begun = [option for option in options if option.startswith(f"{name}_")]
        if meant is not None and len(begun) > 1 and meant.partition("=")[2] in begun:
            wrong.append(f"{group}={name}: no such option; these begin so: {listed(begun)}")
            continue
        hint = f"did you mean {meant}? There" if meant else "there"
        wrong.append(f"{group}={name}: no such option; {hint} are: {listed(options)}")
    return wrong


def exists(config: DictConfig, key: str) -> bool:
    """Whether a config has a key, also one within a list, or behind an interpolation."""
    node: object = _unresolved(config)
    for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, str) and node.startswith("${"):
            return OmegaConf.select(config, key) is not None
        else:
            return False
    return True


def _unresolved(config: DictConfig) -> Mapping[Any, Any]:
    """As plain containers; an interpolation is its text."""
    container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, Mapping), "a DictConfig becomes a dict"
    return container


def _groups(loaders: Iterable[ConfigLoader]) -> dict[str, list[str]]:
    """Config groups and their options: ours, the user's, and those of Hydra and its plugins."""
    groups: dict[str, set[str]] = {}
    # Not `list_groups` and `get_group_options`: each call of them copies all that Hydra knows of its search path.
    to_visit = [(source, "") for loader in loaders for source in loader.get_sources()]
    while to_visit:
        source, parent = to_visit.pop()
        if not source.is_group(parent):
            continue
        for name in source.list(parent, ObjectType.GROUP):
            full = f"{parent}/{name}" if parent else name
            groups.setdefault(full, set()).update(source.list(full, ObjectType.CONFIG))
            to_visit.append((source, full))
    return {group: sorted(options) for group, options in groups.items() if options}
