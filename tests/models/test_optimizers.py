"""The shipped optimizers, schedules and trainer: every argument, the library's defaults, and our own two classes."""

import inspect
import math
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import StepLR

from strobe.callbacks.optimization import Optimization
from strobe.config.compose import CONF
from strobe.data.datamodule import ImageDataModule
from strobe.models.optimizers import MuonAdamW
from strobe.models.schedules import WarmupCosineLR
from strobe.tasks.classifier import Classifier
from tests.tiny import TinyDigits

# Where a shipped value is deliberately not the library's. Anything else that differs is a mistake or a new release.
INTENDED: dict[str, dict[str, Any]] = {
    "optimizer/sgd": {"lr": 0.1, "momentum": 0.9},
    "optimizer/rmsprop": {"lr": 1e-3},
    "optimizer/muon": {"lr": 2e-3},
    "scheduler/step": {"gamma": 0.5},
    "scheduler/plateau": {"mode": "max", "patience": 2},
    "trainer/default": {
        "precision": 32,
        "max_epochs": 5,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 50,
        "enable_checkpointing": True,
        "enable_progress_bar": True,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "enable_autolog_hparams": False,
    },
}
FILLED_IN = {"T_max": None}  # None stands for the run's number of steps
NOT_IN_YAML = {"self", "params", "optimizer", "last_epoch", "epochs", "steps_per_epoch"}


def shipped(group: str) -> list[str]:
    """Options of a group that name a class."""
    paths = sorted((CONF / group).glob("*.yaml"))
    return [path.stem for path in paths if OmegaConf.load(path).get("_target_") is not None]


def node(group: str, name: str) -> DictConfig:
    around = {"optimizer": {"lr": 0.25}, "monitor": {"mode": "max"}}
    resolved = OmegaConf.create({**around, "it": OmegaConf.load(CONF / group / f"{name}.yaml")})
    found = OmegaConf.create(OmegaConf.to_container(resolved, resolve=True))["it"]
    if group == "optimizer":
        assert found.pop("groups", None) is None  # ours, no argument of the class
    return found  # type: ignore[no-any-return]


MIRRORS = [(group, name) for group in ("optimizer", "scheduler") for name in shipped(group)] + [("trainer", "default")]


def test_the_shipped_optimizers_and_schedules_are_found() -> None:
    assert {"sgd", "adam", "adamw", "muon"} <= set(shipped("optimizer"))
    assert {"cosine", "onecycle", "plateau", "warmup_cosine"} <= set(shipped("scheduler"))


@pytest.mark.parametrize(("group", "name"), MIRRORS)
def test_a_yaml_lists_every_argument_with_the_librarys_default(group: str, name: str) -> None:
    values = node(group, name)
    parameters = inspect.signature(get_class(values["_target_"])).parameters
    listed = {key: value for key, value in values.items() if not str(key).startswith("_")}
    takes = {key: parameter.default for key, parameter in parameters.items() if key not in NOT_IN_YAML}
    assert set(listed) == set(takes), "arguments without a line, or lines without an argument"
    assert values.get("_partial_", False) is (group != "trainer")
    different = {
        key: value
        for key, value in listed.items()
        if takes[key] is not inspect.Parameter.empty and plain(value) != plain(takes[key])
    }
    assert different == INTENDED.get(f"{group}/{name}", {})


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) or OmegaConf.is_list(value) else value


def test_no_difference_is_intended_for_a_file_that_is_gone() -> None:
    assert set(INTENDED) <= {f"{group}/{name}" for group, name in MIRRORS}


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16), nn.Linear(16, 10)
    )


def backward(net: nn.Module) -> float:
    """Loss and gradients on one batch, always the same."""
    generator = torch.Generator().manual_seed(1)
    images, targets = torch.randn(32, 1, 8, 8, generator=generator), torch.arange(32) % 10
    net.zero_grad()
    loss = cross_entropy(net(images), targets)
    loss.backward()
    return loss.item()


