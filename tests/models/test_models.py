"""Every net learns, is what it claims to be, and is counted and scored exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, Trainer
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassAccuracy

from strobe.callbacks.optimization import Optimization
from strobe.config.compose import CONF
from strobe.data.datamodule import ImageDataModule
from strobe.data.order import BatchOrder
from strobe.models.inspection import count_parameters
from strobe.models.layers import SquareFunction, square
from strobe.models.losses import Brier, CrossEntropy
from strobe.models.lstm import LSTM
from strobe.models.mlp import MLP
from strobe.models.resnet import ResNet
from strobe.models.simple_nn import SimpleNN
from strobe.models.vit import ViT
from strobe.tasks.classifier import Classifier
from strobe.tasks.means import Means
from tests.tiny import TinyDigits

MODELS = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - {"vae"})  # which gives no logits
KINDS: list[tuple[tuple[int, int, int], int]] = [((1, 28, 28), 10), ((3, 32, 32), 100)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def classic() -> nn.Sequential:
    """The network of the classic script."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def shipped(name: str, in_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    torch.manual_seed(0)
    node = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    net: nn.Module = instantiate(node, in_shape=in_shape, num_classes=num_classes, _convert_="all")
    return net


def test_simple_nn_is_the_network_of_the_classic_script() -> None:
    torch.manual_seed(7)
    expected = classic()
    torch.manual_seed(7)
    net = SimpleNN(in_shape=(1, 28, 28), num_classes=10)
    assert count_parameters(net) == 101_770
    for found, parameter in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, parameter)
    images = torch.rand(5, 1, 28, 28)
    assert torch.equal(net(images), expected(images))
    expected.load_state_dict(net.state_dict())


