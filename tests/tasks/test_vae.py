"""The task `vae`: what it learns, the pictures it leaves, and that nothing of it depends on chance."""

import math
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from strobe.errors import ConfigError, PreemptedError
from strobe.models.vae import VAENet
from strobe.run.evaluation import evaluate
from strobe.tasks.pictures import Pixels, grid, show
from strobe.tasks.vae import VAE
from tests.conftest import Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights

SMALL = ("task=vae", "model.hidden=[32]", "model.latent=4")
SIDE = 8 * 30 + 2  # of a grid of eight: 28 pixels, and a gap of 2 around each


def net(in_shape: tuple[int, int, int] = (1, 28, 28)) -> VAENet:
    return VAENet(in_shape=in_shape, latent=3, hidden=[8])


def sizes(directory: Path) -> dict[str, tuple[int, int]]:
    """The pictures of a run; reading them whole shows that they are pictures."""
    found = {}
    for path in sorted((directory / "pictures").iterdir()):
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            found[path.name] = picture.size
    return found


def test_the_name_alone_trains_and_leaves_pictures(train_tiny: Train) -> None:
    directory = train_tiny("task=vae", "trainer.max_epochs=3")
    found, losses = report(directory), [float(row["val/loss"]) for row in rows(directory)]
    assert (found["status"], found["best"]["metric"]) == ("completed", "val/loss")
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < float(rows(directory)[0]["train/loss"])
    for split in ("train", "val", "test"):
        loss, reconstruction, kl = (found["metrics"][f"{split}/{name}"] for name in ("loss", "reconstruction", "kl"))
        assert loss == pytest.approx(reconstruction + kl)
    expected = {f"{name}_epoch{epoch:03}.png" for epoch in range(3) for name in ("samples", "reconstructions")}
    assert sizes(directory) == dict.fromkeys(expected, (SIDE, SIDE))
    shown = EventAccumulator(str(directory / "tensorboard")).Reload()
    assert [event.step for event in shown.Images("view/samples")] == [16, 33, 50]
    assert shown.Tags()["graph"]


def test_evaluating_gives_the_numbers_of_the_test(train_tiny: Train) -> None:
    directory = train_tiny(*SMALL)
    assert evaluate(directory, ["trainer.accelerator=cpu"]) == {
        name: value for name, value in report(directory)["metrics"].items() if name.startswith("test/")
    }


@pytest.mark.parametrize("step", [20, 34])  # within an epoch, and at its end
def test_a_stopped_run_goes_on_as_if_nothing_had_been(train_tiny: Train, tmp_path: Path, step: int) -> None:
    settings = (*SMALL, "data.augment=true", "trainer.max_epochs=3")
    whole, directory = train_tiny(*settings), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=step), directory=directory)
    train_tiny(*settings, f"resume={directory}", directory=directory)
    assert equal(weights(directory), weights(whole))
    assert rows(directory) == rows(whole)
    assert report(directory)["metrics"] == report(whole)["metrics"]
    for path in (whole / "pictures").iterdir():
        assert (directory / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_validation_and_pictures_leave_the_training_alone(train_tiny: Train) -> None:
    often = train_tiny(*SMALL, "trainer.val_check_interval=5", "trainer.num_sanity_val_steps=1")
    assert equal(weights(often), weights(train_tiny(*SMALL, "task.pictures=0")))
    assert {"samples_epoch000_step5.png", "samples_epoch001_step22.png"} <= set(sizes(often))


def test_without_pictures_there_is_no_folder(train_tiny: Train) -> None:
    assert not (train_tiny(*SMALL, "task.pictures=0", "trainer.max_epochs=1") / "pictures").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.precision=16-mixed", "task.likelihood=gaussian", "data.augment=true"),
        ("data.val_size=0",),
        ("debug=fast_dev_run",),
        ("debug=fast_dev_run", "data.val_size=0"),
        ("trainer.precision=bf16-true",),
        ("trainer.precision=64", "task.beta=4"),
        ("+metrics.mse._target_=torchmetrics.MeanSquaredError",),
    ],
    ids=" ".join,
)
def test_it_goes_with_the_rest(train_tiny: Train, overrides: tuple[str, ...]) -> None:
    directory = train_tiny(*SMALL, *overrides)
    found = report(directory)
    assert found["status"] == "completed"
    assert math.isfinite(found["metrics"]["test/loss"])
    if overrides == ("data.val_size=0",):
        assert found["best"]["metric"] == "train/loss"
        assert set(sizes(directory)) == {"samples_epoch000.png", "samples_epoch001.png"}


