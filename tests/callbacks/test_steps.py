"""Scalars by step: one point for each step of the optimizer, of its loss as it is."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Train


def points(run: Path) -> list[tuple[int, float]]:
    """Step and loss of each point, in the order they were written."""
    with (run / "csv" / "metrics.csv").open() as file:
        return [
            (int(row["step"]), float(row["train/loss_step"])) for row in csv.DictReader(file) if row["train/loss_step"]
        ]


COMMON = ("logger=csv", "trainer.max_epochs=2", "data.shuffle=false", "optimizer=sgd", "optimizer.lr=1e-6")


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_gathered_batches_make_one_point_with_their_mean_loss(train_tiny: Train, every: int, precision: str) -> None:
    # At a rate of nearly nothing, losses don't depend on the steps before: three batches of 10 are one of 30.
    log = (f"trainer.log_every_n_steps={every}", f"trainer.precision={precision}")
    gathered = points(
        train_tiny(*COMMON, *log, "data.batch_size=10", "trainer.accumulate_grad_batches=3", "data.val_size=100")
    )
    plain = points(train_tiny(*COMMON, *log, "data.batch_size=30", "data.val_size=100"))
    assert [step for step, _ in gathered] == [step for step, _ in plain]
    assert min(step for step, _ in gathered) == every - 1
    assert len({step for step, _ in gathered}) == len(gathered)
    tolerance = 1e-4 if precision == "32" else 2e-2
    assert [loss for _, loss in gathered] == pytest.approx([loss for _, loss in plain], rel=tolerance)
