"""Files of the user's own that Hydra passes over, because an earlier directory has one of the same name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from strobe.config.place import CONF

Choice = tuple[str, str]
"""A group and its option."""


@dataclass(frozen=True)
class PassedOver:
    """Files that an option has beside the one that Hydra reads, unless they say what it says; a line each.

    Attributes:
        chosen: Of options that somebody chose: another file is meant, perhaps, which is a mistake.
        by_default: Of options that nobody chose: their owner may want to know, and nothing is wrong.
    """

    chosen: Sequence[str] = ()
    by_default: Sequence[str] = ()


def passed_over(hydra: DictConfig) -> PassedOver:
    """What to say of such files.

    Args:
        hydra: Hydra's own node of the config: what was typed, what is chosen, and where was looked.
    """
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    if len(folders) == 1:  # the shipped one, as in most commands
        return PassedOver()
    by_default, others = _choices(hydra)
    return PassedOver(
        chosen=[
            f"{line}; rename it, to my_{name}.yaml for example, and choose {group}=my_{name}"
            for group, option in others
            for line in _lines(folders, group, option)
            for name in [option.rpartition("/")[2]]
        ],
        by_default=[line for group, option in by_default for line in _lines(folders, group, option)],
    )


def _choices(hydra: DictConfig) -> tuple[list[Choice], list[Choice]]:
    """The options that the shipped config chooses by itself, and those that a command, sweep or experiment chooses."""
    texts: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # they may hold interpolations
    typed = OverridesParser.create().parse_overrides(list(texts))
    groups = {override.key_or_group.partition("@")[0] for override in typed}
    chosen: Any = OmegaConf.to_container(hydra.runtime.choices)
    options = [
        (group.partition("@")[0], str(each))
        for group, option in chosen.items()
        for each in (option if isinstance(option, list) else [option])
        if each is not None
    ]
    shipped = yaml.safe_load((CONF / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    defaults = {pair for each in shipped if isinstance(each, dict) for pair in each.items()}
    by_default = [pair for pair in options if pair in defaults and pair[0] not in groups]
    others = [pair for pair in options if pair not in by_default]
    return by_default, [*dict.fromkeys([*others, *_axes(typed)])]


def _axes(typed: Sequence[Override]) -> Iterator[Choice]:
    """The options that a sweep is over; keys that are no groups come with them, and have no files."""
    for override in typed:
        if override.is_sweep_override() and override.is_discrete_sweep():
            for value in override.sweep_string_iterator():
                yield override.key_or_group.partition("@")[0], value


def _lines(folders: Sequence[Path], group: str, option: str) -> Iterator[str]:
    files = [file for folder in folders if (file := folder / group / f"{option}.yaml").is_file()]
    for file in files[1:]:
        if file.read_bytes() != files[0].read_bytes():
            yield f"{group}={option}: {file} is not used, because {files[0]} comes first"
