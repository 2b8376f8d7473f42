"""What is wrong with a command line, in words, with the nearest right one."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_FLAGS_WITH_VALUE = (
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--package",
    "-p",
    "--cfg",
    "-c",
)


def explain(arguments: Sequence[str], error: Exception, conf: Path) -> list[str]:
    """Every mistake among the overrides, one line each; the original error where none is found.

    Args:
        arguments: The command line without the program.
        error: What Hydra raised.
        conf: The config directory.
    """
    overrides = _overrides_in(arguments)
    named_sweep = any(override.startswith("sweep=") and override != "sweep=default" for override in overrides)
    multirun = named_sweep or any(argument in ("-m", "--multirun") for argument in arguments)
    searchpath = [f"hydra.searchpath=[file://{Path(folder).resolve()}]" for folder in _config_dirs(arguments)]
    try:
        found = _mistakes(overrides, conf, searchpath, multirun=multirun)
    except (HydraException, OmegaConfBaseException):
        found = []
    if found:
        return found
    cause = error.__cause__ if isinstance(error.__cause__, HydraException | OmegaConfBaseException) else error
    return [line.strip() for line in str(cause).splitlines() if line.strip() and "full_key" not in line] or [
        repr(error)
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, if one is like it."""
    candidates = list(known)
    if close := difflib.get_close_matches(word, candidates, n=1, cutoff=0.6):
        return close[0]
    # A right key under a wrong parent (`lr` for `optimizer.lr`).
    last = word.rpartition(".")[2]
    endings = [key for key in candidates if key.rpartition(".")[2] == last]
    if endings:
        return endings[0]
    close = difflib.get_close_matches(last, [key.rpartition(".")[2] for key in candidates], n=1, cutoff=0.75)
    return next((key for key in candidates if key.rpartition(".")[2] == close[0]), None) if close else None


def dotted_keys(config: Mapping[str, object] | DictConfig, prefix: str = "") -> list[str]:
    """Every key of a nested config, ``a.b.c``, parents included."""
    keys = []
    for key in config:
        name = f"{prefix}{key}"
        keys.append(name)
        node = config._get_node(key) if isinstance(config, DictConfig) else config[str(key)]
        if (
            isinstance(node, DictConfig)
            and not node._is_none()
            and not node._is_missing()
            and not node._is_interpolation()
        ):
            keys += dotted_keys(node, f"{name}.")
    return keys


def _overrides_in(arguments: Sequence[str]) -> list[str]:
    found, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _FLAGS_WITH_VALUE:
            skip = True
        elif not argument.startswith("-"):
            found.append(argument)
    return found


def _config_dirs(arguments: Sequence[str]) -> list[str]:
    """Values of ``--config-dir``."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    separate = [value for flag, value in pairs if flag in ("--config-dir", "-cd")]
    return separate + [argument.partition("=")[2] for argument in arguments if argument.startswith("--config-dir=")]


def _mistakes(overrides: Sequence[str], conf: Path, searchpath: list[str], *, multirun: bool) -> list[str]:
    parser = OverridesParser.create()
    mistakes, parsed = [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            mistakes.append(_unreadable(text))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        groups = _groups(conf)
        choices = []
        for override in parsed:
            if override.is_sweep_override() and not multirun:
                mistakes.append(
                    f"{override.input_line}: several values make a sweep, which needs -m: python -m src.train -m ..."
                )
            elif override.key_or_group in groups:
                wrong = _wrong_choices(override, groups[override.key_or_group])
                mistakes += wrong
                if not wrong and not override.is_sweep_override():
                    choices.append(override.input_line or "")
        config = compose("train", overrides=choices, return_hydra_config=True)
        known = dotted_keys(config)
        for override in parsed:
            key = override.key_or_group
            if key in groups or override.is_add() or override.is_force_add():
                continue
            if not _exists(config, key):
                mistakes.append(_unknown(key, override, known, groups))
    return mistakes


def _unreadable(text: str) -> str:
    if "=" not in text:
        return f"{text!r} is not an override: write key=value"
    key, _, value = text.partition("=")
    return f"{text!r} can't be read: quote a value with special characters, as in {key}=\"'{value}'\""


def _wrong_choices(override: Override, options: Sequence[str]) -> list[str]:
    values = override.value()
    if override.is_sweep_override():
        chosen: list[object] = (
            [value for value in override.sweep_string_iterator()] if override.is_discrete_sweep() else []
        )
    else:
        chosen = list(values) if isinstance(values, list) else [values]
    wrong = []
    for value in chosen:
        name = str(value).strip("'\"") if value is not None else "null"
        if name in ("null", *options):
            continue
        guess = nearest(name, options)
        hint = f"did you mean {override.key_or_group}={guess}? " if guess else ""
        wrong.append(f"{override.key_or_group}={name}: no such option; {hint}There are: {', '.join(options)}")
    return wrong


def _unknown(key: str, override: Override, known: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    value = (override.input_line or "").partition("=")[2]
    public = [name for name in known if not name.startswith("hydra.") or key.startswith("hydra")]
    guess = nearest(key, [*public, *groups])
    if guess is not None:
        return f"{key}: no such key; did you mean {guess}={value}?"
    parent = key.rpartition(".")[0]
    siblings = [name for name in public if name.rpartition(".")[0] == parent]
    return f"{key}: no such key; there are: {', '.join(siblings or [name for name in public if '.' not in name])}"


def _exists(config: DictConfig, key: str) -> bool:
    node: object = config
    for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
        if isinstance(node, DictConfig) and not node._is_none() and part in node._content:  # type: ignore[operator]
            node = node._get_node(part)
        elif isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        else:
            return False
        if isinstance(node, DictConfig | ListConfig) and node._is_interpolation():
            node = OmegaConf.select(config, key)
            return node is not None
    return True


def _groups(conf: Path) -> dict[str, list[str]]:
    """Config groups and their options, ours and those of Hydra and its plugins."""
    loader = GlobalHydra.instance().config_loader()
    Plugins.instance()
    names = [path.relative_to(conf).as_posix() for path in sorted(conf.rglob("*")) if path.is_dir()]
    names += [f"hydra/{name}" for name in loader.list_groups("hydra")]
    return {name: options for name in dict.fromkeys(names) if (options := loader.get_group_options(name))}
