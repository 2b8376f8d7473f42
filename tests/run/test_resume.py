"""A run that goes on: after a kill between two files, after an early stop, from any of its checkpoints."""

import csv
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from strobe.errors import CheckpointError, ConfigError, PreemptedError
from strobe.record.checkpoints import SafeCheckpointIO
from tests.conftest import Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights

SMALL = ("model=mlp", "model.hidden=[16]", "model.dropout=0.2")
STOP_EARLY = (
    "+callbacks.early._target_=lightning.pytorch.callbacks.EarlyStopping",
    "+callbacks.early.monitor=val/acc",
    "+callbacks.early.mode=max",
    "+callbacks.early.patience=1",
    "optimizer=sgd",
    "optimizer.lr=1e-9",
    "trainer.max_epochs=6",
)


def step_of(run: Path, checkpoint: str) -> int:
    return int(torch.load(run / "checkpoints" / checkpoint, weights_only=True)["global_step"])


@pytest.mark.parametrize("lost", ["first best", "better best"])
@pytest.mark.parametrize("within", [True, False], ids=["within training", "at its test"])
def test_a_kill_between_the_last_checkpoint_and_the_best_one_loses_nothing(
    train_tiny: Train, tmp_path: Path, lost: str, within: bool
) -> None:
    whole, directory = train_tiny(*SMALL, "trainer.max_epochs=3"), tmp_path / "part"
    best = report(whole)["best"]
    hook = "on_train_epoch_start" if within else "on_test_start"
    epochs = ("trainer.max_epochs=3",) if within else (f"trainer.max_epochs={best['epoch'] + 1}",)
    with pytest.raises(PreemptedError):
        train_tiny(*SMALL, *epochs, *stopping(signal.SIGTERM, hook=hook, step=best["step"]), directory=directory)
    assert step_of(directory, "last.ckpt") == step_of(directory, "best.ckpt") == best["step"]
    # As it lies after a kill between the two files: the report and best.ckpt know nothing of the newest epoch.
    path = directory / "checkpoints" / "best.ckpt"
    if lost == "first best":
        path.unlink()
    else:
        older = torch.load(path, weights_only=True)
        older["global_step"] = 1
        older["state_dict"] = {key: value * 0 for key, value in older["state_dict"].items()}
        torch.save(older, path)
    train_tiny(*SMALL, *epochs, f"resume={directory}", directory=directory)
    assert report(directory)["best"] == report(whole)["best"]
    assert report(directory)["metrics"] == report(whole)["metrics"]
    assert equal(weights(directory, "best.ckpt"), weights(whole, "best.ckpt"))


