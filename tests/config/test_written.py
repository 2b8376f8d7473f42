"""What is written down of a config: no secret, and nothing that the environment holds."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from strobe.config.compose import plain
from strobe.config.values import problems
from strobe.config.written import learn_secrets, without_secrets, written
from strobe.machine.secrets import redacted
from tests.conftest import Compose


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_WORD", "from-the-environment")
    monkeypatch.setenv("A_PLACE", "/from/the/environment")
    monkeypatch.setenv("MY_API_KEY", "sk-1")
    monkeypatch.delenv("NOT_THERE", raising=False)


def kept(**settings: Any) -> dict[str, Any]:
    cfg = OmegaConf.create(settings)
    learn_secrets(cfg)
    return written(cfg)


def test_a_config_without_secrets_is_written_with_all_its_values(compose_config: Compose) -> None:
    cfg = compose_config("data=tiny", "model=mlp", "logger=many")
    assert written(cfg) == plain(cfg)


def test_what_comes_from_the_environment_stays_what_it_was() -> None:
    found = kept(
        direct="${oc.env:A_WORD}",
        default="${oc.env:NOT_THERE,x}",
        inside="a-${oc.env:A_WORD}-b",
        decoded="${oc.decode:${oc.env:NOT_THERE,5}}",
        step="${direct}",
        two_steps="${step}",
        selected="${oc.select:direct,y}",
        node="${parent}",
        parent={"list": [1, "${oc.env:A_WORD}", "${..plain}"], "plain": 2},
        plain="${parent.plain}",
    )
    assert found == {
        "direct": "${oc.env:A_WORD}",
        "default": "${oc.env:NOT_THERE,x}",
        "inside": "a-${oc.env:A_WORD}-b",
        "decoded": "${oc.decode:${oc.env:NOT_THERE,5}}",
        "step": "${direct}",
        "two_steps": "${step}",
        "selected": "${oc.select:direct,y}",
        "node": "${parent}",
        "parent": {"list": [1, "${oc.env:A_WORD}", 2], "plain": 2},
        "plain": 2,
    }


def test_a_secret_is_masked_and_what_refers_to_it_still_does() -> None:
    found = kept(logger={"x": {"api_key": "sk-typed", "again": "${.api_key}", "url": "at ${logger.x.api_key}"}})
    assert found == {"logger": {"x": {"api_key": "***", "again": "${.api_key}", "url": "at ${logger.x.api_key}"}}}


def test_a_run_can_be_resumed_from_what_is_written_and_says_what_it_lacks(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose_config("note=${oc.env:A_WORD}", "+logger.x={_target_: a.B, api_key: sk-typed, name: '${.api_key}'}")
    saved = OmegaConf.create(written(cfg))
    assert problems(saved) == [
        "logger.x.api_key=***: a secret that the run has not written down; give it again, logger.x.api_key=..., "
        "or for good as logger.x.api_key='${oc.env:<variable>}'"
    ]
    saved.logger.x.api_key = "sk-typed"
    assert problems(saved) == []
    assert plain(saved) == plain(cfg)
    monkeypatch.delenv("A_WORD")
    assert problems(saved) == ["note: the environment variable A_WORD is not set; set it, or give note=..."]


def test_a_value_from_the_environment_is_masked_in_messages_unless_it_is_a_place_or_a_number() -> None:
    kept(note="${oc.env:A_WORD}", root="${oc.env:A_PLACE}", key="${oc.env:MY_API_KEY}", size="${oc.env:NOT_THERE,1234}")
    said = redacted("from-the-environment, /from/the/environment, sk-1, 1234")
    assert said == "${oc.env:A_WORD}, /from/the/environment, ${oc.env:MY_API_KEY}, 1234"


def test_hydras_record_is_written_without_secrets_or_as_it_is() -> None:
    overrides = {"task": ["api_key=sk-typed", "seed=1"], "hydra": ["hydra.job.env_set.A_TOKEN=hf-typed"]}
    job = {"override_dirname": "api_key=sk-typed,seed=1", "env_set": {"A_TOKEN": "hf-typed"}}
    config = OmegaConf.create({"hydra": {"overrides": overrides, "job": job}, "api_key": "sk-typed", "seed": 1})
    harmless = without_secrets(config)
    assert harmless is not None
    text = OmegaConf.to_yaml(harmless)
    assert "typed" not in text
    assert harmless.hydra.job.override_dirname == "api_key=***,seed=1"
    config = OmegaConf.create({"hydra": {"overrides": {"task": ["seed=1"]}, "job": job | {"env_set": {}}}, "seed": 1})
    assert without_secrets(config) is None
