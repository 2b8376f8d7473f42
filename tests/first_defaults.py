"""Adds keys that are new in `conf` to the first defaults: `python -m tests.first_defaults`. What is there stays."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from strobe.config.compose import CONF
from strobe.record import identity
from strobe.record.settings import leaves

FILE = Path(identity.__file__).with_name("first_defaults.json")
GROUPS = ("task", "data", "model", "optimizer", "scheduler", "loss", "trainer")


def shipped() -> dict[str, Any]:
    """Every key of the shipped configs with its value today, as `first_defaults.json` holds them."""
    Plugins.instance()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("train")
        groups: dict[str, dict[str, Any]] = {}
        for group in GROUPS:
            for path in sorted((CONF / group).glob("*.yaml")):
                node = compose("train", overrides=[f"{group}={path.stem}"])[group]
                if isinstance(node, DictConfig):
                    groups.setdefault(group, {})[path.stem] = as_typed(node)
        preferred = {
            str(group): str(option)
            for default in OmegaConf.load(CONF / "train.yaml").defaults
            if isinstance(default, Mapping | DictConfig)
            for group, option in default.items()
            if group in GROUPS
        }
    GlobalHydra.instance().clear()
    ignored = {name.partition(".")[0] for name in whole.identity.ignore}
    top = {
        path: value
        for path, value in as_typed(whole).items()
        if path.partition(".")[0] not in (*GROUPS, "callbacks") and path.partition(".")[0] not in ignored
    }
    return {"preferred": preferred, "top": top, "groups": groups}


def as_typed(node: DictConfig) -> dict[str, Any]:
    """The leaves of a node, interpolations as they stand."""
    return dict(leaves(OmegaConf.to_container(node, resolve=False)))


def main() -> None:
    """Write the file."""
    first = json.loads(FILE.read_text()) if FILE.exists() else {"preferred": {}, "top": {}, "groups": {}}
    today = shipped()
    first["preferred"] = {**today["preferred"], **first["preferred"]}
    first["top"] = {**today["top"], **first["top"]}
    for group, options in today["groups"].items():
        known = first["groups"].setdefault(group, {})
        for option, defaults in options.items():
            known[option] = {**defaults, **known.get(option, {})}
    FILE.write_text(json.dumps(first, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