def test_an_early_stop_is_said_and_the_run_has_ended(
    train_tiny: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = train_tiny(*SMALL, *STOP_EARLY)
    found = report(run)["stopped_early"]
    assert (found["by"], found["epoch"], found["step"]) == ("EarlyStopping", 1, 34)
    assert "did not improve in the last 1 records" in found["reason"]
    assert "stopped early" in caplog.text
    assert "in epoch 2 by EarlyStopping: Monitored metric val/acc did not improve" in caplog.text
    before = (run / "report.json").read_bytes()
    with pytest.raises(ConfigError, match=r"stopped early by EarlyStopping in epoch 2 .*callbacks\.early=null"):
        train_tiny(*SMALL, *STOP_EARLY, f"resume={run}", directory=run)
    assert (run / "report.json").read_bytes() == before
    train_tiny(*SMALL, *STOP_EARLY, f"resume={run}", "callbacks.early=null", directory=run)
    assert report(run)["stopped_early"] is None
    assert len(rows(run)) == 6


def test_an_early_stop_that_was_preempted_before_its_test_trains_no_further(train_tiny: Train, tmp_path: Path) -> None:
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*SMALL, *STOP_EARLY, *stopping(signal.SIGTERM, hook="on_test_start", step=0), directory=directory)
    train_tiny(*SMALL, *STOP_EARLY, f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
    assert report(directory)["stopped_early"]["by"] == "EarlyStopping"
    assert len(rows(directory)) == 2


def test_a_run_whose_time_was_up_goes_on_when_it_is_given_more(train_tiny: Train) -> None:
    endless = (*SMALL, "trainer.max_epochs=-1", "trainer.max_time={seconds: 1}")
    run = train_tiny(*endless)
    assert report(run)["stopped_early"]["by"] == "trainer.max_time"
    step = step_of(run, "last.ckpt")
    with pytest.raises(ConfigError, match=r"train on with trainer\.max_time=<more>"):
        train_tiny(*endless, f"resume={run}", directory=run)
    # By steps, so that no clock decides where it ends.
    more = ("trainer.max_time={seconds: 3600}", f"trainer.max_steps={step + 5}")
    train_tiny(*endless, f"resume={run}", *more, directory=run)
    assert step_of(run, "last.ckpt") == step + 5


def test_the_best_checkpoints_are_kept_as_many_as_were_asked_for(train_tiny: Train) -> None:
    run = train_tiny(*SMALL, "checkpoint.keep=3", "trainer.max_epochs=5", "trainer.val_check_interval=6")
    kept = report(run)["kept"]
    values = [entry["value"] for entry in kept]
    assert len(kept) == 3
    assert values == sorted(values, reverse=True)
    assert report(run)["best"] == kept[0]
    files = {path.name for path in (run / "checkpoints").iterdir()}
    assert files == {"last.ckpt", "best.ckpt", *(Path(entry["checkpoint"]).name for entry in kept)}
    assert [step_of(run, Path(entry["checkpoint"]).name) for entry in kept] == [entry["step"] for entry in kept]
    assert step_of(run, "best.ckpt") == kept[0]["step"]
    everything = train_tiny(*SMALL, "checkpoint.keep=-1", "trainer.max_epochs=3")
    assert len(report(everything)["kept"]) == 3


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_another_number_is_kept_from_the_resumed_epoch_on(train_tiny: Train, tmp_path: Path, keep: int) -> None:
    directory = tmp_path / "part"
    settings = (*SMALL, "trainer.max_epochs=5")
    with pytest.raises(PreemptedError):
        train_tiny(*settings, "checkpoint.keep=2", *stopping(signal.SIGTERM, step=40), directory=directory)
    train_tiny(*settings, f"checkpoint.keep={keep}", f"resume={directory}", directory=directory)
    whole = train_tiny(*settings)
    assert report(directory)["best"]["step"] == report(whole)["best"]["step"]
    assert equal(weights(directory), weights(whole))
    assert len(list((directory / "checkpoints").glob("epoch=*.ckpt"))) == (0 if keep == 1 else keep)


def trained_with_copies(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *settings: str
) -> tuple[Path, list[int]]:
    """Train, and copy the run directory whenever last.ckpt has been written, to ``copies/at <1, 2, ...>``.

    Returns:
        The run directory, and the step of each copy.
    """
    steps: list[int] = []
    heartbeats = shutil.ignore_patterns(".report.json.*.tmp")
    save = SafeCheckpointIO.save_checkpoint

    def copying(this: Any, checkpoint: dict[str, Any], path: Path, storage_options: Any = None) -> None:
        save(this, checkpoint, path, storage_options)
        steps.append(checkpoint["global_step"])
        shutil.copytree(Path(path).parent.parent, tmp_path / "copies" / f"at {len(steps)}", ignore=heartbeats)

    with monkeypatch.context() as patched:
        patched.setattr(SafeCheckpointIO, "save_checkpoint", copying)
        return train_tiny(*settings), steps


def test_a_checkpoint_within_an_epoch_is_written_as_often_as_asked_and_goes_on_exactly(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*SMALL, "scheduler=onecycle", "trainer.max_epochs=2", "trainer.accumulate_grad_batches=2")
    whole, steps = trained_with_copies(train_tiny, monkeypatch, tmp_path, *settings, "checkpoint.every_n_steps=4")
    assert steps == [4, 8, 9, 12, 16, 18]  # nine steps make an epoch
    for number in (1, 2, 4):  # as after a kill right then
        directory = tmp_path / "copies" / f"at {number}"
        train_tiny(*settings, f"resume={directory}", directory=directory)
        assert equal(weights(directory, "last.ckpt"), weights(whole, "last.ckpt"))
        assert rows(directory) == rows(whole)
        assert report(directory)["best"] == report(whole)["best"]


def test_a_checkpoint_is_written_by_the_clock(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_clock = (*SMALL, "checkpoint.every_minutes=1e-9", "trainer.max_epochs=1")
    _, steps = trained_with_copies(train_tiny, monkeypatch, tmp_path, *by_clock)
    assert steps == list(range(1, 18))


@pytest.mark.parametrize("step", [24, 25, 26])
def test_a_validation_before_the_stop_is_in_the_row_of_its_epoch(train_tiny: Train, tmp_path: Path, step: int) -> None:
    settings = (*SMALL, "trainer.max_epochs=2", "trainer.val_check_interval=8", "trainer.limit_train_batches=15")
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=step), directory=directory)
    train_tiny(*settings, f"resume={directory}", directory=directory)
    whole = train_tiny(*settings)
    assert rows(directory) == rows(whole)
    assert report(directory)["best"] == report(whole)["best"]


