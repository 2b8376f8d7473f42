"""Every optimizer with every schedule, for every way in which a run can be as long as it is."""

import itertools
import random

import pytest

from strobe.errors import ConfigError
from tests.conftest import Train, report

OPTIMIZERS = ("adagrad", "adam", "adamw", "muon", "nadam", "rmsprop", "sgd")
SCHEDULERS = ("none", "onecycle", "cosine", "warmup_cosine", "step", "multistep", "exponential", "plateau")
LENGTHS = {
    "epochs": ("trainer.max_epochs=2", "trainer.limit_train_batches=2"),
    "steps": ("trainer.max_epochs=-1", "trainer.max_steps=3", "trainer.limit_train_batches=2"),
    "steps within the first epoch": ("trainer.max_steps=3",),
    "time": ("trainer.max_epochs=-1", "trainer.max_time={milliseconds: 100}", "trainer.limit_train_batches=2"),
}
CROSS = list(itertools.product(OPTIMIZERS, SCHEDULERS, LENGTHS))
AS_LONG_AS_THE_RUN = ("onecycle", "cosine", "warmup_cosine")


def trains_or_is_refused(train_tiny: Train, optimizer: str, scheduler: str, length: str) -> None:
    """Where nobody can know the run's number of steps, a schedule of that length is refused."""
    settings = (f"optimizer={optimizer}", f"scheduler={scheduler}", *LENGTHS[length], "data.batch_size=8")
    if length == "time" and scheduler in AS_LONG_AS_THE_RUN:
        with pytest.raises(ConfigError, match="needs to know the run's length"):
            train_tiny(*settings)
        return
    if scheduler == "onecycle" and optimizer in ("adagrad", "muon"):
        with pytest.raises(ConfigError, match=r"scheduler: .*cycle_momentum.*scheduler.cycle_momentum=false"):
            train_tiny(*settings)
        settings += ("scheduler.cycle_momentum=false",)
    found = report(train_tiny(*settings))
    assert found["status"] == "completed"
    assert found["best"]["value"] is not None
    assert found["best"]["step"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "scheduler", "length"), CROSS, ids=str)
def test_optimizer_schedule_and_length_go_together(
    train_tiny: Train, optimizer: str, scheduler: str, length: str
) -> None:
    trains_or_is_refused(train_tiny, optimizer, scheduler, length)


@pytest.mark.parametrize(("optimizer", "scheduler", "length"), random.Random(1).sample(CROSS, 16), ids=str)
def test_some_of_them_go_together_in_every_run_of_the_tests(
    train_tiny: Train, optimizer: str, scheduler: str, length: str
) -> None:
    trains_or_is_refused(train_tiny, optimizer, scheduler, length)
