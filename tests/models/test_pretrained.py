"""The nets of torchvision: a new head on every family, weights from a file or a server, frozen bodies."""

import shutil
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from strobe.errors import CheckpointError, ConfigError
from strobe.models.pretrained import TorchvisionNet
from strobe.models.unread import without_pretrained_weights
from tests.record.test_initial import prefixed

SMALL = "squeezenet1_1"
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
NAMES = models.list_models(module=models)


def build(name: str = SMALL, *, shape: tuple[int, int, int] = (3, 32, 32), **more: Any) -> TorchvisionNet:
    return TorchvisionNet(in_shape=shape, num_classes=7, name=name, **more)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as torchvision publishes one: of a small net for 1000 classes, with its norms' statistics moved."""
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.manual_seed(1)
    net = models.mobilenet_v3_small(weights=None)
    net(torch.rand(4, 3, 32, 32))
    torch.save(net.state_dict(), path)
    return path, net.state_dict()


def families() -> list[str]:
    """Every net that the meta device can build, and the smallest two of the family that it can't."""
    return [name for name in NAMES if not name.startswith("regnet") or name.endswith("_400mf")]


@pytest.mark.parametrize("name", families())
def test_every_net_of_torchvision_gets_a_head_for_the_classes(name: str) -> None:
    side = models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    device = "cpu" if name.startswith("regnet") else "meta"
    with torch.device(device):
        net = TorchvisionNet(in_shape=(3, side, side), num_classes=7, name=name, freeze=True).to("meta")
        assert net(torch.rand(2, 3, side, side, device="meta")).shape == (2, 7)
    trained = {key for key, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {f"body.{net.head}.{key}" for key, _ in net.body.get_submodule(net.head).named_parameters()}
    assert not [key for key in net.state_dict() if "aux" in key.lower()]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((SMALL, (3, 32, 32)), (SMALL, (1, 28, 28)), ("resnet18", (1, 28, 28)), ("mobilenet_v3_small", (3, 9, 5))),
        *(("vit_b_16", (1, 32, 32)), ("swin_t", (3, 32, 32)), ("googlenet", (1, 28, 28))),
    ],
)
def test_gray_and_small_images_go_through(name: str, shape: tuple[int, int, int]) -> None:
    with warnings.catch_warnings(action="error"):
        net = build(name, shape=shape)
    assert net.wants is None
    with torch.no_grad():
        assert net(torch.rand(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet19"}, "no such net for classification; nearest are resnet1"),
        ({"name": "fasterrcnn_resnet50_fpn"}, "nearest are"),
        ({"name": "xyz"}, "it has alexnet"),
        ({"weights": "IMAGENET1K_V9"}, "squeezenet1_1 has IMAGENET1K_V1, DEFAULT; or give a file"),
        ({"name": "alexnet"}, "images of 32x32 are too small, it takes 63x63 or larger; choose model.size=63 or more"),
        ({"name": "vit_b_16", "size": 30}, "takes no images of 30x30 .*choose model.size=224"),
        ({"name": "vit_b_16", "shape": (3, 16, 32)}, "takes square images"),
        ({"name": "maxvit_t", "size": 100}, "takes no images of 100x100"),
        ({"shape": (4, 32, 32)}, "4 channels"),
        ({"normalize": "imagenet"}, "must be weights or dataset"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(**arguments)


@pytest.mark.parametrize("prefix", ["", "net.body.", "module."])
def test_all_but_the_head_comes_from_a_file(
    small: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, prefix: str
) -> None:
    torch.save(prefixed(prefix, small[1]), tmp_path / "file.pt")
    net = build("mobilenet_v3_small", weights=str(tmp_path / "file.pt"))
    state = net.body.state_dict()
    assert net.head == "classifier.3"
    assert state["classifier.3.weight"].shape[0] == 7
    for key, value in small[1].items():
        if not key.startswith(net.head) and not key.endswith("num_batches_tracked"):
            assert torch.equal(state[key], value), key


def test_the_head_is_new_also_where_the_files_would_fit(tmp_path: Path) -> None:
    source = build()
    torch.save(source.state_dict(), tmp_path / "file.pt")
    net = build(weights=str(tmp_path / "file.pt"))
    assert torch.equal(net.body.features[0].weight, source.body.features[0].weight)
    assert not torch.equal(net.body.classifier[1].weight, source.body.classifier[1].weight)


def test_weights_of_another_net_are_refused(small: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none does"):
        build(weights=str(small[0]))
    deeper = models.resnet34(weights=None).state_dict()
    torch.save({key: value for key, value in deeper.items() if value.numel() < 1e6}, tmp_path / "deeper.pt")
    with pytest.raises(CheckpointError, match=r"is not of resnet18: .*the model lacks layer1\.2\.conv1\.weight"):
        build("resnet18", weights=str(tmp_path / "deeper.pt"))
    with pytest.raises(CheckpointError, match="does not exist"):
        build(weights="nowhere/file.pt")


def test_published_names_of_densenets_and_positions_of_transformers_are_fitted(tmp_path: Path) -> None:
    net = models.densenet121(weights=None, num_classes=2)
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv1.", ".conv.1.").replace(".norm2.", ".norm.2."): value
        for key, value in net.state_dict().items()
    }
    torch.save(old, tmp_path / "old.pth")
    built = build("densenet121", weights=str(tmp_path / "old.pth"))
    wanted = "features.denseblock4.denselayer16.norm2.running_var"
    assert torch.equal(built.body.state_dict()[wanted], net.state_dict()[wanted])

    with torch.device("meta"):
        transformer = models.vit_b_32(weights=None)
    empty = {key: torch.zeros(value.shape) for key, value in transformer.state_dict().items()}
    torch.save(empty, tmp_path / "vit.pth")
    built = build("vit_b_32", weights=str(tmp_path / "vit.pth"), size=96)
    assert built.body.encoder.pos_embedding.shape[1] == 3 * 3 + 1
    assert not built.body.encoder.pos_embedding.any()


@pytest.mark.parametrize("freeze", [True, False])
def test_a_frozen_body_does_not_move_but_its_head_does(small: tuple[Path, Any], freeze: bool) -> None:
    net = build("mobilenet_v3_small", weights=str(small[0]), freeze=freeze)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in net.parameters() if each.requires_grad], lr=0.1, weight_decay=0.1)
    nn.functional.cross_entropy(net(torch.rand(4, 3, 32, 32)), torch.arange(4)).backward()
    optimizer.step()
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    head = {f"body.{net.head}.weight", f"body.{net.head}.bias"}
    assert moved == head if freeze else moved > head


def test_freezing_changes_neither_keys_nor_outputs_and_nothing_that_a_trainer_looks_at(
    small: tuple[Path, Any],
) -> None:
    frozen, free = (build("mobilenet_v3_small", weights=str(small[0]), freeze=freeze) for freeze in (True, False))
    assert list(frozen.state_dict()) == list(free.state_dict())
    assert [name for name, _ in frozen.named_parameters()] == [name for name, _ in free.named_parameters()]
    assert all(module.training for module in frozen.modules()), "Lightning warns of others"
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(frozen)
    assert not [module for module in converted.modules() if isinstance(module, nn.SyncBatchNorm)]
    free.load_state_dict(frozen.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(frozen.eval()(images), free.eval()(images))


def test_a_net_wants_its_images_as_its_weights_had_them(small: tuple[Path, Any]) -> None:
    mean, std = IMAGENET
    path = {"weights": str(small[0]), "name": "mobilenet_v3_small"}
    assert build(**path).wants == {"mean": mean, "std": std, "size": [224, 224]}
    assert build(**path, size=64).wants == {"mean": mean, "std": std, "size": [64, 64]}
    assert build(**path, normalize="dataset").wants == {"mean": None, "std": None, "size": [224, 224]}
    assert build(size=64).wants == {"mean": None, "std": None, "size": [64, 64]}
    with without_pretrained_weights():
        swag = build("vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1")
        assert swag.wants is not None
        assert swag.wants["size"] == [384, 384]
        small_images = build("efficientnet_v2_l", weights="DEFAULT", size=64)
        assert small_images.wants == {"mean": [0.5] * 3, "std": [0.5] * 3, "size": [64, 64]}


def test_a_net_is_rebuilt_without_its_pretrained_weights_and_computes_the_same(tmp_path: Path) -> None:
    torch.save(models.googlenet(weights=None, init_weights=True).state_dict(), tmp_path / "google.pth")
    arguments: dict[str, Any] = {"name": "googlenet", "weights": str(tmp_path / "google.pth"), "size": 32}
    net = build(**arguments).eval()
    (tmp_path / "google.pth").unlink()
    with without_pretrained_weights():
        rebuilt = build(**arguments, shape=(3, 32, 32)).eval()
    rebuilt.load_state_dict(net.state_dict())
    assert rebuilt.wants == net.wants
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(rebuilt(images), net(images))
    # Its weights were trained on images of another normalization, to which it turns those of ImageNet's.
    assert rebuilt.body.transform_input
    assert not build("googlenet").body.transform_input
    with pytest.raises(CheckpointError, match="does not exist"):
        build(**arguments)


def test_published_weights_are_fetched_once(
    small: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def fetch(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
        fetched.append((url, hash_prefix, progress))
        shutil.copyfile(small[0], dst)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        net = build("mobilenet_v3_small", weights="DEFAULT")
        assert torch.equal(net.body.state_dict()["features.0.0.weight"], small[1]["features.0.0.weight"])
    assert fetched == [("https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth", "047dcff4", False)]


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("no route"), RuntimeError('invalid hash value (expected "047dcff4")'), TimeoutError("slow")],
)
def test_weights_that_can_not_be_fetched_are_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fetch(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(
        CheckpointError, match=r"can't be fetched \(.*put it at .*047dcff4\.pth or give model\.weights="
    ):
        build("mobilenet_v3_small", weights="IMAGENET1K_V1")
    with without_pretrained_weights():
        build("mobilenet_v3_small", weights="IMAGENET1K_V1")