SCHEDULES = {
    "none": [],
    "onecycle": ["scheduler=onecycle", "optimizer=sgd", "optimizer.lr=0.05"],
    "cosine": ["scheduler=cosine", "optimizer=sgd", "optimizer.lr=0.05"],
    "warmup_cosine": ["scheduler=warmup_cosine"],
    "step": ["scheduler=step"],
    "multistep": ["scheduler=multistep", "scheduler.milestones=[1,3]"],
    "exponential": ["scheduler=exponential"],
    "plateau": ["scheduler=plateau"],
}
LENGTHS = {  # a run of 4 epochs of 17 steps is stopped after 20: the changes, and the last step then
    "more epochs": (["trainer.max_epochs=5"], 85),
    "fewer epochs": (["trainer.max_epochs=2"], 34),
    "larger batches": (["data.batch_size=64"], 46),
    "smaller batches": (["data.batch_size=16"], 116),
    "accumulation": (["trainer.accumulate_grad_batches=2"], 46),
    "steps": (["trainer.max_steps=30"], 30),
}


def rate_of(run: Path) -> float:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return float(checkpoint["optimizer_states"][0]["param_groups"][0]["lr"])


@pytest.fixture(scope="module")
def last_rates() -> dict[str, float]:
    """The last rate of an undisturbed run, by schedule."""
    return {}


@pytest.mark.parametrize("change", LENGTHS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on_when_the_length_of_the_run_changes(
    train_tiny: Train, tmp_path: Path, name: str, change: str, last_rates: dict[str, float]
) -> None:
    settings = (*SMALL, *SCHEDULES[name], "trainer.max_epochs=4")
    overrides, steps = LENGTHS[change]
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=20), directory=directory)
    before = rate_of(directory)
    train_tiny(*settings, *overrides, f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
    assert step_of(directory, "last.ckpt") == steps
    match name:
        case "onecycle" | "cosine" | "warmup_cosine":  # as long as the run: to its end, however long that is now
            if name not in last_rates:
                last_rates[name] = rate_of(train_tiny(*settings))
            assert rate_of(directory) == pytest.approx(last_rates[name], rel=1e-6, abs=1e-12)
        case "plateau":  # follows the metric
            assert rate_of(directory) <= before
        case "none":
            assert rate_of(directory) == before
        case _:  # count epochs
            epochs = len(rows(directory)) - (change == "steps")  # the last of those is cut short
            key = f"{name} {epochs}"
            if key not in last_rates:
                last_rates[key] = rate_of(train_tiny(*settings, f"trainer.max_epochs={epochs}"))
            assert rate_of(directory) == pytest.approx(last_rates[key])


def test_a_run_with_another_length_is_exact_too(train_tiny: Train, tmp_path: Path) -> None:
    settings = (*SMALL, *SCHEDULES["onecycle"])
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=20), directory=first)
    shutil.copytree(first, second)
    longer = "trainer.max_epochs=5"
    train_tiny(*settings, longer, f"resume={first}", directory=first)
    with pytest.raises(PreemptedError):
        train_tiny(*settings, longer, f"resume={second}", *stopping(signal.SIGTERM, step=50), directory=second)
    train_tiny(*settings, longer, f"resume={second}", directory=second)
    assert equal(weights(first), weights(second))
    assert rows(first) == rows(second)


@pytest.mark.parametrize("name", ["onecycle", "cosine", "warmup_cosine"])
def test_a_schedule_that_has_ended_is_taken_no_further(train_tiny: Train, name: str) -> None:
    settings = (*SMALL, *SCHEDULES[name])
    run = train_tiny(*settings)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "tensorboard" not in path.parts}
    with pytest.raises(ConfigError, match=r"train longer in a new run with trainer\.max_epochs=7"):
        train_tiny(*settings, f"resume={run}", directory=run)
    with pytest.raises(ConfigError, match=r"the schedule has ended with step 34.*scheduler=none"):
        train_tiny(*settings, "trainer.max_epochs=4", f"resume={run}", directory=run)
    assert {path: path.read_bytes() for path in before} == before
    at_end = rate_of(run)
    train_tiny(*settings, "scheduler=none", "trainer.max_epochs=4", f"resume={run}", directory=run)
    assert rate_of(run) == at_end
    assert len(rows(run)) == 4


