"""What a person finds in TensorBoard."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.conftest import Command, Train, report


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_by_step_and_epoch_the_learning_rate_and_the_graph(train_tiny: Train) -> None:
    found = events(train_tiny("scheduler=cosine", "model=cnn", "model.widths=[4,8]"))
    tags = set(found.Tags()["scalars"])
    assert {"train/loss_step", "train/loss", "train/acc", "val/loss", "val/acc", "test/acc", "lr"} <= tags
    assert len(found.Scalars("train/loss_step")) == 2 * 17 // 5
    assert len(found.Scalars("val/acc")) == 2
    rates = [event.value for event in found.Scalars("lr")]
    assert rates == sorted(rates, reverse=True)
    assert found.Tags()["graph"]


def test_hparams_show_the_real_final_metrics(train_tiny: Train) -> None:
    directory = train_tiny("optimizer.lr=0.01")
    found = events(directory)
    start = HParamsPluginData.FromString(found.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    settings = start.session_start_info.hparams
    assert settings["optimizer.lr"].number_value == 0.01
    assert settings["model"].string_value == "SimpleNN"
    metrics = report(directory)["metrics"]
    for name in ("val/acc", "test/acc"):
        assert [event.value for event in found.Scalars(f"final/{name}")] == [pytest.approx(metrics[name])]
    assert len(found.Scalars("val/acc")) == 2


def test_a_resumed_run_has_no_gaps_and_no_doubled_points(train_tiny: Train, command: Command) -> None:
    whole = events(train_tiny("trainer.max_epochs=4"))
    part = train_tiny("trainer.max_epochs=2", "test=false")
    # In a process of its own: TensorBoard reads files by name, and within one process the tenth sorts before the ninth.
    resumed_run = command("train", f"resume={part}", "trainer.max_epochs=4")
    assert resumed_run.returncode == 0, resumed_run.stderr
    resumed = events(part)
    for name in ("train/loss_step", "train/loss", "lr"):
        points = [(event.step, event.value) for event in resumed.Scalars(name)]
        assert points == [(event.step, event.value) for event in whole.Scalars(name)]
