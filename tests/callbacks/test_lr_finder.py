"""The search for a learning rate suggests one that trains, on any task whose optimizer is the config's."""

import csv
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from strobe.callbacks.lr_finder import steepest, typed_rate
from strobe.errors import ConfigError
from tests.conftest import Train, report
from tests.tasks.modules import WithoutOptimizer

FIND = ("debug=lr_find", "trainer.log_every_n_steps=1000000")


def curve(run: Path) -> list[dict[str, float]]:
    with (run / "lr_find.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def suggested(said: str) -> float:
    return float(said.partition("Suggested: optimizer.lr=")[2].split()[0])


@pytest.mark.parametrize(
    "settings",
    [
        ["model=mlp"],
        ["optimizer=sgd", "trainer.accumulate_grad_batches=2", "trainer.max_steps=60"],
        ["experiment=mnist_regression", "data=tiny"],
        ["experiment=mnist_vae", "data=tiny"],
        ["experiment=mnist_cnn", "data=tiny", "data.augment=false", "trainer.precision=32"],
        ["scheduler=onecycle", "optimizer=muon"],
        ["trainer.precision=bf16-mixed", "callbacks=ema"],
    ],
)
def test_any_task_of_ours_gets_a_curve_and_a_suggestion(
    train_tiny: Train, caplog: pytest.LogCaptureFixture, settings: list[str]
) -> None:
    with caplog.at_level("INFO"):
        run = train_tiny(*settings, "trainer.max_steps=100", *FIND, "trainer.max_epochs=-1")
    rows = curve(run)
    assert 1e-5 < suggested(caplog.text) < 10
    assert rows[0]["lr"] == pytest.approx(1e-6)
    ratios = [after["lr"] / before["lr"] for before, after in pairwise(rows)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert all(math.isfinite(row["loss"]) for row in rows)
    with Image.open(run / "lr_find.png") as picture:
        assert picture.width > 600
    found = report(run)
    assert (found["status"], found["objective"], found["best"]["checkpoint"]) == ("completed", None, None)
    assert not any(name.startswith("test/") for name in found["metrics"])
    assert not list(run.glob("checkpoints/*"))


def test_what_is_suggested_trains_better_than_a_hundredth_of_it(
    train_tiny: Train, caplog: pytest.LogCaptureFixture
) -> None:
    common = ("model=mlp", "optimizer=adam")
    with caplog.at_level("INFO"):
        train_tiny(*common, *FIND, "trainer.max_epochs=-1")
    rate = suggested(caplog.text)
    slow, right = (
        report(train_tiny(*common, f"optimizer.lr={rate * factor}"))["metrics"]["train/loss"] for factor in (0.01, 1)
    )
    assert right < 0.7 * slow


def test_groups_keep_their_proportions_and_the_weights_are_those_of_the_beginning(train_tiny: Train) -> None:
    groups = "+optimizer.groups=[{match: '*bias', lr: 1e-4}, {match: '*', lr: 1e-3}]"
    run = train_tiny("model=mlp", groups, *FIND, "trainer.max_epochs=-1", "trainer.max_steps=60")
    assert len(curve(run)) > 20
    assert report(run)["metrics"]["val/acc"] < 0.4  # measured after the search


def test_a_loss_that_becomes_no_number_ends_the_search_not_the_run(train_tiny: Train) -> None:
    run = train_tiny("optimizer=sgd", "callbacks.lr_finder.max_lr=1e30", *FIND, "trainer.max_epochs=-1")
    assert report(run)["status"] == "completed"


EXPLODES = ("callbacks.lr_finder.max_lr=1e30", "debug=lr_find", "trainer.max_epochs=-1")


@pytest.mark.parametrize("callbacks", ["ema", "swa", "lr_monitor"])
def test_a_search_that_explodes_ends_well_beside_other_callbacks_and_when_steps_are_logged(
    train_tiny: Train, caplog: pytest.LogCaptureFixture, callbacks: str
) -> None:
    settings = (
        f"callbacks={callbacks}",
        "optimizer=sgd",
        "model=mlp",
        "data.val_size=100",
        "trainer.limit_val_batches=1",
    )
    with caplog.at_level("INFO"):
        run = train_tiny(*settings, *EXPLODES)
    found = report(run)
    assert suggested(caplog.text) > 0
    assert found["stopped_early"] is None
    assert found["metrics"]["val/loss"] < 4  # of the first weights
    assert "stopped early" not in caplog.text
    assert "epoch 1" not in caplog.text


def test_a_search_is_not_for_early_stopping(train_tiny: Train, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"search for the learning rate .* add callbacks\.early_stopping=null"):
        train_tiny("callbacks=early_stopping", *EXPLODES)
    watching = ("callbacks.early_stopping.monitor=train/loss", "callbacks.early_stopping.mode=min")
    with caplog.at_level("INFO"):
        train_tiny("callbacks=early_stopping", *watching, "callbacks.early_stopping.patience=1", *EXPLODES)
    assert "Suggested: optimizer.lr=" in caplog.text


class Breaks(WithoutOptimizer):
    """Its loss is no number from a step on, in training alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss if self.global_step < 40 else loss * math.nan

    def log(self, name: str, value: Any, **settings: Any) -> None:
        breaks = self.trainer.training and self.global_step >= 40 and name == "train_loss"
        super().log(name, value * math.nan if breaks else value, **settings)


@pytest.mark.parametrize("settings", [(), ("trainer.log_every_n_steps=1",)])
def test_a_search_ends_well_with_a_module_that_logs_a_loss_that_is_no_number(
    train_own: Train, caplog: pytest.LogCaptureFixture, settings: tuple[str, ...]
) -> None:
    with caplog.at_level("INFO"):
        run = train_own("tests.callbacks.test_lr_finder.Breaks", "optimizer=sgd", *FIND, *EXPLODES[2:], *settings)
    assert "optimizer.lr" in caplog.text
    assert "(curve: " in caplog.text
    assert report(run)["status"] == "completed"
    assert all(math.isfinite(value) for value in report(run)["metrics"].values())


def test_modules_of_ones_own(train_own: Train) -> None:
    with pytest.raises(ConfigError, match=r"Own builds its optimizers itself.* no optimizer\.lr"):
        train_own("Own", *FIND, "trainer.max_epochs=-1")
    run = train_own("WithoutOptimizer", *FIND, "trainer.max_epochs=-1", "optimizer=sgd")
    assert len(curve(run)) > 20


def test_a_task_with_optimizers_of_its_own_is_refused_before_training(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"debug=lr_find: GAN\w* builds its optimizers itself"):
        train_tiny("task=gan", *FIND, "trainer.max_epochs=-1", directory=tmp_path / "run")
    assert not (tmp_path / "run" / "lr_find.csv").exists()


def test_a_suggestion_is_the_steepest_fall_before_the_lowest_or_none() -> None:
    falling = np.concatenate([np.full(20, 2.0), np.linspace(2.0, 1.8, 10), np.linspace(1.7, 0.5, 10), np.full(5, 3.0)])
    at = steepest(falling, margin=4)
    assert at is not None
    assert 28 <= at <= 40
    assert steepest(np.full(30, 2.0), margin=4) is None
    assert steepest(np.linspace(1, 3, 30), margin=4) is None
    assert steepest(np.array([]), margin=4) is None
    assert (typed_rate(3.16e-3), typed_rate(0.1), typed_rate(1e-6)) == ("3.2e-3", "1e-1", "1e-6")
