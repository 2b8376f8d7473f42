"""Any task: what it is given, which optimizer it gets, what its metrics are, what its checkpoints hold."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MinMetric, SumMetric

from strobe.config.targets import resolve
from strobe.config.tasks import _SHIPPED, idle_overrides, interface, undirected
from strobe.errors import ConfigError, PreemptedError
from strobe.run.evaluation import evaluate
from strobe.run.saved import saved_net
from tests.conftest import Compose, Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights
from tests.tasks import modules

pytestmark = pytest.mark.filterwarnings("ignore:.*have no `validation_step`", "ignore:.*no `val_dataloader`")

OWN = ("monitor.metric=val_loss", "monitor.mode=min")


def of_numbers(path: Path) -> tuple[str, ...]:
    return "data=table", f"data.path={path}", "data.target=y", "data.batch_size=20"


GUESS = ("monitor.metric=val/error", "monitor.mode=min", "optimizer.lr=0.05")


def test_a_task_is_given_what_it_names_and_its_yaml_leaves_open(train_own: Train) -> None:
    run = train_own("Given", "loss=mse", "monitor.metric=loss", "monitor.mode=min", "+task.own=5")
    given = modules.Given.given
    assert isinstance(given["net"], nn.Module)
    assert isinstance(given["loss"], nn.MSELoss)
    assert (given["monitor"], given["fact"], given["own"]) == ("loss", 7, 5)
    found = report(run)
    assert found["status"] == "completed"
    assert found["best"]["metric"] == "loss"
    assert set(found["metrics"]) == {"loss"}, "no validation, no test: and nothing is made up"


def test_an_own_module_trains_with_its_own_optimizer_and_its_own_names(
    train_own: Train, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = train_own("Own", *OWN)
    found = report(run)
    assert {"val_loss", "train_loss", "test_loss"} == set(found["metrics"])
    assert found["objective_metric"] == "val_loss"
    assert found["objective_mode"] == "min"
    values = [float(row["val_loss"]) for row in rows(run)]
    assert found["objective"] == min(values)
    assert values[-1] < values[0]
    assert found["effective"]["lr"] == 0.05
    assert found["effective"]["global_batch_size"] == 20
    assert "accuracy" not in caplog.text
    assert "acc" not in caplog.text
    assert evaluate(run) == {"test_loss": pytest.approx(found["metrics"]["test_loss"], abs=0)}


@pytest.mark.parametrize("task", ["Own", "ByHand"])
def test_what_a_task_does_not_take_is_null_in_the_config(train_own: Train, task: str) -> None:
    import yaml

    config = yaml.safe_load((train_own(task, *OWN) / "config.yaml").read_text())
    assert all(config[group] is None for group in ("model", "optimizer", "scheduler", "loss", "metrics"))


@pytest.mark.parametrize(
    "override",
    ["optimizer.lr=0.1", "optimizer=sgd", "scheduler=cosine", "loss=mse", "model=mlp", "decay_norm_and_bias=false"],
)
def test_an_override_of_what_a_task_does_not_take_is_refused(compose_config: Compose, override: str) -> None:
    cfg = compose_config("data=sums", "task._target_=tests.tasks.modules.Own", override)
    (line,) = idle_overrides(cfg, [override])
    key = override.partition("=")[0]
    group = "optimizer" if key == "decay_norm_and_bias" else key.partition(".")[0]
    assert line == f"{key}: Own takes no {group}"
    assert not list(idle_overrides(cfg, ["scheduler=none", "trainer.max_epochs=3", "~loss", "model=null"]))


def test_the_config_s_optimizer_applies_where_a_module_has_none(train_own: Train) -> None:
    run = train_own("WithoutOptimizer", *OWN, "optimizer=sgd", "optimizer.lr=0.03", "scheduler=step")
    assert report(run)["effective"]["lr"] == 0.03
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["optimizer"] == "SGD"
    assert len(checkpoint["lr_schedulers"]) == 1


def test_a_loss_with_parameters_is_trained(train_own: Train) -> None:
    run = train_own(
        "Given",
        "loss=brier",
        "loss._target_=tests.tasks.modules.Rate",
        "monitor.metric=loss",
        "monitor.mode=min",
    )
    assert float(weights(run)["criterion.scale"]) != 1.0


def test_checkpoints_hold_no_hyperparameters(train_own: Train) -> None:
    checkpoint = torch.load(train_own("Own", *OWN) / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any("hyper" in key or "hparams" in key for key in checkpoint)
    assert checkpoint["facts"] == {"in_shape": (4,), "num_classes": 1, "secret_of_the_data": 7}


def test_without_a_metric_to_watch_the_newest_weights_are_the_best(train_own: Train) -> None:
    run = train_own("Own", "monitor.metric=null")
    found = report(run)
    assert found["best"] == {
        "metric": None,
        "mode": "max",
        "value": None,
        "epoch": 2,
        "step": 30,
        "checkpoint": found["best"]["checkpoint"],
    }
    assert found["objective"] is None
    assert equal(weights(run, "best.ckpt"), weights(run, "last.ckpt"))


def test_a_metric_that_is_not_logged_is_named_with_those_that_are(train_own: Train) -> None:
    with pytest.raises(
        ConfigError, match=r"monitor.metric='val/acc': nothing of that name is logged.*val_loss, train_loss"
    ):
        train_own("Own")
    with pytest.raises(
        ConfigError, match=r"monitor.metric='val/rate': must be val/loss, val/error, val/share, train/loss"
    ):
        train_own("Guess", "monitor.metric=val/rate")
    with pytest.raises(ConfigError, match=r"monitor.mode=max: the best val/error is its minimum; add monitor.mode=min"):
        train_own("Guess", "monitor.metric=val/error")


def test_a_task_counts_over_examples_and_logs_once_an_epoch(train_own: Train) -> None:
    run = train_own("Guess", *GUESS, "+metrics.mae._target_=torchmetrics.MeanAbsoluteError", "data.batch_size=30")
    for row in rows(run):
        for split in ("train", "val"):
            assert float(row[f"{split}/mae"]) == pytest.approx(float(row[f"{split}/error"]), rel=1e-5)
    assert set(report(run)["metrics"]) == {
        f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "error", "share", "mae")
    }


def test_a_metric_of_the_config_is_monitored(train_own: Train) -> None:
    run = train_own(
        "Guess", *GUESS, "+metrics.r2._target_=torchmetrics.R2Score", "monitor.metric=val/r2", "monitor.mode=max"
    )
    assert report(run)["best"]["value"] == max(float(row["val/r2"]) for row in rows(run))
    assert evaluate(run)["test/r2"] == report(run)["metrics"]["test/r2"]


BACK = {
    "a task": None,
    "a stream": "an iterable dataset can't be taken up, .*begins epoch 2 anew",
    "own sums": "(Own|ByHand|WithoutOptimizer) keeps no sums of what it logs, as a Task does, .*begins epoch 2 anew",
}


@pytest.mark.parametrize(
    ("task", "data", "back"),
    [
        *(("Guess", data, "a task") for data in ("sums", "transformed", "withstate", "tiny_numbers")),
        ("Guess", "streamed", "a stream"),
        *((task, "sums", "own sums") for task in ("Own", "ByHand", "WithoutOptimizer")),
        *(("Own", data, "own sums") for data in ("transformed", "withstate")),
        ("Own", "streamed", "a stream"),
    ],
)
@pytest.mark.parametrize("step", [10, 13])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(
    train_own: Train, tmp_path: Path, table: Path, task: str, data: str, back: str, step: int
) -> None:
    """Each cell of docs/guarantees.md: after 10 steps an epoch has ended, after 13 one is under way."""
    chosen = GUESS if task == "Guess" else OWN
    chosen += ("+metrics.mae._target_=torchmetrics.MeanAbsoluteError",) if task == "Guess" else ()
    chosen += of_numbers(table) if data == "tiny_numbers" else (f"data={data}",)
    whole, part = train_own(task, *chosen), tmp_path / "part"
    step = 2 * step if task == "ByHand" else step
    with pytest.raises(PreemptedError, match=BACK[back] if step % 10 and BACK[back] else "preempted"):
        train_own(task, *chosen, *stopping(signal.SIGTERM, step=step), directory=part)
    train_own(task, *chosen, f"resume={part}", directory=part)
    assert equal(weights(whole, "last.ckpt"), weights(part, "last.ckpt"))
    assert report(whole)["metrics"] == report(part)["metrics"]
    without = [{**row, "seconds": 0} for row in rows(whole)]
    assert without == [{**row, "seconds": 0} for row in rows(part)]


def test_what_is_known_of_shipped_tasks_is_what_they_say(compose_config: Compose) -> None:
    for target, known in _SHIPPED.items():
        cls = resolve(target)
        cfg = compose_config(f"task._target_={target}")
        assert getattr(cls, "metrics", None) == known.metrics
        shipped = dict(_SHIPPED)
        try:
            _SHIPPED.clear()
            looked_up = interface(cfg)
        finally:
            _SHIPPED.update(shipped)
        idle = {"metrics"} if target.endswith(".GAN") else set()  # its step gives nothing to compute them from
        assert looked_up.groups - idle == interface(cfg).groups, target


class Refused(modules.Own):
    """Keeps in its checkpoints what could not be read back."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = {"rows": [np.arange(3)]}