def train(net: nn.Module, optimizer: Optimizer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(backward(net))
        optimizer.step()
    return losses


@pytest.mark.parametrize("name", shipped("optimizer"))
def test_every_shipped_optimizer_learns_and_continues_from_its_state(name: str, tmp_path: Path) -> None:
    make = instantiate(node("optimizer", name), _convert_="all")
    net = small_net()
    optimizer = make(net.parameters())
    losses = train(net, optimizer, 8)
    assert losses[-1] < losses[0]
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state")
    expected = train(net, optimizer, 5)

    saved = torch.load(tmp_path / "state", weights_only=True)
    other = small_net()
    other.load_state_dict(saved["net"])
    resumed = make(other.parameters())
    resumed.load_state_dict(saved["optimizer"])
    assert train(other, resumed, 5) == expected
    for found, parameter in zip(other.parameters(), net.parameters(), strict=True):
        assert torch.equal(found, parameter)


def test_muon_gets_the_matrices_and_adamw_the_rest() -> None:
    """Each parameter moves as it would under torch's own optimizer alone."""
    settings = {"lr": 0.01, "weight_decay": 0.1}
    net, reference = small_net(), small_net()
    matrices = [parameter for parameter in reference.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in reference.parameters() if parameter.ndim != 2]
    assert len(matrices) == 2
    references = [Muon(matrices, adjust_lr_fn="match_rms_adamw", **settings), AdamW(others, **settings)]  # type: ignore[arg-type]
    optimizer = MuonAdamW(net.parameters(), **settings)  # type: ignore[arg-type]
    train(net, optimizer, 3)
    for _ in range(3):
        backward(reference)
        for alone in references:
            alone.step()
    for found, parameter in zip(net.parameters(), reference.parameters(), strict=True):
        assert torch.equal(found, parameter)
    assert all("momentum_buffer" in optimizer.state[parameter] for parameter in net.parameters() if parameter.ndim == 2)
    assert all("exp_avg" in optimizer.state[parameter] for parameter in net.parameters() if parameter.ndim != 2)


@pytest.mark.parametrize("layers", [[nn.Linear(64, 10, bias=False)], [nn.Conv2d(1, 10, 8)]])
def test_muon_works_where_one_of_the_two_has_nothing_to_do(layers: list[nn.Module]) -> None:
    net = nn.Sequential(*([nn.Flatten(), *layers] if isinstance(layers[0], nn.Linear) else [*layers, nn.Flatten()]))
    losses = train(net, MuonAdamW(net.parameters(), lr=0.01), 10)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("after_loading", [False, True])
def test_a_schedule_drives_both_halves_of_muon(after_loading: bool) -> None:
    net = small_net()
    optimizer = MuonAdamW(net.parameters(), lr=0.5)
    schedule = StepLR(optimizer, step_size=1, gamma=0.0)
    if after_loading:
        optimizer.load_state_dict(optimizer.state_dict())
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    train(net, optimizer, 1)
    schedule.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.0}
    before = [parameter.clone() for parameter in net.parameters()]
    train(net, optimizer, 2)
    for parameter, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(parameter, old), "a rate of 0 moves nothing"


def served(module: Classifier, optimization: Optimization) -> Classifier:
    optimization.serve(module)
    return module


@pytest.mark.parametrize("decay", [True, False])
def test_weight_decay_can_spare_norms_and_biases(decay: bool) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    factory = partial(AdamW, weight_decay=0.1)
    optimizer = served(Classifier(net), Optimization(factory, decay_norm_and_bias=decay)).configure_optimizers()
    assert isinstance(optimizer, AdamW)
    decayed = {
        parameter for group in optimizer.param_groups for parameter in group["params"] if group["weight_decay"] == 0.1
    }
    assert decayed == (set(net.parameters()) if decay else {net[0].weight, net[3].weight})
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


def test_muon_keeps_the_options_of_parameter_groups() -> None:
    net = small_net()
    parameters = list(net.parameters())
    groups = [{"params": parameters[:3], "lr": 0.3}, {"params": parameters[3:], "weight_decay": 0.0}]
    optimizer = MuonAdamW(groups, lr=0.1, weight_decay=0.2)
    found = {
        parameter: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(found) == len(parameters) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert {found[parameter] for parameter in parameters[:3]} == {(0.3, 0.2)}
    assert {found[parameter] for parameter in parameters[3:]} == {(0.1, 0.0)}


def test_muon_evaluates_a_closure_once_and_returns_its_loss() -> None:
    net = small_net()
    calls = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        net(torch.ones(2, 1, 8, 8)).sum().backward()
        return 7.0

    assert MuonAdamW(net.parameters()).step(closure) == 7.0
    assert calls == [True]


def rates(schedule: WarmupCosineLR, optimizer: Optimizer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("total", "warmup", "final"), [(100, 0.1, 0.0), (100, 0.25, 0.1), (7, 0.5, 0.5), (10, 0.0, 0.0)]
)
def test_warmup_cosine_rises_to_the_rate_and_falls_to_its_share(total: int, warmup: float, final: float) -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    found = rates(WarmupCosineLR(optimizer, total, warmup, final), optimizer, total + 5)
    up = round(total * warmup)
    assert found[:up] == pytest.approx([0.2 * (step + 1) / up for step in range(up)])
    assert max(found) == found[up] == pytest.approx(0.2), "the peak comes right after the warm-up"
    assert all(earlier > later for earlier, later in zip(found[up:total], found[up + 1 : total + 1], strict=True))
    halfway = (total - up) / 2
    if halfway.is_integer():
        assert found[up + int(halfway)] == pytest.approx(0.2 * (1 + final) / 2)
    assert found[total:] == pytest.approx([0.2 * final] * 5), "a step too many does no harm"


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.9])
def test_warmup_cosine_of_a_very_short_run_stays_in_range(total: int, warmup: float) -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    found = rates(WarmupCosineLR(optimizer, total, warmup), optimizer, total)
    assert all(0 < rate <= 0.2 for rate in found)


