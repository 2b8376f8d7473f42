"""`strobe.compose`: the config of a command line, checked as the command checks it."""

import copy
import re
import shlex
import sys
import threading
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose as composed_by_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.commands.arguments import flag_values, parts_of, refuse_unpickling, without_trust
from strobe.commands.resumed import RESUME_IN_A_FILE, resumed_run
from strobe.commands.shorthand import spelt_out
from strobe.commands.through_hydra import idle_choices
from strobe.config.hidden import passed_over
from strobe.config.nothing import said_plainly
from strobe.config.overrides import explain, idle_additions, is_no_name, misspelt
from strobe.config.place import CONF
from strobe.config.rules import plainly
from strobe.config.slips import in_full
from strobe.config.tasks import idle_overrides, undirected
from strobe.config.values import problems
from strobe.config.written import learn_secrets
from strobe.errors import ConfigError, require
from strobe.machine.secrets import learn_typed
from strobe.record.settings import leaves

_HYDRA = threading.RLock()  # it is one for the process

_BARE = re.compile(r"[A-Za-z_/.][\w./-]*|\$\{[\w.]+\}")  # texts that need no quotes in an override
_WORDS = {"null", "true", "false", "nan", "inf"}  # without them these are something else


@dataclass(frozen=True)
class Composed:
    """A config with what came of the overrides beside it.

    Attributes:
        cfg: What is trained.
        hydra: Hydra's own node, below the key ``hydra``.
        overrides: For the record.
        typed: The arguments of the same command.
        resumes: Whether it is that of a run that goes on.
        made_here: Whether it is known what its overrides were, and not only how it differs from the defaults.
    """

    cfg: DictConfig
    hydra: DictConfig
    overrides: Sequence[str]
    typed: Sequence[str]
    resumes: bool = False
    made_here: bool = True


_MADE_HERE = "strobe_composed"
_MOST_REMEMBERED = 64
_composed: dict[str, Composed] = {}
"""What the configs that were given away last came from, by a flag that they and all their copies carry."""


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """The config of `strobe train <overrides>`, checked as the command checks it; nothing is trained.

    It may be changed before it is trained: `cfg.seed = 2`.

    Args:
        overrides: As they are typed on the command line, a list or one text: `["model=cnn", "seed=2"]`.
        config_dir: A config directory of your own, as `--config-dir` names it. The folder that it lies in is added to
            `sys.path`, so that the config finds your classes.

    Raises:
        ConfigError: If an override is wrong; it says which was meant.

    Example:
        >>> cfg = strobe.compose(["model=mlp", "optimizer.lr=0.01"])
        >>> cfg.optimizer.lr
        0.01
        >>> strobe.compose(["optimizer.lrr=0.01"])
        Traceback (most recent call last):
        ...
        strobe.errors.ConfigError: optimizer.lrr: no such key; did you mean optimizer.lr=0.01?
    """
    return composition(overrides, config_dir).cfg