class Losses(Callback):
    """Every step's loss."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        self.values.append(outputs["loss"].item())


def fit(model: Classifier, data: ImageDataModule, *callbacks: Callback, epochs: int = 1) -> None:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), limit_val_batches=0, **quiet)
    trainer.fit(model, datamodule=data)


def test_training_gives_the_numbers_of_a_loop_written_by_hand(tiny_root: Path) -> None:
    """Loss by loss and weight by weight: the framework adds nothing of its own."""
    epochs, batch_size = 2, 64
    torch.manual_seed(3)
    model = Classifier(SimpleNN(in_shape=(1, 28, 28), num_classes=10))
    Optimization(lambda params: torch.optim.Adam(params, lr=1e-3)).serve(model)
    data = ImageDataModule(TinyDigits(), root=str(tiny_root), batch_size=batch_size, val_size=0, seed=11)
    losses = Losses()
    fit(model, data, losses, epochs=epochs)

    torch.manual_seed(3)
    net = classic()
    optimizer, criterion = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    pixels, labels = TinyDigits().load(tiny_root, "train")
    images = (pixels.float() / 255 - TinyDigits.mean[0]) / TinyDigits.std[0]
    order, expected, correct = BatchOrder(len(labels), batch_size, seed=11), [], 0
    for epoch in range(epochs):
        order.set_epoch(epoch)
        correct = 0
        for chosen in order.permutation().split(batch_size):
            optimizer.zero_grad()
            logits = net(images[chosen])
            loss = criterion(logits, labels[chosen])
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
            correct += int((logits.argmax(1) == labels[chosen]).sum())

    assert losses.values == expected
    assert expected[-1] < 0.7 * expected[0]
    for found, parameter in zip(model.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(found, parameter)
    assert model.epoch_metrics["train/acc"] == correct / len(labels)
    assert model.epoch_metrics["train/loss"] == pytest.approx(sum(expected[-10:]) / 10, rel=1e-12)
    assert model.examples["train"] == len(labels)


def test_the_shipped_models_are_found() -> None:
    assert {"simple_nn", "mlp", "cnn", "vit"} <= set(MODELS)


@pytest.mark.parametrize(("in_shape", "num_classes"), KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_model_gives_logits_and_learns_with_every_parameter(
    name: str, in_shape: tuple[int, int, int], num_classes: int
) -> None:
    net = shipped(name, in_shape, num_classes)
    images, targets = torch.randn(16, *in_shape), torch.arange(16) % num_classes
    logits = net(images)
    assert (logits.shape, logits.dtype) == ((16, num_classes), torch.float32)
    before = cross_entropy(logits, targets)
    before.backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{parameter_name} gets no gradient"
        assert parameter.grad.isfinite().all()
        assert parameter.grad.count_nonzero() > 0, f"the gradient of {parameter_name} is zero"
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        loss = cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()
    assert cross_entropy(net(images), targets) < before


@pytest.mark.parametrize(("in_shape", "num_classes"), KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_net_judges_each_image_by_itself(name: str, in_shape: tuple[int, int, int], num_classes: int) -> None:
    net = shipped(name, in_shape, num_classes).eval()
    images = torch.randn(4, *in_shape)
    together = net(images)
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(net(image[None])[0], logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_weights_move_from_one_net_to_another(name: str, tmp_path: Path) -> None:
    net = shipped(name, (1, 28, 28), 10)
    net(torch.randn(8, 1, 28, 28))  # moves the statistics of batch normalisation
    torch.save(net.state_dict(), tmp_path / "weights")
    other = shipped(name, (1, 28, 28), 10)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(0.5)
    other.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(net.eval()(images), other.eval()(images))


@pytest.mark.parametrize("name", MODELS)
def test_a_net_follows_the_seed(name: str) -> None:
    first, second = shipped(name, (1, 28, 28), 10), shipped(name, (1, 28, 28), 10)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


OPTIONS: dict[str, list[Any]] = {
    "activation": ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "square"],
    "norm": ["none", "batch", "layer"],
    "init": ["default", "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal"],
    "dropout": [0.0, 0.5],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in OPTIONS for value in OPTIONS[option]])
@pytest.mark.parametrize("name", ["mlp", "resmlp", "cnn", "resnet"])
def test_every_option_builds_a_net_with_finite_outputs(name: str, option: str, value: Any) -> None:
    node = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    small = {"mlp": {"hidden": [8, 7]}, "resmlp": {"width": 8}}.get(name, {"widths": [4, 6]})
    torch.manual_seed(0)
    net = instantiate(node, in_shape=(1, 28, 28), num_classes=10, _convert_="all", **{**small, option: value})
    images = torch.randn(4, 1, 28, 28)
    assert net(images).isfinite().all()
    assert torch.equal(net.eval()(images), net(images)), "dropout is off in evaluation"
    if option == "dropout":
        assert torch.equal(net.train()(images), net(images)) == (value == 0)
    if option == "init" and value != "default":
        biases = [m.bias for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.bias is not None]
        assert not any(bias.any() for bias in biases)


def test_an_initialisation_is_the_one_it_is_named_after() -> None:
    torch.manual_seed(0)
    wide = {"in_shape": (1, 20, 20), "num_classes": 10, "hidden": [300]}
    orthogonal = MLP(init="orthogonal", **wide)[1].weight  # type: ignore[arg-type,union-attr]
    torch.testing.assert_close(orthogonal @ orthogonal.T, torch.eye(300), rtol=0, atol=1e-5)
    kaiming = MLP(init="kaiming_normal", **wide)[1].weight  # type: ignore[arg-type,union-attr]
    assert kaiming.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    xavier = MLP(init="xavier_uniform", **wide)[1].weight  # type: ignore[arg-type,union-attr]
    assert xavier.abs().max().item() == pytest.approx((6 / 700) ** 0.5, rel=0.01)


@pytest.mark.parametrize("hidden", [[], [5], [5, 4, 3]])
def test_an_mlp_has_the_layers_it_is_told(hidden: list[int]) -> None:
    net = MLP(in_shape=(1, 4, 4), num_classes=3, hidden=hidden)
    widths = [layer.out_features for layer in net if isinstance(layer, nn.Linear)]
    assert widths == [*hidden, 3]


def test_the_papers_resnet_20_has_its_layers_and_parameters() -> None:
    net = ResNet(in_shape=(3, 32, 32), num_classes=10, blocks_per_stage=3)
    weights = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    projections = [module for module in weights if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)]
    assert len(weights) - len(projections) == 20
    assert count_parameters(net) == pytest.approx(0.27e6, rel=0.02)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_net_judges_by_the_last_state_of_each_direction(
    cell: Any, layers: int, bidirectional: bool
) -> None:
    net = LSTM(
        in_shape=(2, 6, 5), num_classes=3, hidden=8, cell=cell, layers=layers, bidirectional=bidirectional, dropout=0.2
    ).eval()
    images = torch.randn(4, 2, 6, 5)
    rows = torch.cat([images[:, 0], images[:, 1]], dim=2)  # a row holds both channels
    _, last = net.recurrent(rows)
    hidden = last[0] if cell == "lstm" else last
    directions = [hidden[-2], hidden[-1]] if bidirectional else [hidden[-1]]
    torch.testing.assert_close(net(images), net.head(torch.cat(directions, dim=1)))


@pytest.mark.parametrize(("shape", "allowed"), [((1, 28, 28), r"\[2, 4, 7, 14, 28\]"), ((3, 32, 24), r"\[2, 4, 8\]")])
def test_patches_that_do_not_tile_the_image_are_refused_with_those_that_do(
    shape: tuple[int, int, int], allowed: str
) -> None:
    size = f"{shape[1]}x{shape[2]}"
    with pytest.raises(ValueError, match=rf"model\.patch=5 does not divide {size} images: choose one of {allowed}"):
        ViT(in_shape=shape, num_classes=10, patch=5)
    with pytest.raises(ValueError, match=r"model\.heads=3 does not divide model\.dim=64"):
        ViT(in_shape=(1, 28, 28), num_classes=10, heads=3)


def test_patches_see_every_pixel_and_positions_matter() -> None:
    torch.manual_seed(0)
    net = ViT(in_shape=(1, 8, 12), num_classes=3, patch=4, dim=8, depth=1, heads=2).eval()
    images = torch.randn(1, 1, 8, 12, requires_grad=True)
    net(images)[0, 0].backward()
    assert images.grad is not None
    assert images.grad.all()
    assert not torch.allclose(net(images), net(images.roll(4, dims=3)))


def test_the_derivatives_of_square_are_right() -> None:
    values = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SquareFunction.apply, (values,))
    assert torch.autograd.gradgradcheck(SquareFunction.apply, (values,))
    assert torch.equal(square(values), values * values)


def test_square_works_with_the_transforms_of_torch_func() -> None:
    values = torch.randn(5, 3)
    assert torch.equal(torch.func.vmap(square)(values), values**2)
    assert torch.equal(torch.func.vmap(square, in_dims=1, out_dims=1)(values), values**2)
    gradient = torch.func.grad(lambda row: square(row).sum())
    torch.testing.assert_close(gradient(values), 2 * values)
    torch.testing.assert_close(torch.func.vmap(gradient)(values), 2 * values)
    second = torch.func.grad(torch.func.grad(square))
    torch.testing.assert_close(torch.func.vmap(second)(values[0]), torch.full((3,), 2.0))


@pytest.mark.parametrize("soft", [False, True])
def test_every_image_counts_the_same_whatever_the_size_of_its_batch(soft: bool) -> None:
    logits, labels = torch.randn(25, 4), torch.randint(0, 4, (25,))
    targets = one_hot(labels, 4).float().lerp(torch.rand(25, 4).softmax(1), 0.3) if soft else labels
    found, reference = Means(), MulticlassAccuracy(4, average="micro")
    task = Classifier(nn.Identity())
    for part, wanted in zip(logits.split(8), targets.split(8), strict=True):  # 8, 8, 8, 1
        values = task.step((part, wanted))
        found.add({"loss": values["loss"], "acc": values["acc"]}, len(part))
    reference.update(logits, labels)
    assert found.count == 25
    assert float(found.sums["acc"]) / 25 == pytest.approx(reference.compute().item(), abs=1e-7)
    assert float(found.sums["loss"]) / 25 == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-6)


def test_a_long_epoch_loses_no_precision() -> None:
    means = Means()
    for _ in range(1000):
        means.add({"loss": torch.tensor(0.1)}, 20_001)
    assert means.count == 20_001_000
    assert float(means.sums["loss"]) / means.count == pytest.approx(torch.tensor(0.1).item(), rel=1e-12)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0, 0.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_torchs(weights: list[float] | None, smoothing: float, soft: bool) -> None:
    logits, targets = torch.randn(9, 4), torch.randint(0, 4, (9,))
    if soft:
        targets = torch.rand(9, 4).softmax(1)
    loss = CrossEntropy(label_smoothing=smoothing, class_weights=weights)
    reference = nn.CrossEntropyLoss(None if weights is None else torch.tensor(weights), label_smoothing=smoothing)
    assert torch.equal(loss(logits, targets), reference(logits, targets))
    assert loss.state_dict() == {}, "checkpoints hold no copy of the config"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.0}, r"loss\.label_smoothing=1\.0: must lie in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"loss\.label_smoothing=-0\.1"),
        ({"class_weights": [1.0, -1.0]}, r"loss\.class_weights=\[1\.0, -1\.0\]: must not be negative"),
        ({"class_weights": []}, r"loss\.class_weights=\[\]"),
    ],
)
def test_a_loss_out_of_range_names_the_override(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossEntropy(**arguments)


def test_brier_is_the_squared_distance_between_probabilities() -> None:
    logits = torch.tensor([[0.6, 0.4], [0.25, 0.75], [1.0, 0.0]]).log()
    # (0.4**2 + 0.4**2 + 0.25**2 + 0.25**2 + 1 + 1) / 3
    assert Brier()(logits, torch.tensor([0, 1, 1])).item() == pytest.approx((0.32 + 0.125 + 2) / 3, rel=1e-6)
    soft = torch.tensor([[0.6, 0.4], [0.25, 0.75], [0.5, 0.5]])
    assert Brier()(logits, soft).item() == pytest.approx(0.5 / 3, rel=1e-6)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "loss").glob("*.yaml")))
@pytest.mark.parametrize("soft", [False, True])
def test_every_shipped_loss_is_a_mean_that_learns(name: str, soft: bool) -> None:
    loss = instantiate(OmegaConf.load(CONF / "loss" / f"{name}.yaml"), _convert_="all")
    logits = torch.randn(6, 4, requires_grad=True)
    targets: Tensor = torch.rand(6, 4).softmax(1) if soft else torch.randint(0, 4, (6,))
    if name in ("mse", "huber"):  # of numbers
        targets = torch.randn(6, 4)
    whole = loss(logits, targets)
    torch.testing.assert_close(
        whole, torch.stack([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(6)]).mean()
    )
    whole.backward()
    assert logits.grad is not None
    assert logits.grad.all()
    assert loss(logits - 0.1 * logits.grad, targets) < whole


@pytest.mark.parametrize("name", ["cnn", "lstm", "resnet", "vit"])
def test_a_net_for_images_says_so_where_there_are_none(name: str) -> None:
    with pytest.raises(Exception, match=r"takes images, .*of shape \(4,\); choose model=mlp"):
        shipped(name, (4,), 1)  # type: ignore[arg-type]
