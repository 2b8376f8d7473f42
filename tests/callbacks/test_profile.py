"""A profile's table adds up to the training's time, names what takes it, and its trace can be opened."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from strobe.callbacks import clock
from strobe.callbacks.profile import TEXT, TRACE
from strobe.errors import DivergedError
from tests.conftest import Train, report
from tests.run.test_train import equal, rows, weights

ROW = re.compile(r"^  (\w[\w ]*?) +([\d.]+) +([\d.]+) %(?: +([\d.]+))?$", re.MULTILINE)


def table(run: Path) -> dict[str, float]:
    """Seconds by row."""
    return {name: float(seconds) for name, seconds, *_ in ROW.findall((run / TEXT).read_text())}


@pytest.mark.parametrize("word", ["simple", "advanced", "pytorch"])
def test_the_rows_add_up_to_the_training(train_tiny: Train, caplog: pytest.LogCaptureFixture, word: str) -> None:
    with caplog.at_level("INFO"):
        run = train_tiny("model=mlp", f"trainer.profiler={word}", "checkpoint.every_n_steps=9")
    found = table(run)
    total = found.pop("all")
    assert sum(found.values()) == pytest.approx(total, abs=0.01)
    timing = report(run)["timing"]
    assert timing["train_s"] + timing["validation_s"] <= total + 0.01 <= timing["fit_s"] + 0.02
    each_step = {"data", "forward", "backward", "optimizer", "logging", "callbacks", "framework"}
    assert each_step | {"validation", "checkpoint", "first step"} <= found.keys()
    assert all(found[name] > 0 for name in ("forward", "backward", "optimizer"))
    text = (run / TEXT).read_text()
    assert text.partition("\n\nLightning's action")[0] in caplog.text
    assert "run_training_batch" in text
    assert ("Python functions" in text) == (word == "advanced")
    assert ("Operators of 10 traced steps" in text) == (word == "pytorch")
    assert (run / TRACE).exists() == (word == "pytorch")


def test_a_trace_names_operators_and_what_they_are_done_for(train_tiny: Train) -> None:
    run = train_tiny("model=mlp", "debug=profiler", "trainer.max_epochs=1")
    events = json.loads((run / TRACE).read_text())["traceEvents"]
    names = [str(event.get("name")) for event in events if event.get("ph") == "X"]
    assert names.count("optimizer.step") == 10
    assert names.count("backward") >= 10
    assert any(name == "aten::addmm" for name in names)
    assert "tracing" in table(run)
    assert not any(name.startswith("test/") for name in report(run)["metrics"])


class Sleeping(Callback):
    """Has a part of every step take 20 ms by `now`, or the validation half a second, and all else no time."""

    now = 0.0

    def __init__(self, row: str) -> None:
        self.row = row

    def pass_time(self, seconds: float) -> None:
        Sleeping.now += seconds

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.row == "forward":
            net: Any = pl_module.net
            net.register_forward_hook(lambda *_: self.pass_time(0.02) if pl_module.training else None)

    def on_train_batch_start(self, *args: Any) -> None:
        if self.row == "callbacks":
            self.pass_time(0.02)

    def on_validation_batch_start(self, *args: Any) -> None:
        if self.row == "validation":
            self.pass_time(0.5)


@pytest.mark.parametrize("row", ["forward", "callbacks", "validation"])
def test_time_is_counted_where_it_is_spent(train_tiny: Train, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: Sleeping.now))  # no machine's load in it
    run = train_tiny(f"+callbacks.slow={{_target_: {__name__}.Sleeping, row: {row}}}", "trainer.profiler=simple")
    found = table(run)
    assert found[row] == pytest.approx({"forward": 0.66, "callbacks": 0.66, "validation": 1.0}[row])
    assert all(seconds == 0 for name, seconds in found.items() if name not in (row, "all", "first step"))


def test_a_profiled_run_has_the_numbers_of_any(train_tiny: Train) -> None:
    plain, profiled = train_tiny("model=mlp"), train_tiny("model=mlp", "trainer.profiler=pytorch")
    assert equal(weights(plain), weights(profiled))
    assert rows(plain) == rows(profiled)


def test_steps_of_an_optimization_by_hand_are_told_apart(train_tiny: Train) -> None:
    found = table(train_tiny("task=gan", "trainer.profiler=simple", "trainer.limit_train_batches=6"))
    assert all(found[name] > 0 for name in ("forward", "backward", "optimizer"))  # shares depend on the machine


def test_modules_of_ones_own_are_profiled_too(train_own: Train) -> None:
    run = train_own("Own", "trainer.profiler=simple", "monitor.metric=val_loss", "monitor.mode=min")
    assert table(run)["optimizer"] > 0


def test_a_failed_run_leaves_no_profiler_running(train_tiny: Train) -> None:
    with pytest.raises(DivergedError):
        train_tiny("optimizer=sgd", "optimizer.lr=1e30", "trainer.profiler=advanced")
    train_tiny("trainer.profiler=advanced")  # Python runs one at a time
