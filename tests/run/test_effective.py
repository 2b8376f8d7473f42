"""What is recorded as in effect was in effect, and what is trained is all that can be."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from strobe.errors import ConfigError
from tests.conftest import Train, report
from tests.run.test_train import weights

HERE = "tests.run.test_effective"


class BatchSizeOf(Callback):
    """Changes the batch size as training begins, as a finder does."""

    def __init__(self, size: int) -> None:
        self.size = size

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        trainer.datamodule.batch_size = self.size


class LearntScale(nn.Module):
    """A loss with a parameter: the temperature of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits * self.scale, targets)


def test_a_batch_size_that_a_callback_found_is_the_one_in_effect(train_tiny: Train) -> None:
    found = report(train_tiny(f"+callbacks.finder={{_target_: {HERE}.BatchSizeOf, size: 16}}", "data.batch_size=32"))
    assert found["effective"]["batch_size_per_device"] == found["effective"]["global_batch_size"] == 16
    assert found["best"]["step"] % 34 == 0  # 539 images


def test_an_accumulation_that_a_callback_scheduled_is_the_one_in_effect(train_tiny: Train) -> None:
    schedule = "{_target_: lightning.pytorch.callbacks.GradientAccumulationScheduler, scheduling: {0: 2}}"
    effective = report(train_tiny(f"+callbacks.gather={schedule}", "data.batch_size=32"))["effective"]
    assert effective["global_batch_size"] == 64


def test_averages_that_would_be_thrown_away_are_refused_with_what_works(train_tiny: Train) -> None:
    averaging = "+callbacks.swa={_target_: lightning.pytorch.callbacks.StochasticWeightAveraging, swa_lrs: 0.01}"
    with pytest.raises(ConfigError, match=r"neither tested nor kept; choose .*EMAWeightAveraging"):
        train_tiny(averaging)
    ema = "+callbacks.ema={_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.9}"
    assert report(train_tiny(ema))["status"] == "completed"


@pytest.mark.parametrize("decay", ["true", "false"])
def test_a_loss_of_ones_own_is_trained_resumed_and_kept(train_tiny: Train, decay: str) -> None:
    own = ("loss=learnt", f"decay_norm_and_bias={decay}", "optimizer=adamw")
    whole = train_tiny(*own, "trainer.max_epochs=3")
    assert weights(whole)["loss.scale"].item() != 1.0
    part = train_tiny(*own, "trainer.max_epochs=1")
    train_tiny(*own, "trainer.max_epochs=3", f"resume={part}", directory=part)
    assert torch.equal(weights(whole)["loss.scale"], weights(part)["loss.scale"])