class Rare(modules.Own):
    """Logs one metric every second epoch, one by step alone, and nothing that is its epoch's."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("by_step", loss)
        return loss

    def on_train_epoch_end(self) -> None:
        if self.current_epoch % 2 == 0:
            self.log("rare", 10.0 - self.current_epoch)


class Model(modules.Guess):
    """Keeps its net by another name, and a metric over epochs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Identity())
        self.net, self.model, self.least = None, net, MinMetric()

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        guess = self.model(x).squeeze(1)
        return {"loss": nn.functional.mse_loss(guess, y), "error": (guess - y).abs(), "hits": guess > 0}

    def on_train_start(self) -> None:
        self.least.reset()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.least.update(self.epoch_metrics["val/error"] + 0.1 * self.current_epoch * (self.current_epoch > 0))
        self.log("val/least", self.least.compute())


HERE = "tests.tasks.test_seam."


def test_what_could_not_be_read_back_is_refused_at_the_first_checkpoint(train_own: Train) -> None:
    with pytest.raises(ConfigError, match=r"numpy.ndarray at \['mine'\]\['rows'\]\[0\], and could not be read back"):
        train_own(HERE + "Refused", *OWN)


def test_only_what_an_epoch_has_logged_is_in_its_row(train_own: Train) -> None:
    found = rows(train_own(HERE + "Rare", *OWN, "trainer.max_epochs=4"))
    assert [row["rare"] for row in found] == ["10.0", "", "8.0", ""]
    assert "by_step" not in found[0]


