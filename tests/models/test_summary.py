"""The model summary: every model, and numbers that a formula confirms."""

import re
from pathlib import Path

import pytest
from torch import nn

from strobe.commands.summary import main
from strobe.config.compose import CONF, composed
from strobe.models.inspection import count_parameters, layers, operations
from strobe.run.parts import build_data, build_net
from tests.conftest import Command

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def net_of(*overrides: str) -> tuple[nn.Module, tuple[int, int, int]]:
    cfg = composed(overrides)
    data = build_data(cfg)
    return build_net(cfg, data), data.in_shape


def rows(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in table.splitlines() if line]


def test_the_table_has_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    head, *body = rows(capsys.readouterr().out)
    assert head == ["model", "input", "parameters", "MFLOPs per image"]
    assert [row[0] for row in body] == MODELS
    assert all(row[1] == "1x28x28" and float(row[3]) > 0 for row in body)
    assert ["simple_nn", "1x28x28", "101,770", "0.20"] in body


def test_the_table_follows_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data=cifar100"]) == 0
    _, *body = rows(capsys.readouterr().out)
    assert {row[1] for row in body} == {"3x32x32"}
    assert ["simple_nn", "3x32x32", f"{3072 * 128 + 128 + 128 * 100 + 100:,}"] in [row[:3] for row in body]


def vit_operations() -> int:
    tokens, dim, hidden = 49, 64, 128
    attention = 2 * tokens * dim * 4 * dim + 2 * (2 * tokens * tokens * dim)
    return 2 * tokens * 16 * dim + 4 * (attention + 2 * 2 * tokens * dim * hidden) + 2 * dim * 10


FORMULAS = {
    ("model=simple_nn",): 2 * (784 * 128 + 128 * 10),
    ("model=mlp",): 2 * (784 * 256 + 256 * 256 + 256 * 10),
    ("model=lstm",): 28 * 2 * 4 * 128 * (28 + 128) + 2 * 128 * 10,
    ("model=lstm", "model.cell=gru"): 28 * 2 * 3 * 128 * (28 + 128) + 2 * 128 * 10,
    ("model=lstm", "model.bidirectional=true"): 2 * 28 * 2 * 4 * 128 * (28 + 128) + 2 * 256 * 10,
    ("model=lstm", "model.layers=2"): 28 * 2 * 4 * 128 * (28 + 128 + 128 + 128) + 2 * 128 * 10,
    ("model=vit",): vit_operations(),
}


@pytest.mark.parametrize("overrides", FORMULAS, ids=" ".join)
def test_operations_are_those_of_the_formula(overrides: tuple[str, ...]) -> None:
    assert operations(*net_of(*overrides)) == FORMULAS[overrides]


@pytest.mark.parametrize("model", MODELS)
def test_the_layers_hold_all_parameters(model: str) -> None:
    net, shape = net_of(f"model={model}")
    found = layers(net, shape)
    assert sum(count for _, _, _, count in found) == count_parameters(net)
    assert found[-1][2] == "(1, 10)" or model in ("vit", "vae")


def test_looking_at_a_net_leaves_no_hook_behind() -> None:
    net, shape = net_of()
    layers(net, shape)
    operations(net, shape)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_model_is_shown_layer_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model=mlp", "model.hidden=[20,30]"]) == 0
    text = capsys.readouterr().out
    head, *body = rows(text)
    assert head == ["layer", "kind", "output", "parameters"]
    linear = [row[2:] for row in body if len(row) == 4 and row[1] == "Linear"]
    assert linear == [["(1, 20)", "15,700"], ["(1, 30)", "630"], ["(1, 10)", "310"]]
    assert text.splitlines()[-1] == f"{15700 + 630 + 310:,} parameters, 0.03 MFLOPs per image"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=nope"], "model=nope: no such option; there are: cnn"),
        (["model=mlp", "model.hiden=[1]"], "model.hiden"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be"),
        (["model=vit", "model.patch=5"], "model.patch=5 does not divide 28x28"),
    ],
)
def test_a_mistake_is_explained(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "strobe summary [model=" in capsys.readouterr().out


def test_a_project_s_own_configs_are_summed_up(command: Command, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "tiny_mlp.yaml").write_text("defaults: [mlp]\nhidden: [3]\n")
    done = command("summary", f"--config-dir={tmp_path / 'own'}", "model=tiny_mlp")
    assert done.returncode == 0, done.stderr
    assert "2,395 parameters" in done.stdout
    done = command("summary", "--config-dir", str(tmp_path / "other"), "model=mlp")
    assert done.returncode == 2
    assert "there is no such directory" in done.stderr
