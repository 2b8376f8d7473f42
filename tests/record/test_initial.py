"""Weights to begin from: found under any prefix, read from anywhere, and never loaded by half without a word."""

import importlib.util
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from strobe.errors import CheckpointError, ConfigError
from strobe.record.initial import initial_state, load_into, matches
from tests.conftest import Train

PATH = Path("weights.pt")  # for messages


def net(outputs: int = 3) -> nn.Module:
    """Layers with weights, and a norm with buffers."""
    torch.manual_seed(outputs)
    layers = {"conv": nn.Conv2d(1, 4, 3), "norm": nn.BatchNorm2d(4), "flat": nn.Flatten(), "fc": nn.Linear(16, outputs)}
    made = nn.Sequential(OrderedDict(layers))
    made(torch.rand(8, 1, 4, 4))  # moves the running statistics
    return made


class Task(nn.Module):
    """A net within something that has weights of its own."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.net = net(outputs)
        self.loss = nn.Linear(2, 2)


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def other(outputs: int = 3) -> nn.Module:
    """A net of other weights."""
    made = net(outputs)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.add_(1)
    return made


@pytest.mark.parametrize("prefix", ["", "net.", "model.", "module.", "module.model.", "_orig_mod.", "net.body."])
def test_weights_fit_whatever_stands_before_their_names(prefix: str) -> None:
    source, alone, task = other(), net(), Task()
    state = prefixed(prefix, source.state_dict())
    loaded = load_into(alone, state, PATH)
    assert same(alone.state_dict(), source.state_dict()), "buffers too"
    assert (loaded.loaded, loaded.missing, loaded.unexpected, loaded.mismatched) == (8, [], [], [])
    assert loaded.misfits() == []
    before = task.loss.weight.clone()
    load_into(task, state, PATH)
    assert same(task.net.state_dict(), source.state_dict())
    assert torch.equal(task.loss.weight, before)


def test_what_lies_outside_of_the_net_in_the_file_is_left_alone_and_whole_tasks_are_compared_whole() -> None:
    source, alone = Task(), other()
    load_into(alone, source.state_dict(), PATH)
    assert same(alone.state_dict(), source.net.state_dict())
    task = Task()
    load_into(task, source.state_dict(), PATH)
    assert same(task.state_dict(), source.state_dict())
    less = {key: value for key, value in source.state_dict().items() if key != "loss.bias"}
    with pytest.raises(CheckpointError, match=r"the file lacks loss\.bias"):
        load_into(task, less, PATH)


def test_a_new_head_keeps_its_weights_where_the_files_does_not_fit() -> None:
    source, into = other(outputs=5), net(outputs=3)
    head = into.fc.weight.clone()
    loaded = load_into(into, source.state_dict(), PATH, strict=False)
    assert loaded.mismatched == [("fc.weight", (5, 16), (3, 16)), ("fc.bias", (5,), (3,))]
    assert loaded.loaded == 6
    assert torch.equal(into.fc.weight, head)
    assert torch.equal(into.conv.weight, source.conv.weight)


def test_what_does_not_fit_is_listed_shortly_with_the_way_on() -> None:
    state = dict(net(outputs=5).state_dict())
    del state["conv.bias"]
    state |= {f"extra{number}": torch.zeros(1) for number in range(9)}
    with pytest.raises(CheckpointError) as caught:
        load_into(net(), state, PATH)
    message = str(caught.value)
    assert "the file lacks conv.bias" in message
    assert "the model lacks extra0, extra1, extra2, extra3, extra4 and 4 more" in message
    assert "fc.weight is (5, 16) in the file, (3, 16) in the model" in message
    assert "init_strict=false" in message


@pytest.mark.parametrize(("strict", "fits"), [(["conv.*"], True), ("net.norm.*", True), (["conv.*", "fc.*"], False)])
def test_only_what_a_pattern_names_has_to_fit(strict: str | list[str], fits: bool) -> None:
    state = prefixed("net.", net(outputs=5).state_dict())
    if fits:
        assert load_into(Task(), state, PATH, strict=strict).mismatched
        return
    with pytest.raises(CheckpointError, match=r"fc\.weight is \(5, 16\)"):
        load_into(Task(), state, PATH, strict=strict)


def test_a_pattern_that_names_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"init_strict: cnov.\* matches no weight"):
        load_into(net(), net().state_dict(), PATH, strict=["cnov.*"])


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_which_none_fits_are_refused(strict: bool) -> None:
    # The one number of both is no weight.
    state = {"layer.weight": torch.zeros(3, 3), "norm.num_batches_tracked": torch.tensor(1)}
    with pytest.raises(CheckpointError, match=r"none does; its keys are like layer\.weight"):
        load_into(net(), state, PATH, strict=strict)


@pytest.mark.parametrize("key", ["fc.weight", "norm.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(key: str, value: float) -> None:
    state = net().state_dict()
    state[key].view(-1)[1] = value
    with pytest.raises(CheckpointError, match=f"NaN or infinity: {key}"):
        load_into(net(), state, PATH, strict=False)


def test_the_count_of_batches_that_older_files_lack_is_not_missed() -> None:
    source = other()
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("tracked")}
    load_into(net(), state, PATH)
    state = source.state_dict()  # with torch's notes, from which it knows that there should be one
    del state["norm.num_batches_tracked"]
    load_into(net(), state, PATH)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_of_older_files_are_those_that_torchvision_knows(tmp_path: Path, prefix: str) -> None:
    def vit() -> VisionTransformer:
        return VisionTransformer(8, 4, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=8)

    source, into = vit(), vit()
    state = source.state_dict()
    old = type(state)(
        (prefix + key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"), value)
        for key, value in state.items()
    )
    torch.save(old, tmp_path / "old.pth")
    load_into(into, initial_state(tmp_path / "old.pth"), PATH)
    assert same(into.state_dict(), source.state_dict())


def test_a_run_its_checkpoints_and_plain_files_are_read(train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny("trainer.max_epochs=1", "trainer.limit_train_batches=2")
    state = initial_state(run)
    assert same(state, initial_state(run / "checkpoints" / "best.ckpt"))
    assert all(key.startswith("net.") for key in state)
    torch.save(dict(state), tmp_path / "plain.pt")
    assert same(state, initial_state(tmp_path / "plain.pt"))
    (run / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"has no checkpoints/best\.ckpt"):
        initial_state(run)


@pytest.mark.parametrize("around", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_other_projects_are_read(tmp_path: Path, around: str | None, zipped: bool) -> None:
    state = net().state_dict()
    whole = state if around is None else {"epoch": 3, "lr": [0.1], around: {**state, "version": 7}}
    torch.save(whole, tmp_path / "file.pth", _use_new_zipfile_serialization=zipped)
    assert same(initial_state(tmp_path / "file.pth"), state)


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": net().state_dict(), "x": Trap()}, "evil.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="plain tensors"):
        initial_state(tmp_path / "evil.pt")
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "does not exist"),
        ("a directory", "no run directory"),
        ("empty", "plain tensors"),
        ("html", "plain tensors"),
        ("cut short", "cut short"),
        ("a pickle", "plain tensors"),
        ("a list", "it is a list"),
        ("numbers", "holds no weights"),
        ("a pipe", "no regular file"),
    ],
)
def test_a_place_without_weights_is_refused_in_a_line(tmp_path: Path, how: str, words: str) -> None:
    path = tmp_path / "file.pt"
    match how:
        case "a directory":
            path.mkdir()
        case "empty":
            path.touch()
        case "html":
            path.write_text("<!DOCTYPE html>")
        case "cut short":
            torch.save(net().state_dict(), path)
            path.write_bytes(path.read_bytes()[:2000])
        case "a pickle":
            path.write_bytes(pickle.dumps({"state_dict": {}}, protocol=2))
        case "a list":
            torch.save([torch.zeros(1)], path)
        case "numbers":
            torch.save({"lr": 0.1, 3: torch.zeros(1)}, path)
        case "a pipe":
            os.mkfifo(path)
    with pytest.raises(CheckpointError, match=words) as caught:
        initial_state(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_safetensors_are_read_where_the_package_is_and_asked_for_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(CheckpointError, match="does not exist"):
        initial_state(path)
    path.write_bytes(b"no such file")
    if importlib.util.find_spec("safetensors") is not None:
        with pytest.raises(CheckpointError, match="can't be read"):
            initial_state(path)
        importlib.import_module("safetensors.torch").save_file(net().state_dict(), path)
        assert same(initial_state(path), net().state_dict())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        initial_state(path)


@pytest.mark.parametrize(
    ("name", "pattern", "matched"),
    [
        ("net.body.layer4.0.conv1.weight", "layer4.*", True),
        ("net.body.layer4.0.conv1.weight", "body.layer4.*", True),
        ("net.body.layer4.0.conv1.weight", "net.*.weight", True),
        ("net.body.layer4.0.conv1.weight", "conv1.*", False),
        ("net.fc.bias", "*.bias", True),
        ("net.fc.bias", "FC.*", False),
        ("net", "net", True),
    ],
)
def test_a_pattern_matches_a_name_with_or_without_what_stands_before_it(name: str, pattern: str, matched: bool) -> None:
    assert matches(name, [pattern]) is matched
