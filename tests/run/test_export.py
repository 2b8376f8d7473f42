"""An exported net is the trained one: in every format, for every model, for batches of any size."""

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from strobe.commands.export import main
from strobe.config.compose import CONF, composed
from strobe.errors import ConfigError
from strobe.record.layout import FORMATS
from strobe.run.export import ExportError, export
from strobe.run.parts import build_data, build_net
from strobe.run.saved import SavedNet, saved_net
from tests.conftest import Command, Train

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def fresh(model: str) -> SavedNet:
    cfg = composed([f"model={model}"])
    data = build_data(cfg)
    net = build_net(cfg, data).eval()
    facts = data.dataset
    return SavedNet(net, data.in_shape, facts.mean, facts.std, facts.classes)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_comes_out_as_it_is(tmp_path: Path, model: str, format: str) -> None:
    net = fresh(model)
    path = tmp_path / f"model{FORMATS[format]}"
    difference = export(net, format, path)
    assert difference is not None
    assert difference < 1e-4
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "model.json"}


def test_what_is_exported_needs_no_strobe(train_tiny: Train, command: Command) -> None:
    run = train_tiny("trainer.max_epochs=1", "model=mlp", "model.norm=batch")
    done = command("export", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "export/model.onnx" in done.stdout
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx")
    facts = json.loads((run / "export" / "model.json").read_text())
    assert facts["input"] == {"name": "images", "shape": ["batch", 1, 28, 28], "dtype": "float32"}
    assert facts["classes"] == list("0123456789")
    assert facts["preparation"] is None
    net = saved_net(run)
    for size in (1, 2, 33):
        images = torch.rand(size, 1, 28, 28)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net.net(images), rtol=1e-4, atol=1e-5)


class Undecided(nn.Module):
    """Does something else for other batches than the one it was traced with."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = images.flatten(1)[:, :10]
        return logits if len(images) > 1 else -logits


def test_a_net_that_comes_out_as_another_is_not_left_behind(tmp_path: Path) -> None:
    net = SavedNet(Undecided(), (1, 4, 4), (0.5,), (0.5,), tuple("0123456789"))
    with pytest.raises(ExportError, match="differs from the trained one"):
        export(net, "torchscript", tmp_path / "model.ts")
    with pytest.raises(ExportError, match="can't express this net"):
        export(net, "torch_export", tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strobe.run.export._NEEDS", {"onnx": ("onnx", "no_such_package")})
    net = SavedNet(nn.Flatten(), (1, 4, 4), (0.5,), (0.5,), ("a", "b"))
    with pytest.raises(ConfigError, match=r"needs no_such_package: pip install -e '\.\[onnx\]'"):
        export(net, "onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nowhere"], 2, "is not a run directory"),
        (["RUN", "--checkpoint=none.ckpt"], 1, "does not exist"),
        (["RUN", "--output=/proc/nowhere/model.onnx"], 1, "can't write"),
    ],
)
def test_what_cannot_be_exported_is_said(
    train_tiny: Train, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, word: str
) -> None:
    run = train_tiny("trainer.max_epochs=1") if "RUN" in arguments else Path()
    assert main([str(run) if argument == "RUN" else argument for argument in arguments]) == code
    assert word in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:FutureWarning")
def test_torchscript_of_a_run_loads_without_its_code(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_epochs=1")
    assert main([str(run), "--format=torchscript"]) == 0
    loaded = torch.jit.load(run / "export" / "model.ts")
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded(images), saved_net(run).net(images))
