"""What only a GPU can show: float16 with a loss scale, data in the device's memory, steps that wait for nothing."""

import csv

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.conftest import Train, report
from tests.run.test_train import weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # torch's note that it is a prototype
]

GPU = ("trainer.accelerator=gpu", "trainer.devices=1")


class NoWaiting(Callback):
    """Makes torch raise wherever the host would wait for the device, from the second to the tenth step."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        assert all(tensor.is_cuda for tensor in batch)  # type: ignore[attr-defined]
        torch.cuda.set_sync_debug_mode("error" if 2 <= batch_idx <= 10 else "default")


@pytest.mark.parametrize("precision", ["32", "16-mixed", "bf16-mixed"])
def test_a_step_does_not_wait_for_the_device(train_tiny: Train, precision: str) -> None:
    spy = "+callbacks.spy._target_=tests.run.test_gpu.NoWaiting"
    try:
        directory = train_tiny(*GPU, f"trainer.precision={precision}", spy, "trainer.log_every_n_steps=50")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert report(directory)["effective"]["precision"].removesuffix("-true") == precision
    assert report(directory)["metrics"]["test/acc"] > 0.9


def test_the_loss_scale_is_logged(train_tiny: Train) -> None:
    directory = train_tiny(*GPU, "trainer.precision=16-mixed", "logger=csv")
    with (directory / "csv" / "metrics.csv").open() as file:
        assert any(float(row["train/loss_scale"] or 0) > 0 for row in csv.DictReader(file))


@pytest.mark.parametrize("loader", ["memory", "torch"])
def test_data_that_does_not_fit_gives_the_same_run(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    resident = train_tiny(*GPU, "trainer.deterministic=true")
    monkeypatch.setattr("strobe.data.datamodule._fits", lambda split, device: False)
    streamed = train_tiny(*GPU, "trainer.deterministic=true", f"data.loader={loader}")
    first, second = weights(resident), weights(streamed)
    for key, tensor in first.items():
        torch.testing.assert_close(tensor, second[key])


def test_a_checkpoint_of_a_gpu_is_used_on_a_cpu(train_tiny: Train) -> None:
    from strobe.run.evaluation import evaluate

    directory = train_tiny(*GPU)
    on_gpu, on_cpu = evaluate(directory), evaluate(directory, ["trainer.accelerator=cpu"])
    assert on_cpu["test/acc"] == pytest.approx(on_gpu["test/acc"], abs=0.01)
    assert on_cpu["test/loss"] == pytest.approx(on_gpu["test/loss"], rel=1e-3)