def composition(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Composed:
    """The same, with what came of the overrides beside it.

    Raises:
        ConfigError: If an override is wrong.
    """
    typed = typed_of(overrides)
    with hydra_left_alone():
        composed = _checked(typed, None if config_dir is None else str(config_dir))
    if config_dir is not None:
        composed = replace(composed, typed=["--config-dir", str(config_dir), *typed])
    _remember(composed)
    return composed


def typed_of(overrides: Sequence[str]) -> list[str]:
    """Overrides, each by itself.

    Raises:
        ConfigError: If a text of several has a quote that nothing closes.
        TypeError: If they are a config, or something else that is no list of texts.
    """
    if isinstance(overrides, str):
        try:
            return shlex.split(overrides)
        except ValueError as error:
            raise ConfigError(f"{overrides!r}: {str(error).lower()}; give a list, one override each") from None
    if isinstance(overrides, bytes | Mapping | DictConfig) or not isinstance(overrides, Iterable):
        raise TypeError(
            f"overrides are a list of texts, as in ['model=cnn', 'seed=2'], and no {type(overrides).__name__}"
        )
    return [str(override) for override in overrides]


def origin_of(cfg: DictConfig) -> Composed:
    """What a config came from, with the changes that were made to it since as further overrides.

    One that `compose` has not made is told by its differences from the defaults.
    """
    known = next((origin for flag, origin in reversed(_composed.items()) if cfg._get_flag(flag)), None)
    if known is None:
        if cfg._get_flag(_MADE_HERE):
            warnings.warn(
                f"this config was composed by another process, or {_MOST_REMEMBERED} configs ago: what it was given of "
                "hydra, such as hydra.run.dir, is not known any more; compose it here",
                stacklevel=3,
            )
        defaults = composition()
        changes = _changes(_plain(defaults.cfg), _plain(cfg))
        return replace(defaults, cfg=cfg, overrides=changes, typed=changes, made_here=False)
    changes = _changes(_plain(known.cfg), _plain(cfg))
    return replace(known, cfg=cfg, overrides=[*known.overrides, *changes], typed=[*known.typed, *changes])


@contextmanager
def hydra_left_alone() -> Iterator[None]:
    """Within the block Hydra is ours; after it, whoever has initialized it before finds it so."""
    with _HYDRA:
        theirs = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            GlobalHydra.instance().clear()
            GlobalHydra.instance().hydra = theirs


def _checked(typed: list[str], config_dir: str | None) -> Composed:
    learn_typed(typed)
    arguments, trusted = without_trust(spelt_out(typed))
    refuse_unpickling(arguments)
    if config_dir is None and (named := flag_values(arguments, "--config-dir")):
        config_dir = named[-1]
    flags = [] if config_dir is None else ["--config-dir", str(Path(config_dir).expanduser().resolve())]
    given, of_hydra, others = parts_of(arguments)
    if unknown := [
        flag for flag in given if flag.startswith("-") and in_full(flag.partition("=")[0]) != "--config-dir"
    ]:
        way = "strobe.sweep([...]) runs a sweep" if in_full(unknown[0]) in ("-m", "--multirun") else "leave it out"
        require(misspelt([*flags, *unknown, *others], CONF))
        raise ConfigError(f"{unknown[0]}: a flag of the command line; {way}")
    arguments = [*of_hydra, *others] if given else arguments
    if flags:
        if not Path(flags[1]).is_dir():
            raise ConfigError(f"config_dir={config_dir}: there is no such directory")
        project = str(Path(flags[1]).parent)
        if project not in sys.path:
            sys.path.append(project)
    try:
        require(misspelt([*flags, *arguments], CONF))
        arguments = said_plainly(arguments, CONF)
        resumed = resumed_run([*flags, *arguments], trusted)
        if resumed is not None:
            rest = parts_of(resumed.arguments)[1:]
            whole = _whole([override for part in rest for override in part if override != ""], flags)
            return Composed(resumed.cfg, _node(whole), resumed.overrides, typed, resumes=True)
        whole = _whole(arguments, flags)
        cfg = copy.deepcopy(whole)
        with open_dict(cfg):
            del cfg["hydra"]
        learn_secrets(cfg)
        overrides: Any = OmegaConf.to_container(whole.hydra.overrides.task, resolve=False)
        require(passed_over(whole.hydra).chosen)
        require(problems(cfg))
        require([*idle_additions(whole.hydra), *idle_overrides(cfg, overrides), *undirected(cfg, overrides)])
        require(idle_choices(whole.hydra))
        require([RESUME_IN_A_FILE] if cfg.resume is not None else [])
        return Composed(cfg, _node(whole), overrides, typed)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if isinstance(error, ValueError) and not is_no_name(error):
            raise
        raise ConfigError("\n".join(explain([*flags, *arguments], error, CONF))) from None


def _whole(arguments: Sequence[str], flags: Sequence[str]) -> DictConfig:
    """The config with Hydra's own node."""
    searched = ["hydra.searchpath=['file://{}']".format(flags[1].replace("'", r"\'"))] if flags else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return composed_by_hydra("train", overrides=[*searched, *arguments], return_hydra_config=True)


def _node(whole: DictConfig) -> DictConfig:
    node: Any = OmegaConf.masked_copy(whole, "hydra")
    assert isinstance(node, DictConfig)
    return node


def _remember(composed: Composed) -> None:
    flag = f"{_MADE_HERE}_{uuid.uuid4().hex}"
    # Private: its copies, merges and pickles keep flags, and nothing public but the content, which is the user's.
    composed.cfg._set_flag([_MADE_HERE, flag], [True, True])
    _composed[flag] = replace(composed, cfg=copy.deepcopy(composed.cfg))
    while len(_composed) > _MOST_REMEMBERED:
        del _composed[next(iter(_composed))]


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return dict(leaves(OmegaConf.to_container(cfg, resolve=False)))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """As overrides, of which Hydra makes the one of the other."""
    there = _with_parents(before)
    gone = [key for key in before if key not in _with_parents(after) and not any(_is_below(key, at) for at in after)]
    set_ = [key for key in after if key not in before or before[key] != after[key]]
    return [f"{'' if key in there else '+'}{key}={_typed(after[key])}" for key in set_] + [f"~{key}" for key in gone]


def _with_parents(keys: Iterable[str]) -> set[str]:
    return {".".join(parts[:end]) for parts in (key.split(".") for key in keys) for end in range(1, len(parts) + 1)}


def _is_below(key: str, other: str) -> bool:
    return key.startswith(f"{other}.")


def _typed(value: object) -> str:
    """A value as it has to be typed to be read as that value."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_typed(each)}' for key, each in value.items())}}}"
    if not isinstance(value, str) or (_BARE.fullmatch(value) and value.lower() not in _WORDS):
        return plainly(value)
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (r"\'" if found[2] else ""), value)
    return f"'{escaped}'"