def test_what_it_can_t_use_is_refused(train_tiny: Train) -> None:
    with pytest.raises(ConfigError, match=r"encoder, decoder, latent; MLP lacks.*model=vae"):
        train_tiny("task=vae", "model=mlp")
    with pytest.raises(ConfigError, match=r"task: beta=-1: must be 0 or more"):
        train_tiny(*SMALL, "task.beta=-1")


def test_the_loss_is_the_negative_evidence_lower_bound() -> None:
    torch.manual_seed(0)
    task, images = VAE(net()).eval(), torch.rand(5, 1, 28, 28)
    task._noise.manual_seed(0)
    values = task.step((images, torch.zeros(5)))
    mean, log_variance = task.net.encoder(images).chunk(2, dim=1)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    assert torch.allclose(values["kl"], torch.distributions.kl_divergence(posterior, prior).sum(1), atol=1e-5)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    logits = task.net.decoder(posterior.loc + posterior.scale * noise)
    likelihood = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(images).sum((1, 2, 3))
    assert torch.allclose(values["reconstruction"], -likelihood)
    assert torch.allclose(values["loss"], (values["kl"] - likelihood).mean())


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("in_shape", [(3, 32, 32), (1, 5, 7), (2, 1, 1)], ids=str)
def test_it_takes_images_of_any_shape(in_shape: tuple[int, int, int], likelihood: str) -> None:
    mean, std = [0.4] * in_shape[0], [0.2] * in_shape[0]
    task = VAE(net(in_shape), likelihood=likelihood, mean=mean, std=std)  # type: ignore[arg-type]  # a Literal
    images = (torch.rand(6, *in_shape) - 0.4) / 0.2
    task.step([images])["loss"].backward()
    assert all(parameter.grad is not None for parameter in task.parameters())
    assert task(images).shape == images.shape
    assert bool(((task(images) >= 0) & (task(images) <= 1)).all())


def test_pixels_are_what_they_were_before_the_normalization() -> None:
    pixels = torch.rand(4, 3, 8, 8)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.3, 0.2, 0.1])
    images = (pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    assert torch.allclose(Pixels(mean.tolist(), std.tolist())(images), pixels, atol=1e-6)
    with pytest.raises(ConfigError, match=r"they must be in \[0, 1\]: set task.mean"):
        Pixels(None, None)(images)


@pytest.mark.parametrize(("count", "size"), [(1, (12, 14)), (8, (12, 98)), (9, (22, 98)), (64, (82, 98))])
@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (3, 3), (2, 1)])
def test_a_grid_holds_every_picture(count: int, size: tuple[int, int], channels: int, shown: int) -> None:
    pictures: Tensor = torch.rand(count, channels, 8, 10)
    page = grid(pictures)
    assert (page.dtype, tuple(page.shape)) == (torch.uint8, (shown, *size))
    row, column = divmod(count - 1, 8)
    last = page[:, 2 + 10 * row : 10 + 10 * row, 2 + 12 * column : 12 + 12 * column]
    expected = pictures[-1] if shown == channels else pictures[-1].mean(dim=0, keepdim=True)
    assert torch.equal(last, (expected * 255).round().to(torch.uint8))


def test_a_picture_that_can_not_be_written_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pictures").touch()  # where the folder would be
    trainer = SimpleNamespace(is_global_zero=True, is_last_batch=True, current_epoch=0, loggers=[])
    trainer.default_root_dir = str(tmp_path)
    show(trainer, "samples", torch.rand(4, 1, 8, 8))  # type: ignore[arg-type]
    assert "No picture of samples: " in caplog.text
