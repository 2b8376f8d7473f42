"""What is called best: the metric and the weights are of the same step, whenever a validation happens and whatever ends
the training."""

import csv
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from strobe.config.saved import saved_config
from strobe.errors import PreemptedError
from strobe.run.parts import build_data
from strobe.run.saved import saved_net
from tests.conftest import Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights

STEPS = 17  # of an epoch


def validation_of(run: Path, checkpoint: str = "best.ckpt") -> dict[str, float]:
    """Loss and accuracy of a checkpoint over the validation images, by hand."""
    data = build_data(OmegaConf.merge(saved_config(run)))
    data.setup("fit")
    net = saved_net(run, checkpoint).net
    loss, correct, count = 0.0, 0, 0
    with torch.inference_mode():
        for images, targets in data.val_dataloader():
            logits = net(images)
            loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
            correct += int((logits.argmax(1) == targets).sum())
            count += len(targets)
    return {"val/loss": loss / count, "val/acc": correct / count}


def drawn(seed: int) -> list[str]:
    """Settings in which validations, epochs and steps don't meet."""
    draw = random.Random(seed)
    interval = draw.choice([1.0, 0.3, 0.5, 3, 5])
    settings = {
        "trainer.max_epochs": draw.choice([1, 2, 3]),
        "trainer.val_check_interval": interval,
        "trainer.check_val_every_n_epoch": draw.choice([1, 2, 5] + (["null"] if isinstance(interval, int) else [])),
        "trainer.max_steps": draw.choice([-1, 7, 20, 31]),
        "trainer.accumulate_grad_batches": draw.choice([1, 3]),
        "trainer.limit_train_batches": draw.choice([1.0, 10]),
        "monitor.metric": draw.choice(["val/acc", "val/loss"]),
        "optimizer.lr": draw.choice([1e-3, 3e-2]),
        "data.eval_batch_size": draw.choice([20, 1000]),
    }
    if settings["monitor.metric"] == "val/loss":
        settings["monitor.mode"] = "min"
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.parametrize("seed", range(16))
def test_the_best_checkpoint_gives_the_very_value_that_is_called_best(train_tiny: Train, seed: int) -> None:
    run = train_tiny(*drawn(seed), "model=mlp", "model.hidden=[16]")
    found = report(run)
    best, metric = found["best"], found["best"]["metric"]
    assert best["value"] is not None, "every run that trains validates where training ends"
    measured = validation_of(run)
    assert best["value"] == pytest.approx(measured[metric], abs=1e-6)
    assert found["metrics"][metric] == best["value"]
    assert found["objective"] == best["value"]
    step = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"]
    assert step == best["step"]
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert last >= step
    # The last row has what was measured with the last weights.
    assert float(rows(run)[-1][metric]) == pytest.approx(validation_of(run, "last.ckpt")[metric], abs=1e-6)


def test_every_validation_can_be_the_best(train_tiny: Train) -> None:
    # The rate makes the net worse after its first steps.
    run = train_tiny("trainer.val_check_interval=2", "optimizer=sgd", "optimizer.lr=3", "trainer.max_epochs=1")
    best = report(run)["best"]
    assert best["step"] % 2 == 0
    assert best["step"] < STEPS
    assert best["value"] == pytest.approx(validation_of(run)["val/acc"], abs=1e-6)
    assert best["value"] >= float(rows(run)[-1]["val/acc"])


@pytest.mark.parametrize(
    ("ends", "step"),
    [
        (["trainer.max_steps=9"], 9),  # within the first epoch
        (["trainer.max_steps=24"], 24),  # within the second
        (["trainer.max_steps=17"], 17),  # at an epoch's end
        (["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=10"], 51),
        (["trainer.max_time=00:00:00:01", "trainer.max_epochs=100000"], None),  # when a second is over
        (
            [
                "+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/acc, patience: 0}",
                "+callbacks.stop.mode=max",
                "+callbacks.stop.stopping_threshold=0.0",
                "trainer.max_epochs=5",
            ],
            17,
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_run_validates_and_saves_where_training_ends(train_tiny: Train, ends: list[str], step: int | None) -> None:
    run = train_tiny(*ends)
    found = report(run)
    assert found["status"] == "completed"
    last = rows(run)[-1]
    step = int(last["step"]) if step is None else step
    assert int(last["step"]) == step
    assert float(last["val/acc"]) == pytest.approx(validation_of(run, "last.ckpt")["val/acc"], abs=1e-6)
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
    assert found["best"]["value"] is not None


@pytest.mark.parametrize("first", [9, 17, 24])
def test_a_run_that_ended_by_steps_is_resumed_as_if_it_had_not(train_tiny: Train, tmp_path: Path, first: int) -> None:
    common = ["model=mlp", "model.hidden=[16]", "model.dropout=0.3", "trainer.max_epochs=10"]
    whole = train_tiny(*common, "trainer.max_steps=40")
    part = train_tiny(*common, f"trainer.max_steps={first}", directory=tmp_path / "part")
    train_tiny(*common, "trainer.max_steps=40", f"resume={part}", directory=part)
    assert equal(weights(whole, "last.ckpt"), weights(part, "last.ckpt"))
    assert rows(whole) == rows(part)


def test_a_sweep_of_short_runs_has_a_best_one(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_steps=5", "trainer.max_epochs=1")
    with (run / "metrics.csv").open() as file:
        table: list[dict[str, Any]] = list(csv.DictReader(file))
    assert len(table) == 1
    assert report(run)["objective"] == float(table[0]["val/acc"])


def test_until_a_validation_the_newest_weights_are_the_best(train_tiny: Train, tmp_path: Path) -> None:
    seldom = ("trainer.check_val_every_n_epoch=10", "trainer.max_epochs=4")
    run = tmp_path / "run"
    with pytest.raises(PreemptedError):
        train_tiny(*seldom, *stopping(signal.SIGTERM, step=40), directory=run)
    best = report(run)["best"]
    assert (best["value"], best["epoch"], best["step"]) == (None, 1, 34)
    train_tiny(*seldom, f"resume={run}", directory=run)
    best = report(run)["best"]
    assert (best["epoch"], best["step"]) == (3, 68)
    assert best["value"] == pytest.approx(validation_of(run)["val/acc"], abs=1e-6)
