"""A config that is changed in Python is recorded as what would be typed for it, and what can't be is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

import strobe
from strobe.api.composing import origin_of
from strobe.errors import ConfigError


def _set(key: str, value: Any) -> Any:
    return lambda cfg: OmegaConf.update(cfg, key, value, force_add=True)


def _other_model(cfg: DictConfig) -> None:
    cfg.model = strobe.compose(["model=mlp"]).model


def _no_rate(cfg: DictConfig) -> None:
    del cfg.optimizer["lr"]


@pytest.mark.parametrize(
    "change",
    [
        _set("seed", 7),
        _set("note", "two words, a 'quote' = \\"),
        _set("note", "null"),
        _set("note", "1e-3"),
        _set("note", "[1"),
        _set("name", "a, b"),
        _set("tags", ["two words", "b", "true"]),
        _set("test", False),
        _set("data.root", "a folder/data"),
        _set("optimizer.weight_decay", 0.1),
        _set("optimizer.betas", [0.8, 0.9]),
        _set("scheduler", {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 1}),
        _set("seed", "${trainer.max_epochs}"),
        _other_model,
        _no_rate,
    ],
)
def test_what_was_changed_is_recorded_as_what_would_be_typed(here: Path, change: Any) -> None:
    cfg = strobe.compose(["model=cnn"])
    with open_dict(cfg):
        change(cfg)
    for made in (cfg, copy.deepcopy(cfg)):
        typed = list(origin_of(made).overrides)
        again = strobe.compose(typed)
        assert OmegaConf.to_container(again) == OmegaConf.to_container(cfg), typed


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("resume", "latest", "strobe.train(['resume=<run dir>'])"),
        ("hydra", {"run": {"dir": "elsewhere"}}, "strobe.compose"),
        ("nonsense", 1, "nothing reads this key"),
        ("optimizer.lr", "abc", "must be a number"),
    ],
)
def test_what_a_config_can_not_say_is_refused_before_anything_is_made(
    here: Path, tiny: dict[str, Any], key: str, value: Any, words: str
) -> None:
    cfg = strobe.compose(**tiny)
    OmegaConf.update(cfg, key, value, force_add=True)
    with pytest.raises(ConfigError) as refused:
        strobe.train(cfg)
    assert words in str(refused.value)
    assert not Path("outputs").exists()


def test_the_command_that_is_recorded_names_the_config_directory(here: Path, tiny: dict[str, Any]) -> None:
    run = strobe.train(tiny["overrides"], tiny["config_dir"])
    assert f"train --config-dir {tiny['config_dir']} data=tiny" in run.report["environment"]["command"]


def test_a_config_directory_is_for_overrides(here: Path, tiny: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"give it to strobe\.compose"):
        strobe.train(strobe.compose(**tiny), tiny["config_dir"])


@pytest.mark.parametrize("asked", [strobe.compose, strobe.train, strobe.sweep])
def test_what_are_no_overrides_is_said(here: Path, asked: Any) -> None:
    with pytest.raises(TypeError, match="overrides"):
        asked({"model": "mlp"})
    with pytest.raises(ConfigError, match="no closing quotation"):
        asked("model='cnn")
