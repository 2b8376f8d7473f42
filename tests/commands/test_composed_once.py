"""Hydra composes a config once a command, and gets what it would have composed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from strobe.commands.composed_once import composed_once
from strobe.config.place import CONF

Typed = Callable[..., tuple[list[Any], list[str]]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hydra_here: None) -> Typed:
    """Type a command: the configs of its runs, Hydra's node included, and for what mode something was composed."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)
    composed: list[str] = []
    load = ConfigLoaderImpl.load_configuration

    def counted(self: ConfigLoaderImpl, config_name: Any, overrides: Any, run_mode: Any, **how: Any) -> DictConfig:
        composed.append(run_mode.name)
        return load(self, config_name, overrides, run_mode, **how)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)

    def run(*arguments: str, once: bool = True, handed: DictConfig | None = None) -> tuple[list[Any], list[str]]:
        found: list[Any] = []

        def task(cfg: DictConfig) -> None:
            node = OmegaConf.to_container(HydraConfig.instance().cfg, resolve=False)  # type: ignore[arg-type]
            found.append((OmegaConf.to_container(cfg, resolve=False), node))

        composed.clear()
        monkeypatch.setattr("sys.argv", ["train", *arguments])
        started = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(task)
        if once:
            with composed_once(multirun="-m" in arguments, handed=handed):
                started()
        else:
            started()
        return found, list(composed)

    return run


BASIC = ("hydra/launcher=basic", "hydra/sweeper=basic", "hydra.sweep.dir=sweep")
PLACED = "hydra.run.dir=run"


@pytest.mark.parametrize(
    "arguments",
    [
        [PLACED],
        [PLACED, "model=mlp", "seed=3", "hydra.mode=RUN"],
        [PLACED, "experiment=mnist_cnn", "+model.extra=2", "hydra.verbose=true"],
        ["-m", "seed=1,2", *BASIC],
        ["-m", "seed=1,2", *BASIC, "hydra.mode=MULTIRUN"],
    ],
    ids=" ".join,
)
def test_a_config_is_composed_once_and_is_hydras(typed: Typed, arguments: list[str]) -> None:
    by_hydra, twice = typed(*arguments, once=False)
    found, composed = typed(*arguments)
    assert found == by_hydra
    assert len(composed) == len(twice) - 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed=1,2", "hydra.mode=MULTIRUN", *BASIC],
        ["sweep=lr", *BASIC],
        ["-m", "seed=1", "hydra.mode=RUN", *BASIC],
        ["seed=1,2", "++hydra.mode=MULTIRUN", *BASIC],
    ],
    ids=" ".join,
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the mode is overridden
def test_a_sweep_that_is_asked_for_otherwise_is_hydras_too(typed: Typed, arguments: list[str]) -> None:
    by_hydra, _ = typed(*arguments, once=False)
    found, _ = typed(*arguments)
    assert found == by_hydra


def test_a_config_that_is_handed_over_is_used_as_it_is(typed: Typed) -> None:
    arguments = [PLACED, "model=mlp", "hydra.mode=RUN"]
    by_hydra, _ = typed(*arguments, once=False)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        handed = hydra.compose("train", arguments, return_hydra_config=True)
    handed.hydra.job.name = by_hydra[0][1]["hydra"]["job"]["name"]
    found, composed = typed(*arguments, handed=handed)
    assert found == by_hydra
    assert composed == []


@pytest.mark.parametrize("wrong", ["model.widht=3", "model=mpl", "seed=1,2"])
def test_a_wrong_command_is_composed_once_and_refused_alike(typed: Typed, wrong: str) -> None:
    with pytest.raises(Exception) as by_hydra:  # noqa: PT011
        typed(PLACED, wrong, once=False)
    with pytest.raises(Exception) as found:  # noqa: PT011
        typed(PLACED, wrong)
    assert type(found.value) is type(by_hydra.value)
    assert str(found.value) == str(by_hydra.value)