def test_warmup_cosine_continues_from_its_state() -> None:
    def make() -> tuple[Optimizer, WarmupCosineLR]:
        optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
        return optimizer, WarmupCosineLR(optimizer, 20, 0.2)

    optimizer, schedule = make()
    rates(schedule, optimizer, 7)
    saved = optimizer.state_dict(), schedule.state_dict()
    expected = rates(schedule, optimizer, 13)
    other, resumed = make()
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert rates(resumed, other, 13) == expected


@pytest.mark.parametrize(
    "arguments", [{"warmup": 1.0}, {"warmup": -0.1}, {"final_ratio": 1.1}, {"final_ratio": -0.1}, {"warmup": math.nan}]
)
def test_a_schedule_out_of_range_names_the_override(arguments: dict[str, float]) -> None:
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"scheduler\.{name}={value}"):
        WarmupCosineLR(SGD([nn.Parameter(torch.zeros(1))], lr=0.2), 10, **arguments)


def configured(net: nn.Module, **settings: Any) -> Optimizer:
    optimization = Optimization(partial(AdamW, weight_decay=0.1), **settings)
    optimizer = served(Classifier(net), optimization).configure_optimizers()
    assert isinstance(optimizer, Optimizer)
    return optimizer


def test_weight_decay_spares_norms_and_biases_on_request() -> None:
    net = small_net()
    net[5].bias.requires_grad_(False)  # type: ignore[union-attr,operator,index]
    trained = {parameter for parameter in net.parameters() if parameter.requires_grad}

    def decays(optimizer: Optimizer) -> dict[Tensor, float]:
        return {parameter: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}

    everywhere = decays(configured(net))
    spared = decays(configured(net, decay_norm_and_bias=False))
    assert set(everywhere) == set(spared) == trained, "what is frozen is left out, what is not is there once"
    assert set(everywhere.values()) == {0.1}
    assert all(decay == (0.0 if parameter.ndim == 1 else 0.1) for parameter, decay in spared.items())


class Rates(Callback):
    """The learning rate of every step, one list for each epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, trainer: Trainer, module: Any) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Trainer, *rest: Any) -> None:
        self.epochs[-1].append(trainer.optimizers[0].param_groups[0]["lr"])


def scheduled(root: Path, schedule: Any) -> list[list[float]]:
    """The rates of a run of six epochs of five steps each."""
    data = ImageDataModule(TinyDigits(), root=str(root), batch_size=128, val_size=40)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    rates = Rates()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", max_epochs=6, callbacks=[rates], num_sanity_val_steps=0, **quiet)
    optimization = Optimization(partial(SGD, lr=0.25, momentum=0.9), schedule, monitor="val/acc")
    trainer.fit(served(Classifier(net), optimization), datamodule=data)
    assert [len(epoch) for epoch in rates.epochs] == [5] * 6
    return rates.epochs


@pytest.mark.parametrize("name", shipped("scheduler"))
def test_every_shipped_schedule_fits_the_length_of_the_run(name: str, tiny_root: Path) -> None:
    epochs = scheduled(tiny_root, instantiate(node("scheduler", name), _convert_="all"))
    steps = list(chain(*epochs))
    assert max(steps) == pytest.approx(0.25)
    if name in {"cosine", "onecycle", "warmup_cosine"}:
        assert len(set(epochs[1])) == 5, "advances with every step"
        assert steps[-1] == min(steps) < 0.01, "and ends with the run"
    else:
        assert all(len(set(epoch)) == 1 for epoch in epochs), "advances once an epoch"
        assert name == "plateau" or steps[-1] < steps[0]


def test_a_cosine_of_so_many_epochs_advances_with_epochs(tiny_root: Path) -> None:
    epochs = scheduled(tiny_root, instantiate(node("scheduler", "cosine"), T_max=6, _convert_="all"))
    assert epochs == [[pytest.approx(0.125 * (1 + math.cos(math.pi * epoch / 6)))] * 5 for epoch in range(6)]


def test_a_plateau_lowers_the_rate_once_the_metric_stands_still(tiny_root: Path) -> None:
    schedule = instantiate(node("scheduler", "plateau"), mode="min", patience=1, threshold=1e9, threshold_mode="abs")
    epochs = scheduled(tiny_root, schedule)  # no epoch can be better than the first by so much
    assert [epoch[0] for epoch in epochs] == pytest.approx([0.25, 0.25, 0.25, 0.025, 0.025, 0.0025])


def test_the_trainer_takes_every_value_of_its_yaml(tmp_path: Path) -> None:
    changes = {"accelerator": "cpu", "devices": 1, "logger": False, "default_root_dir": str(tmp_path)}
    trainer = instantiate(node("trainer", "default"), **changes)
    assert isinstance(trainer, Trainer)
    assert trainer.max_epochs == 5