def test_a_net_by_any_name_and_a_metric_over_epochs_are_kept(train_own: Train, tmp_path: Path) -> None:
    chosen = (*GUESS, "trainer.max_epochs=4")
    whole, part = train_own(HERE + "Model", *chosen), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_own(HERE + "Model", *chosen, *stopping(signal.SIGTERM, step=33), directory=part)
    train_own(HERE + "Model", *chosen, f"resume={part}", directory=part)
    assert [row["val/least"] for row in rows(whole)] == [row["val/least"] for row in rows(part)]
    assert saved_net(part).shape == (4,)


def test_a_name_that_the_task_logs_is_no_name_for_a_metric(train_own: Train) -> None:
    with pytest.raises(ConfigError, match=r"metrics.error: Guess logs something by that name"):
        train_own("Guess", *GUESS, "+metrics.error._target_=torchmetrics.MeanAbsoluteError")


def test_a_collection_of_metrics_is_logged_by_the_names_in_it(train_own: Train) -> None:
    members = "{a: {_target_: torchmetrics.MeanAbsoluteError}, b: {_target_: torchmetrics.MeanSquaredError}}"
    collection = "+metrics.c={_target_: torchmetrics.MetricCollection, metrics: " + members + "}"
    assert {"val/a", "val/b"} <= set(report(train_own("Guess", *GUESS, collection))["metrics"])


def test_a_direction_that_nothing_declares_is_asked_for(compose_config: Compose) -> None:
    own = ("data=sums", "task._target_=tests.tasks.modules.Own")
    typed = ["monitor.metric=val_loss"]
    (line,) = undirected(compose_config(*own, *typed), typed)
    assert line == "monitor.metric=val_loss: which way is it better? Add monitor.mode=min or monitor.mode=max"
    for typed in (["monitor.metric=val_loss", "monitor.mode=min"], ["monitor.metric=null"], ["monitor.metric=val/acc"]):
        assert not list(undirected(compose_config(*own, *typed), typed))
    declared = ["task=regression", "monitor.metric=val/mae"]
    assert not list(undirected(compose_config(*declared), declared))


def test_a_schedule_without_a_length_is_refused_where_the_module_builds_it(train_own: Train) -> None:
    with pytest.raises(ConfigError, match=r"scheduler.T_max: Builds builds its schedule itself"):
        train_own(HERE + "Builds", *OWN, "scheduler=cosine")


class Builds(modules.Own):
    """Takes the factories of the config and calls them itself."""

    def __init__(self, optimizer: Any, scheduler: Any) -> None:
        super().__init__()
        self.factories = optimizer, scheduler

    def configure_optimizers(self) -> Any:
        optimizer = self.factories[0](self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.factories[1](optimizer)}


