"""`import strobe` and `strobe.compose`: the command's checks, beside whatever else the process does."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import strobe
from strobe.api.composing import origin_of
from strobe.config.compose import CONF
from strobe.errors import ConfigError
from tests.conftest import ROOT, TEST_CONF, Compose

SLOW = ("torch", "hydra", "omegaconf", "lightning", "numpy", "matplotlib")


def test_importing_strobe_imports_nothing_of_weight_and_needs_no_other_package() -> None:
    program = f"import sys, strobe, json; print(json.dumps([m for m in {SLOW!r} if m in sys.modules] + dir(strobe)))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    names = json.loads(done.stdout)
    assert not {*names} & {*SLOW}
    assert {*strobe.__all__} <= {*names}


def test_composing_imports_no_torch(tmp_path: Path) -> None:
    program = "import sys, strobe; strobe.compose(['model=cnn']); assert 'torch' not in sys.modules"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, check=True)


def test_an_error_can_be_named_before_anything_else_is_asked_for() -> None:
    program = "import strobe; print(strobe.errors.ConfigError.__name__)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "ConfigError\n"


def test_it_is_typed() -> None:
    assert Path(str(strobe.__file__)).with_name("py.typed").exists()


def test_a_wrong_name_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match="load_run"):
        _ = strobe.load  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=cnn", "data.batch_size=64"],
        ["experiment=mnist_cnn"],
        ["debug=fast_dev_run"],
        ["scheduler=null", "note=with spaces, and a comma"],
        ["task=vae", "model=vae", "monitor.metric=val/loss", "monitor.mode=min"],
    ],
)
def test_a_config_is_the_commands(here: Path, compose_config: Compose, overrides: list[str]) -> None:
    cfg = strobe.compose(overrides)
    typed = [text if "note" not in text else "note='with spaces, and a comma'" for text in overrides]
    typed = ["scheduler=none" if text == "scheduler=null" else text for text in typed]
    pair = [OmegaConf.to_container(each, resolve=False) for each in (cfg, compose_config(*typed))]
    assert pair[0] == pair[1]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer.lrr=1"], "did you mean optimizer.lr=1"),
        (["model=cn"], "did you mean model=cnn"),
        (["data.batch_size=0"], "data.batch_size"),
        (["--lr", "0.1"], "optimizer.lr"),
        (["seed=1,2"], "several"),
        (["+frobnicate=1"], "nothing reads this key"),
        (["--multirun"], "strobe.sweep"),
        (["resume="], "give a run directory"),
    ],
)
def test_a_mistake_gets_the_commands_answer(here: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        strobe.compose(overrides)


def test_overrides_may_be_one_text(here: Path) -> None:
    assert strobe.compose("model=mlp seed=3").seed == 3


def test_a_config_directory_that_is_not_there_is_said(here: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        strobe.compose(config_dir="nowhere")


def test_whoever_has_initialized_hydra_finds_it_so(here: Path) -> None:
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            theirs = GlobalHydra.instance().hydra
            assert strobe.compose(["model=mlp"], TEST_CONF).model._target_.endswith("MLP")
            with pytest.raises(ConfigError):
                strobe.compose(["modle=mlp"])
            assert GlobalHydra.instance().hydra is theirs
            assert hydra.compose("train").seed == 1
    finally:
        GlobalHydra.instance().clear()
    strobe.compose()
    assert not GlobalHydra.instance().is_initialized()


def test_a_project_whose_package_is_called_src_trains_from_any_directory(tmp_path: Path) -> None:
    """In a process of its own: this one has a `src` already."""
    conf = ROOT / "examples" / "template_project" / "conf"
    program = f"""
import strobe
for _ in range(2):
    cfg = strobe.compose(["task=spirals", "data=spirals", "model=dense", "trainer=cpu", "trainer.max_epochs=1"],
                         config_dir={str(conf)!r})
run = strobe.train(cfg)
assert "test/acc" in run.report["metrics"], run.report
assert run.evaluate()["test/acc"] == run.report["metrics"]["test/acc"]
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda cfg: cfg.copy(),
        lambda cfg: OmegaConf.merge(cfg, {"seed": 7}),
        lambda cfg: pickle.loads(pickle.dumps(cfg)),
        OmegaConf.create,
    ],
)
def test_a_copy_of_a_config_is_trained_where_the_config_would_be(copied: Any) -> None:
    cfg = strobe.compose(["seed=3", "hydra.run.dir=/tmp/mine"])
    strobe.compose(["hydra.run.dir=/tmp/other"])
    made = copied(cfg)
    del cfg
    origin = origin_of(made)
    assert origin.hydra.hydra.run.dir == "/tmp/mine"
    assert list(origin.overrides) == ["seed=3", *(["seed=7"] if made.seed == 7 else [])]


def test_a_config_whose_origin_is_forgotten_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = strobe.compose(["hydra.run.dir=/tmp/mine"])
    monkeypatch.setattr("strobe.api.composing._composed", {})
    with pytest.warns(UserWarning, match="composed by another process, or 64 configs ago"):
        origin_of(cfg)
