"""What `trainer.precision` asks for, what is made of it, and that the report tells the two apart."""

import csv
import itertools
import random

import pytest
import torch

from strobe.errors import ConfigError
from tests.conftest import Compose, Train, report
from tests.run.test_train import weights

FLOAT16 = (  # with a gradient scaler, on a CPU: what `16-mixed` is on a GPU
    "trainer.precision=null",
    "+trainer.plugins.amp._target_=lightning.pytorch.plugins.precision.MixedPrecision",
    "+trainer.plugins.amp.precision=16-mixed",
    "+trainer.plugins.amp.device=cpu",
)


@pytest.mark.parametrize(
    ("asked", "effective", "dtype"),
    [
        ("32", "32-true", torch.float32),
        ("64", "64-true", torch.float64),
        ("bf16-mixed", "bf16-mixed", torch.float32),
        ("16-mixed", "bf16-mixed", torch.float32),
        ("bf16-true", "bf16-true", torch.bfloat16),
    ],
)
def test_each_precision_learns_and_is_recorded(
    train_tiny: Train, asked: str, effective: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    directory = train_tiny(f"trainer.precision={asked}")
    found = report(directory)
    assert (str(found["requested"]["precision"]), found["effective"]["precision"]) == (asked, effective)
    assert found["metrics"]["test/acc"] > 0.9
    assert all(tensor.dtype == dtype for tensor in weights(directory).values())
    assert "No graph in TensorBoard" not in caplog.text
    assert (f"precision {effective} (asked for {asked})" in caplog.text) == (asked == "16-mixed")


def test_a_loss_is_computed_in_single_precision_at_least(train_tiny: Train) -> None:
    loss = report(train_tiny("trainer.precision=bf16-true"))["metrics"]["test/loss"]
    # 163 images in one batch: a loss in bfloat16 would have 8 bits.
    assert torch.tensor(loss).bfloat16().item() != pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("value", ["highest", "high"])
def test_the_precision_of_matrix_products_is_a_key_and_recorded(train_tiny: Train, value: str) -> None:
    try:
        assert report(train_tiny(f"matmul_precision={value}"))["effective"]["matmul_precision"] == value
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_loss_scale_and_the_steps_it_skips_are_logged(
    train_tiny: Train, compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A scale that overflows float16 at once: the first steps have to be left out until it is low enough.
    monkeypatch.setattr(torch.amp.GradScaler.__init__, "__defaults__", ("cpu", 2.0**24, 2.0, 0.5, 2000, True))
    directory = train_tiny(*FLOAT16, "logger=csv", "trainer.log_every_n_steps=1")
    with (directory / "csv" / "metrics.csv").open() as file:
        steps = [row for row in csv.DictReader(file) if row["train/loss_scale"]]
    scales = [float(row["train/loss_scale"]) for row in steps]
    skipped = [float(row["train/skipped_steps"]) for row in steps]
    assert scales[-1] < 2.0**24
    assert skipped[-1] == torch.tensor(2.0**24 / scales[-1]).log2().item() > 0
    assert skipped == sorted(skipped)
    assert report(directory)["effective"]["precision"] == "16-mixed"
    assert report(directory)["metrics"]["test/acc"] > 0.9


CROSS = list(
    itertools.product(
        ("adagrad", "adam", "adamw", "muon", "nadam", "rmsprop", "sgd"),
        ("32", "16-mixed", "bf16-mixed", "bf16-true", "64"),
        (
            (),
            ("trainer.gradient_clip_val=1.0",),
            ("trainer.gradient_clip_val=0.5", "trainer.gradient_clip_algorithm=value"),
        ),
        (1, 3),
    )
)


def takes_two_steps(
    train_tiny: Train, optimizer: str, precision: str, clipping: tuple[str, ...], gathered: int
) -> None:
    short = (f"trainer.fast_dev_run={2 * gathered}", f"trainer.accumulate_grad_batches={gathered}", "data.batch_size=8")
    found = report(train_tiny(f"optimizer={optimizer}", f"trainer.precision={precision}", *clipping, *short))
    assert found["status"] == "completed"
    assert found["metrics"]["train/loss"] > 0


@pytest.mark.parametrize(("optimizer", "precision", "clipping", "gathered"), CROSS, ids=str)
@pytest.mark.slow
def test_optimizer_precision_clipping_and_accumulation_go_together(
    train_tiny: Train, optimizer: str, precision: str, clipping: tuple[str, ...], gathered: int
) -> None:
    takes_two_steps(train_tiny, optimizer, precision, clipping, gathered)


@pytest.mark.parametrize(
    ("optimizer", "precision", "clipping", "gathered"), random.Random(1).sample(CROSS, 16), ids=str
)
def test_some_of_them_go_together_in_every_run_of_the_tests(
    train_tiny: Train, optimizer: str, precision: str, clipping: tuple[str, ...], gathered: int
) -> None:
    takes_two_steps(train_tiny, optimizer, precision, clipping, gathered)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_gradients_are_clipped_under_mixed_precision(train_tiny: Train, precision: str) -> None:
    clipped = ("trainer.gradient_clip_val=1.0", f"trainer.precision={precision}", "trainer.max_epochs=1")
    assert report(train_tiny(*clipped))["status"] == "completed"
    with pytest.raises(ConfigError, match=r"optimizer\.fused=true: .*trainer\.gradient_clip_val=null"):
        train_tiny(*clipped, "optimizer.fused=true")
