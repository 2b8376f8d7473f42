"""What one run leaves behind, and that it can be repeated and continued."""

import csv
from pathlib import Path

import pytest
import torch

from strobe.errors import ConfigError
from tests.conftest import Train, report


def weights(directory: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(directory / "checkpoints" / name, weights_only=True)["state_dict"]
    return state


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_a_run_directory_tells_the_whole_story(train_tiny: Train) -> None:
    directory = train_tiny("name=first", "tags=[a,b]")
    found = report(directory)
    assert found["schema"] == 1
    assert found["status"] == "completed"
    assert (found["name"], found["tags"], found["error"]) == ("first", ["a", "b"], None)
    assert set(found["metrics"]) == {
        f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")
    }
    assert found["metrics"]["test/acc"] > 0.9
    assert found["objective"] == found["best"]["value"] == found["metrics"]["val/acc"]
    assert (directory / found["best"]["checkpoint"]).is_file()
    assert found["effective"]["precision"] == "32-true"
    assert found["effective"]["global_batch_size"] == 32
    timing = {"startup_s", "fit_s", "train_s", "validation_s", "checkpoint_s", "test_s", "total_s", "samples_per_s"}
    assert timing <= set(found["timing"])
    assert [row["epoch"] for row in rows(directory)] == ["0", "1"]
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_one_command_twice_gives_the_same_weights_bit_for_bit(train_tiny: Train) -> None:
    overrides = ("model=mlp", "model.dropout=0.3", "data.augment=true")
    first, second = train_tiny(*overrides), train_tiny(*overrides)
    assert equal(weights(first), weights(second))
    assert rows(first) == rows(second)
    assert not equal(weights(first), weights(train_tiny(*overrides, "seed=2")))


@pytest.mark.parametrize("scheduler", ["none", "onecycle", "step", "plateau"])
def test_a_longer_run_equals_a_short_one_resumed(train_tiny: Train, scheduler: str) -> None:
    common = ("model=mlp", "model.dropout=0.3", f"scheduler={scheduler}", "optimizer=sgd", "optimizer.lr=0.05")
    if scheduler == "onecycle":
        common += ("scheduler.total_steps=1000",)
    whole = train_tiny(*common, "trainer.max_epochs=4")
    part = train_tiny(*common, "trainer.max_epochs=2")
    train_tiny(*common, "trainer.max_epochs=4", f"resume={part}", directory=part)
    assert equal(weights(whole), weights(part))
    assert rows(whole) == rows(part)
    assert report(part)["best"] == report(whole)["best"]


def test_a_finished_run_is_not_resumed_in_silence(train_tiny: Train) -> None:
    directory = train_tiny()
    with pytest.raises(ConfigError, match=r"has trained 2 of 2 epochs.*trainer\.max_epochs="):
        train_tiny(f"resume={directory}", directory=directory)


def test_a_run_never_writes_over_another(train_tiny: Train) -> None:
    directory = train_tiny()
    before = (directory / "report.json").read_text()
    with pytest.raises(ConfigError, match="already holds a run"):
        train_tiny(directory=directory)
    assert (directory / "report.json").read_text() == before


def test_without_a_validation_set_the_best_epoch_is_that_of_the_training_accuracy(train_tiny: Train) -> None:
    found = report(train_tiny("data.val_size=0"))
    assert found["status"] == "completed"
    assert found["best"]["metric"] == "train/acc"


def test_mixed_precision_on_a_cpu_is_reported_as_what_it_is(train_tiny: Train) -> None:
    found = report(train_tiny("trainer.precision=16-mixed"))
    assert found["requested"]["precision"] == "16-mixed"
    assert found["effective"]["precision"] == "bf16-mixed"
