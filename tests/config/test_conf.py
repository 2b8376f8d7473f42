"""Every shipped YAML file composes, builds and takes a step."""

import inspect
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from strobe.config.checks import problems_with_libraries
from strobe.config.compose import CONF
from strobe.config.targets import resolve
from strobe.config.values import problems
from tests.conftest import Compose, Train, report

GROUPS = (
    *("task", "data", "model", "optimizer", "scheduler", "loss", "metrics"),
    *("trainer", "callbacks", "logger", "debug", "experiment"),
)


def options(group: str) -> list[str]:
    """The options of a group that work alone."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


EVERY = [(group, option) for group in GROUPS for option in options(group)]
NEEDS_A_GPU = {("trainer", "gpu"), ("trainer", "fsdp"), ("trainer", "ddp")}
# Data sets have files to fetch; several processes have tests of their own.
NOT_HERE = NEEDS_A_GPU | {("trainer", "ddp_cpu")}
FOR_NUMBERS = [("data", "table"), ("loss", "huber"), ("loss", "mse"), ("task", "regression")]
OWN_NETS = [("task", "vae"), ("task", "gan"), ("model", "vae")]  # nothing that names classes: with tests of their own
TRAINS = [
    each for each in EVERY if each[0] not in ("data", "experiment") and each not in (*NOT_HERE, *FOR_NUMBERS, *OWN_NETS)
]
NEEDS = {
    ("data", "table"): ("data.path=table.csv", "data.target=y"),
    ("data", "image_folder"): ("data.dataset.folder=pictures",),
}
named = {"ids": lambda value: value}


def test_no_group_is_empty() -> None:
    assert [group for group in GROUPS if not options(group)] == []


@pytest.mark.parametrize(("group", "option"), EVERY, **named)
def test_every_option_composes_without_a_problem(compose_config: Compose, group: str, option: str) -> None:
    cfg = compose_config(f"{group}={option}", *NEEDS.get((group, option), ()))
    assert problems(cfg) == []
    if (group, option) not in NEEDS_A_GPU or torch.cuda.is_available():
        assert problems_with_libraries(cfg) == []


@pytest.mark.parametrize(("group", "option"), TRAINS, **named)
def test_every_option_takes_a_step(train_tiny: Train, group: str, option: str) -> None:
    batches = ["data.batch_size=4", "data.eval_batch_size=10"]  # a hundredth of the tiny set has to be a batch
    short = [] if group == "debug" else ["trainer.fast_dev_run=true"]
    found = report(train_tiny(f"{group}={option}", *batches, *short))
    assert found["status"] == "completed"
    # Two train no net for keeps.
    split = "train" if (group, option) in (("debug", "profiler"), ("debug", "lr_find")) else "test"
    assert 0 <= found["metrics"][f"{split}/acc"] <= 1
    assert found["metrics"][f"{split}/loss"] > 0


@pytest.mark.parametrize(("group", "option"), FOR_NUMBERS, **named)
def test_every_option_for_numbers_takes_a_step(train_own: Train, table: Path, group: str, option: str) -> None:
    task = "strobe.tasks.regression.Regression"
    numbers = ("task=regression", "data=table", f"data.path={table}", "data.target=y", "trainer.fast_dev_run=true")
    found = report(train_own(task, *numbers, f"{group}={option}"))
    assert found["status"] == "completed"
    assert {"test/loss", "test/mae", "test/rmse"} == {name for name in found["metrics"] if name.startswith("test")}


@pytest.mark.parametrize("option", sorted({*options("data")} - {"table"}))
def test_every_data_set_states_its_facts(compose_config: Compose, option: str) -> None:
    dataset = resolve(compose_config(f"data={option}").data.dataset["_target_"])
    if dataset.sizes is None:
        return  # a person's own pictures: known when they are
    assert len(dataset.shape) == 3
    assert len(dataset.mean) == len(dataset.std) == dataset.shape[0]
    assert len(set(dataset.classes)) == len(dataset.classes) >= 2


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_takes_a_step_of_its_own_batch_size(train_tiny: Train, experiment: str) -> None:
    found = report(train_tiny(f"experiment={experiment}", "data=tiny", "debug=fast_dev_run"))
    assert found["status"] == "completed"


def test_a_fast_dev_run_is_one_batch_of_each_split(train_tiny: Train) -> None:
    directory = train_tiny("debug=fast_dev_run", "logger=csv")
    assert len((directory / "metrics.csv").read_text().splitlines()) == 2
    assert ",1," in (directory / "metrics.csv").read_text().splitlines()[1]


def test_overfitting_a_few_batches_drives_the_loss_to_nothing(train_tiny: Train) -> None:
    directory = train_tiny("debug=overfit", "trainer.max_epochs=50")
    last = (directory / "metrics.csv").read_text().splitlines()
    column = last[0].split(",").index("train/loss")
    assert float(last[-1].split(",")[column]) < 0.05 < float(last[1].split(",")[column])


@pytest.mark.parametrize(
    ("group", "option"), [("trainer", "default"), *(("optimizer", option) for option in options("optimizer"))], **named
)
def test_the_yaml_lists_every_argument_of_the_installed_class(compose_config: Compose, group: str, option: str) -> None:
    node = compose_config(f"{group}={option}")[group]
    parameters = inspect.signature(resolve(node["_target_"])).parameters
    takes = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD} - {"params"}
    ours = {"groups"} if group == "optimizer" else set()
    assert {str(key) for key in node} - {"_target_", "_partial_"} == takes | ours


@pytest.mark.parametrize("option", options("optimizer"))
def test_the_yaml_of_an_optimizer_keeps_the_librarys_defaults_but_for_rates(
    compose_config: Compose, option: str
) -> None:
    node = compose_config(f"optimizer={option}").optimizer
    own = {"lr", "momentum"}  # chosen for the shipped recipes
    for name, parameter in inspect.signature(resolve(node["_target_"])).parameters.items():
        if name not in own and parameter.default is not parameter.empty:
            value = OmegaConf.select(node, name)
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert (list(value) if isinstance(default, list) else value) == default, name


def test_each_set_of_pictures_says_its_own_augmentations(compose_config: Compose) -> None:
    """None of them is turned and shifted as MNIST's digits are, unless it says so itself."""
    chosen = {
        option: {name for name, node in compose_config(f"data={option}").data.augmentations.items() if node is not None}
        for option in sorted({*options("data")} - {"table"})
    }
    assert chosen == {
        "mnist": {"affine"},
        "kmnist": {"affine"},
        "fashion_mnist": {"crop", "flip"},
        "cifar10": {"crop", "flip"},
        "cifar100": {"crop", "flip"},
        "image_folder": {"flip"},
    }
