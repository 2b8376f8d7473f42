"""The promises that only the real MNIST can keep. Run with `pytest -m mnist`."""

import json
from pathlib import Path

import pytest
import torch

from strobe.data.datamodule import ImageDataModule
from strobe.data.idx import MNIST
from strobe.data.root import default_root
from tests.conftest import Command, Compose, report

pytestmark = pytest.mark.mnist


@pytest.fixture(scope="module")
def mnist() -> ImageDataModule:
    data = ImageDataModule(MNIST())
    data.prepare_data()
    data.setup()
    return data


def test_the_official_split_is_kept(mnist: ImageDataModule) -> None:
    assert {name: len(split) for name, split in mnist.splits.items()} == {"train": 55_000, "val": 5_000, "test": 10_000}
    test = {bytes(image) for image in mnist.splits["test"].images.flatten(1).numpy()}
    for name in ("train", "val"):
        split = mnist.splits[name]
        assert not test & {bytes(image) for image in split.select(torch.arange(len(split)))[0].flatten(1).numpy()}


def test_the_facts_are_those_of_the_files(mnist: ImageDataModule) -> None:
    images, labels = MNIST().load(default_root(), "train")
    pixels = images.double() / 255
    assert pixels.mean().item() == pytest.approx(MNIST.mean[0], abs=5e-5)
    assert pixels.std().item() == pytest.approx(MNIST.std[0], abs=5e-5)
    assert labels.unique().tolist() == list(range(10))


def test_the_default_command_reaches_97_percent_and_evaluate_agrees_to_the_last_digit(
    command: Command, tmp_path: Path
) -> None:
    done = command("train", XDG_CACHE_HOME=str(default_root().parent), timeout=300)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "cwd" / "outputs" / "train").glob("*/*")
    found = report(directory)
    assert found["metrics"]["test/acc"] >= 0.97
    measured = command("evaluate", str(directory), "--json")
    expected = {name: found["metrics"][name] for name in ("test/acc", "test/loss")}
    assert json.loads(measured.stdout) == expected


def test_mixed_precision_works_as_it_is_typed(command: Command, tmp_path: Path) -> None:
    arguments = ("model=mlp", "trainer.precision=16-mixed", "trainer.max_epochs=1")
    done = command("train", *arguments, XDG_CACHE_HOME=str(default_root().parent), timeout=300)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "cwd" / "outputs" / "train").glob("*/*")
    found = report(directory)
    assert found["requested"]["precision"] == "16-mixed"
    if not torch.cuda.is_available():
        assert found["effective"]["precision"] == "bf16-mixed"
    assert found["metrics"]["test/acc"] > 0.95


def test_every_recipe_for_mnist_composes_and_runs(compose_config: Compose, tmp_path: Path) -> None:
    from strobe.run.story import train

    for recipe in ("mnist_simple_nn", "mnist_mlp", "mnist_cnn"):
        overrides = [f"experiment={recipe}", "debug=fast_dev_run", "trainer=cpu"]
        train(compose_config(*overrides), tmp_path / recipe, overrides)
        assert report(tmp_path / recipe)["status"] == "completed"
