"""What makes one experiment another, and what doesn't."""

import copy
import json
from typing import Any

import pytest

from strobe.config.compose import plain
from strobe.record.identity import config_hash, first_defaults, identity
from tests import first_defaults as pinned
from tests.conftest import Compose

EARLY = ["+callbacks.e._target_=lightning.pytorch.callbacks.EarlyStopping", "+callbacks.e.monitor=val/acc"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["name=x"],
        ["tags=[a]"],
        ["note='a word'"],
        ["data.root=/elsewhere"],
        ["data.download=false"],
        ["data.num_workers=2"],
        ["resume=x"],
        ["logger=csv"],
        ["logger=none"],
        ["callbacks=none"],
        ["callbacks.progress=null"],
        ["+callbacks.bar._target_=lightning.pytorch.callbacks.RichProgressBar"],
        ["+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor"],
        ["trainer.enable_progress_bar=false"],
        ["trainer.profiler=simple"],
        ["trainer.log_every_n_steps=7"],
        ["checkpoint.keep=3"],
        ["sweep.rerun=all"],
        ["sweep.repetitions=[seed,data.fold]"],
        ["identity.also_ignore=[data.split_seed]", "data.split_seed=3"],
        ["identity.also_ignore=[callbacks]", *EARLY],
        ["identity.also_ignore=[lightning.pytorch.callbacks.EarlyStopping]", *EARLY],
        ["optimizer.lr=0.001"],  # the default, typed
        ["+trainer.something_new=null"],
    ],
)
def test_what_changes_no_result_makes_no_other_experiment(compose_config: Compose, overrides: list[str]) -> None:
    assert config_hash(plain(compose_config(*overrides))) == config_hash(plain(compose_config()))


def test_no_two_settings_that_train_differently_are_one_experiment(compose_config: Compose) -> None:
    changes = [
        *(f"model={name}" for name in first_defaults()["groups"]["model"]),
        *(f"optimizer={name}" for name in first_defaults()["groups"]["optimizer"]),
        *(f"scheduler={name}" for name in (*first_defaults()["groups"]["scheduler"], "none")),
        *(f"data={name}" for name in ("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100")),
        *(f"trainer={name}" for name in ("cpu", "gpu", "ddp", "ddp_cpu", "fsdp")),
        *("loss=brier", "seed=2", "optimizer.lr=2e-3", "optimizer.weight_decay=0.1", "data.batch_size=32"),
        *("data.augment=true", "data.val_size=0", "data.split_seed=1", "trainer.precision=64", "trainer.max_epochs=6"),
        *(
            "trainer.gradient_clip_val=1",
            "trainer.max_steps=10",
            "compile=true",
            "monitor.metric=val/loss",
            "test=false",
        ),
        *("decay_norm_and_bias=false", "model.hidden=64", "+model.x=1", "optimizer.lr=null"),
    ]
    hashes: dict[str, str] = {}
    for change in changes:
        hashes.setdefault(config_hash(plain(compose_config(change))), change)
    same_as_default = {"model=simple_nn", "optimizer=adam", "scheduler=none", "data=mnist"}
    assert len(hashes) == len(changes) - len(same_as_default) + 1
    assert config_hash(plain(compose_config(*EARLY))) not in hashes


def test_a_default_that_an_update_adds_makes_no_finished_run_another_experiment(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config_hash(plain(compose_config("model=mlp")))
    updated: dict[str, Any] = copy.deepcopy(first_defaults())
    updated["groups"]["model"]["mlp"]["bias"] = True
    updated["top"]["new"] = 3
    monkeypatch.setattr("strobe.record.identity.first_defaults", lambda: updated)
    assert config_hash(plain(compose_config("model=mlp", "+model.bias=true", "+new=3"))) == before
    assert config_hash(plain(compose_config("model=mlp", "+model.bias=false", "+new=3"))) != before


def test_a_default_that_a_person_changes_makes_another_experiment(compose_config: Compose) -> None:
    config = plain(compose_config("model=mlp"))
    edited = copy.deepcopy(config)
    edited["model"]["dropout"] = 0.4  # as after an edit of conf/model/mlp.yaml
    assert config_hash(edited) != config_hash(config)
    assert identity(edited)["model.dropout"] == 0.4


def test_every_shipped_key_has_its_first_default_on_record() -> None:
    recorded, today = first_defaults(), pinned.shipped()
    missing = [path for path in today["top"] if path not in recorded["top"]]
    for group, options in today["groups"].items():
        known = recorded["groups"].get(group, {})
        missing += [
            f"{group}={option}: {path}"
            for option, defaults in options.items()
            for path in defaults
            if path not in known.get(option, {})
        ]
    assert not missing, "python -m tests.first_defaults adds them"
    assert json.loads(pinned.FILE.read_text()) == recorded