class Plateaued(modules.Own):
    """Lowers its rate by its own schedule, counts over epochs, and resets what it counts as an epoch begins."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.total = SumMetric(), SumMetric()

    def on_train_epoch_start(self) -> None:
        self.seen.reset()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.update(len(batch[0]))
        self.total.update(len(batch[0]))
        return self.loss(batch)

    def on_train_epoch_end(self) -> None:
        self.log("seen", self.seen.compute())
        self.log("total", self.total.compute())

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=0, threshold=10.0, threshold_mode="abs"
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


class Masked(modules.Guess):
    """Has a mask of minus infinity, and a value that not every step gives."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
        self.calls = 0

    def step(self, batch: Any) -> dict[str, Any]:
        self.calls += 1
        return {**super().step(batch), **({"at_times": torch.tensor(2.0)} if self.calls % 2 else {})}

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        return {**super().summarize(means), "at_times": means["at_times"]}


class Named(modules.Sums):
    """Calls something else a dataset, and a size."""

    def __init__(self, dataset: str | None = None, val_size: int = 0) -> None:
        super().__init__()


class WithRate(modules.Own):
    """Takes its rate from the config's optimizer, which is not built."""


@pytest.mark.parametrize("step", [20, 33])
def test_a_schedule_and_sums_of_a_module_s_own_go_on_as_they_were(train_own: Train, tmp_path: Path, step: int) -> None:
    chosen = (*OWN, "trainer.max_epochs=5")
    whole, part = train_own(HERE + "Plateaued", *chosen), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_own(HERE + "Plateaued", *chosen, *stopping(signal.SIGTERM, step=step), directory=part)
    train_own(HERE + "Plateaued", *chosen, f"resume={part}", directory=part)
    assert [{**row, "seconds": 0} for row in rows(whole)] == [{**row, "seconds": 0} for row in rows(part)]
    assert [row["seen"] for row in rows(part)] == ["200.0"] * 5
    assert [row["total"] for row in rows(part)] == [f"{200.0 * (epoch + 1)}" for epoch in range(5)]
    assert equal(weights(whole, "last.ckpt"), weights(part, "last.ckpt"))


def test_a_best_one_within_an_epoch_is_no_place_to_go_on_from(train_own: Train, tmp_path: Path) -> None:
    chosen = (*OWN, "trainer.val_check_interval=3")
    whole, part = train_own("Own", *chosen), tmp_path / "part"
    with pytest.raises(PreemptedError, match="begins epoch 2 anew"):
        train_own("Own", *chosen, *stopping(signal.SIGTERM, step=18), directory=part)
    train_own("Own", *chosen, f"resume={part}", directory=part)
    assert report(whole)["best"] == report(part)["best"]
    assert equal(weights(whole, "best.ckpt"), weights(part, "best.ckpt"))
    assert sorted(path.name for path in (part / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_masks_and_values_at_times_are_as_they_should_be(train_own: Train) -> None:
    run = train_own(HERE + "Masked", *GUESS)
    assert {row["val/at_times"] for row in rows(run)} == {"2.0"}
    assert evaluate(run)["test/at_times"] == 2.0


@pytest.mark.parametrize("schedule", ["cosine", "warmup_cosine", "onecycle", "plateau"])
def test_a_schedule_as_long_as_a_stream_is_refused(train_own: Train, schedule: str) -> None:
    with pytest.raises(ConfigError, match="the data doesn't say how long an epoch is"):
        train_own("Guess", *GUESS, "data=streamed", f"scheduler={schedule}")


def test_a_key_of_another_datamodule_means_what_it_means_there(train_own: Train) -> None:
    named = (f"data._target_={HERE}Named", "~data.batch_size", "+data.dataset=glue", "+data.val_size=0")
    assert "val_loss" in report(train_own("Own", *OWN, *named))["metrics"]


def test_a_value_may_come_from_a_group_that_the_task_does_not_take(train_own: Train) -> None:
    run = train_own(HERE + "WithRate", *OWN, "+task.lr=${optimizer.lr}")
    assert report(run)["effective"]["lr"] == 0.001
    assert "optimizer: null" in (run / "config.yaml").read_text()


def test_a_metric_that_gives_no_number_is_named(train_own: Train) -> None:
    with pytest.raises(ConfigError, match=r"metrics.roc: gives no number by epoch"):
        train_own(HERE + "Binary", "monitor.metric=null", "+metrics.roc={_target_: torchmetrics.ROC, task: binary}")


class Binary(modules.Guess):
    """Whether the sum is positive."""

    def step(self, batch: Any) -> dict[str, Any]:
        values = super().step(batch)
        return {**values, "preds": values["preds"].sigmoid(), "target": (values["target"] > 0).long()}