@pytest.mark.parametrize(
    "override",
    ["optimizer.lr=0.5", "scheduler.gamma=0.1", "seed=5", "data.val_size=50", "monitor.metric=train/acc"],
)
def test_what_a_checkpoint_holds_can_t_be_changed(train_tiny: Train, override: str) -> None:
    run = train_tiny("scheduler=exponential", "trainer.max_epochs=1")
    key, _, value = override.partition("=")
    with pytest.raises(ConfigError, match=f"{key}={value}: a resumed run goes on with what it began with"):
        train_tiny("scheduler=exponential", override, "trainer.max_epochs=2", f"resume={run}", directory=run)


def test_a_onecycle_of_its_own_length_must_last_as_long_as_the_run(train_tiny: Train) -> None:
    with pytest.raises(ConfigError, match=r"scheduler.total_steps=20: the run has 34 steps"):
        train_tiny("optimizer=sgd", "scheduler=onecycle", "scheduler.total_steps=20")


def table(run: Path) -> list[dict[str, str]]:
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        filled = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return sorted(filled, key=lambda row: (int(row["step"]), sorted(row)))


@pytest.mark.parametrize("step", [17, 20, 34])
def test_a_csv_logger_keeps_its_rows_once_each(train_tiny: Train, tmp_path: Path, step: int) -> None:
    settings = (*SMALL, "logger=csv", "trainer.max_epochs=3", "trainer.val_check_interval=9")
    whole, directory = train_tiny(*settings), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=step), directory=directory)
    train_tiny(*settings, f"resume={directory}", directory=directory)
    assert table(directory) == table(whole)


def test_a_killed_process_takes_no_row_of_a_logger_along(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*SMALL, "logger=many", "trainer.max_epochs=2", "checkpoint.every_n_steps=10")
    whole, steps = trained_with_copies(train_tiny, monkeypatch, tmp_path, *settings)
    directory = tmp_path / "copies" / f"at {steps.index(20) + 1}"  # as it is after a kill right then
    shown = EventAccumulator(str(directory / "tensorboard")).Reload()
    assert [event.step for event in shown.Scalars("train/loss_step")] == [4, 9, 14, 19]
    train_tiny(*settings, f"resume={directory}", directory=directory)
    assert table(directory) == table(whole)


def test_a_run_that_was_ended_before_its_first_checkpoint_begins_anew(train_tiny: Train, tmp_path: Path) -> None:
    whole, directory = train_tiny(*SMALL), tmp_path / "part"
    stop = stopping(signal.SIGTERM, hook="on_fit_start", step=0)
    with pytest.raises(PreemptedError):
        train_tiny(*SMALL, *stop, directory=directory)
    assert not list(directory.rglob("*.ckpt"))
    train_tiny(*SMALL, f"resume={directory}", directory=directory)
    assert equal(weights(whole), weights(directory))
    assert rows(whole) == rows(directory)
    assert report(directory)["metrics"] == report(whole)["metrics"]


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew_in_silence(train_tiny: Train, tmp_path: Path) -> None:
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*stopping(signal.SIGTERM, step=20), directory=directory)
    for path in directory.rglob("*.ckpt"):
        path.unlink()
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        train_tiny(f"resume={directory}", directory=directory)


@pytest.mark.parametrize("torn", ["2,,5", "x", ",0.001,49,,,0.26001179218292236,,,,,,,,", "2,0.1,3", "\x00,\x00"])
def test_a_row_of_a_csv_logger_that_was_not_finished_is_left_out(train_tiny: Train, tmp_path: Path, torn: str) -> None:
    directory, whole = train_tiny("logger=csv"), train_tiny("logger=csv", "trainer.max_epochs=3")
    with (directory / "csv" / "metrics.csv").open("a") as file:
        file.write(torn)
    train_tiny("logger=csv", "trainer.max_epochs=3", f"resume={directory}", directory=directory)
    found, expected = ((each / "csv" / "metrics.csv").read_text().splitlines() for each in (directory, whole))
    assert found == expected
