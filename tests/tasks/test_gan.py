"""The task `gan`: two optimizers by hand, a number to monitor, and runs that go on exactly."""

import math
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from strobe.errors import ConfigError, PreemptedError
from strobe.models.gan import Discriminator, Generator
from strobe.run.evaluation import evaluate
from strobe.tasks.frechet import Moments, frechet_distance
from strobe.tasks.gan import GAN
from tests.conftest import Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights
from tests.tasks.test_vae import SIDE, sizes

SMALL = ("task=gan", "task.generator.widths=[8,4]", "task.discriminator.widths=[4,8]", "task.latent=8")


def moments(*pixels: torch.Tensor) -> Moments:
    counted = Moments()
    for each in pixels:
        counted.add(each)
    return counted


def test_the_name_alone_trains_and_leaves_pictures(train_tiny: Train) -> None:
    directory = train_tiny("task=gan", "trainer.max_epochs=3")
    found, distances = report(directory), [float(row["val/frechet_pixels"]) for row in rows(directory)]
    assert (found["status"], found["best"]["metric"]) == ("completed", "val/frechet_pixels")
    assert distances[-1] < distances[0]
    assert {"train/g_loss", "train/d_loss", "test/frechet_pixels"} <= set(found["metrics"])
    assert found["parameters"] > 10_000
    assert [row["step"] for row in rows(directory)] == ["34", "68", "102"]  # of two optimizers
    assert sizes(directory) == {f"samples_epoch{epoch:03}.png": (SIDE, SIDE) for epoch in range(3)}


def test_evaluating_gives_the_numbers_of_the_test(train_tiny: Train) -> None:
    directory = train_tiny(*SMALL)
    assert evaluate(directory, ["trainer.accelerator=cpu"]) == {
        name: value for name, value in report(directory)["metrics"].items() if name.startswith("test/")
    }


@pytest.mark.parametrize("overrides", [(), ("data.val_size=0",)], ids=["validated", "not validated"])
@pytest.mark.parametrize("step", [10, 50])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(
    train_tiny: Train, tmp_path: Path, step: int, overrides: tuple[str, ...]
) -> None:
    settings = (*SMALL, *overrides, "data.augment=true")
    whole, directory = train_tiny(*settings), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=step), directory=directory)
    train_tiny(*settings, f"resume={directory}", directory=directory)
    assert equal(weights(directory), weights(whole))
    assert rows(directory) == rows(whole)
    assert report(directory)["metrics"] == report(whole)["metrics"]


def test_an_epoch_cut_short_is_taken_up_with_what_it_has_counted(train_tiny: Train) -> None:
    settings = (*SMALL, "data.val_size=0", "trainer.max_epochs=1")
    part, whole = train_tiny(*settings, "trainer.max_steps=16"), train_tiny(*settings)
    train_tiny(*settings, f"resume={part}", directory=part)
    assert rows(part)[-1] == rows(whole)[-1]


def test_validation_leaves_the_training_alone(train_tiny: Train) -> None:
    often = train_tiny(*SMALL, "trainer.val_check_interval=5", "trainer.num_sanity_val_steps=1")
    assert equal(weights(often), weights(train_tiny(*SMALL, "task.pictures=0")))


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.precision=16-mixed", "data.augment=true"),
        ("data.val_size=0",),
        ("debug=fast_dev_run",),
        ("debug=fast_dev_run", "data.val_size=0"),
        ("trainer.precision=bf16-true",),
        ("trainer.precision=64",),
    ],
    ids=" ".join,
)
def test_it_goes_with_the_rest(train_tiny: Train, overrides: tuple[str, ...]) -> None:
    directory = train_tiny(*SMALL, *overrides)
    found = report(directory)
    assert found["status"] == "completed"
    assert math.isfinite(found["metrics"]["test/frechet_pixels"])
    if overrides == ("data.val_size=0",):
        assert found["best"]["metric"] == "train/frechet_pixels"
        assert set(sizes(directory)) == {"samples_epoch000.png", "samples_epoch001.png"}


@pytest.mark.parametrize("override", ["trainer.gradient_clip_val=1.0", "trainer.accumulate_grad_batches=2"])
def test_what_lightning_only_does_for_one_optimizer_is_refused(train_tiny: Train, override: str) -> None:
    with pytest.raises(ConfigError, match="manual optimization"):
        train_tiny(*SMALL, override)


def test_a_monitored_loss_is_refused_because_less_of_it_is_not_better(train_tiny: Train) -> None:
    with pytest.raises(ConfigError, match=r"monitor\.metric=val/frechet_pixels"):
        train_tiny(*SMALL, "monitor.metric=val/loss")


@pytest.mark.parametrize("in_shape", [(3, 32, 32), (1, 28, 28), (2, 5, 7)], ids=str)
def test_its_nets_take_images_of_any_shape(in_shape: tuple[int, int, int]) -> None:
    task = GAN(partial(Generator, widths=[8, 4]), partial(Discriminator, widths=[4, 8]), in_shape, latent=5)
    made = task(torch.randn(3, 5))
    assert made.shape == (3, *in_shape)
    assert bool(((made >= 0) & (made <= 1)).all())
    assert task.discriminator(made).shape == (3,)


def test_images_too_small_to_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="3 halvings leave nothing"):
        Discriminator(in_shape=(1, 28, 4), widths=[4, 4, 4])


def test_the_distance_is_that_of_normal_distributions() -> None:
    torch.manual_seed(0)
    same = torch.rand(50, 1, 3, 4)
    assert frechet_distance(moments(same[:20], same[20:]), moments(same)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(moments(same), moments(same + 0.1)) == pytest.approx(12 * 0.1**2)
    # Of one dimension: the squared differences of means and of standard deviations.
    first, second = torch.randn(1000, 1, 1, 1), 3 * torch.randn(1000, 1, 1, 1) + 2
    expected = (first.mean() - second.mean()) ** 2 + (first.std(correction=0) - second.std(correction=0)) ** 2
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(float(expected), rel=1e-5)
    assert math.isnan(frechet_distance(moments(same), moments(same * math.nan)))


def test_the_distance_of_large_images_is_that_of_smaller_ones() -> None:
    counted = moments(torch.rand(4, 3, 64, 48))
    assert counted.sums is not None
    assert counted.sums.shape[1] <= 1024
