"""An exported net is the trained one: in every format, for every model, for batches of any size."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from strobe.commands.export import main
from strobe.config.compose import CONF, composed
from strobe.errors import ConfigError
from strobe.record.layout import FORMATS
from strobe.run.export import ExportError, PixelType, export
from strobe.run.parts import build_data, build_net
from strobe.run.saved import SavedNet, saved_net
from tests.conftest import ROOT, Command, Train
from tests.tasks.modules import Own

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def fresh(model: str) -> SavedNet:
    cfg = composed([f"model={model}"])
    data = build_data(cfg)
    torch.manual_seed(0)
    net = build_net(cfg, data).eval()
    facts = data.dataset
    return SavedNet(net, data.in_shape, facts.mean, facts.std, facts.classes, stored_shape=facts.shape)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_comes_out_as_it_is(tmp_path: Path, model: str, format: str) -> None:
    net = fresh(model)
    path = tmp_path / f"model{FORMATS[format]}"
    exported = export(net, format, path)
    assert exported.inputs == "256 random images"
    assert exported.difference is not None
    assert exported.difference < 1e-4
    assert {file.name for file in tmp_path.iterdir()} == {path.name, f"{path.name}.json"}


def test_what_is_exported_needs_no_strobe(train_tiny: Train, command: Command) -> None:
    run = train_tiny("trainer.max_epochs=1", "model=mlp", "model.norm=batch")
    done = command("export", str(run), PYTHONPATH=f"{ROOT / 'src'}{os.pathsep}{ROOT}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    place, signature, compared = done.stdout.splitlines()
    assert place.startswith(f"{run / 'export' / 'model.onnx'}  (")
    assert signature == "takes images (batch, 1, 28, 28) float32, normalized; gives logits (batch, 10)"
    assert "on 163 test images: the same class for 163, outputs within " in compared, "all that the tiny set has"
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx")
    facts = json.loads((run / "export" / "model.onnx.json").read_text())
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
    monkeypatch.setattr("strobe.run.exported.formats._NEEDS", {"onnx": ("onnx", "no_such_package")})
    net = SavedNet(nn.Flatten(), (1, 4, 4), (0.5,), (0.5,), ("a", "b"))
    with pytest.raises(ConfigError, match=r"needs no_such_package: pip install -e '\.\[onnx\]'"):
        export(net, "onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nowhere"], 2, "is not a run directory"),
        (["RUN", "--checkpoint=none.ckpt"], 1, "does not exist"),
        (["RUN", "--output=/proc/nowhere/model.onnx"], 1, "can't write"),
        (["RUN", "--output=/proc/model.pt2", "--format=torch_export"], 1, "can't write"),
        (["RUN", "--output=/proc"], 2, "is a directory; name a file in it, such as /proc/model.onnx"),
        (["RUN", "--dtype=float32"], 2, "add --raw"),
    ],
)
def test_what_cannot_be_exported_is_said(
    train_tiny: Train, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, word: str
) -> None:
    run = train_tiny("trainer.max_epochs=1") if "RUN" in arguments else Path()
    assert main([str(run) if argument == "RUN" else argument for argument in arguments]) == code
    assert word in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:FutureWarning")
def test_torchscript_of_a_run_loads_without_its_code(train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny("trainer.max_epochs=1")
    capsys.readouterr()
    assert main([str(run), "--format=torchscript"]) == 0
    assert "TorchScript is deprecated" in capsys.readouterr().err
    loaded = torch.jit.load(run / "export" / "model.ts")
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded(images), saved_net(run).net(images))


def called(path: Path, format: str, inputs: torch.Tensor) -> torch.Tensor:
    """What an exported net gives."""
    if format == "onnx":
        session = onnxruntime.InferenceSession(path)
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0])
    net: Any = torch.jit.load(path) if format == "torchscript" else torch.export.load(path).module()
    with torch.no_grad():
        outputs: torch.Tensor = net(inputs)
    return outputs


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:FutureWarning")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_raw_net_takes_pictures_of_0_to_255(tmp_path: Path, format: str, dtype: PixelType) -> None:
    net = fresh("simple_nn")
    path = tmp_path / f"model{FORMATS[format]}"
    exported = export(net, format, path, raw=dtype)
    assert exported.signature.startswith(f"takes images (batch, 1, 28, 28) {dtype}, pictures of 0 to 255")
    for size in (1, 2, 33):
        pixels = torch.randint(0, 256, (size, 1, 28, 28), dtype=torch.uint8)
        with torch.no_grad():
            expected = net.net(net.normalized(pixels))
        torch.testing.assert_close(called(path, format, pixels.to(getattr(torch, dtype))), expected)


def test_a_raw_net_gives_pictures_the_size_and_channels_that_the_trained_one_wants(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.Flatten(), nn.LazyLinear(2))
    layers(torch.zeros(2, 3, 40, 48))
    net = SavedNet(layers.eval(), (3, 40, 48), (0.5,) * 3, (0.2,) * 3, ("a", "b"), stored_shape=(1, 28, 28))
    exported = export(net, "onnx", tmp_path / "model.onnx", raw="uint8")
    assert exported.signature.startswith("takes images (batch, 1, 28, 28) uint8")
    assert exported.agreeing == 256


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_says_what_it_is_and_nothing_of_this_machine(train_tiny: Train, format: str) -> None:
    run = train_tiny("trainer.max_epochs=1", "model=mlp")
    assert main([str(run), f"--format={format}", "--raw", "--checkpoint=last.ckpt"]) == 0
    path = run / "export" / f"model_raw{FORMATS[format]}"
    if format == "onnx":
        told = dict(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map)
    else:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if "/extra/" in name]
            told = {Path(name).name: archive.read(name).decode() for name in names}
    assert json.loads(told["classes"]) == list("0123456789")
    assert (json.loads(told["mean"]), json.loads(told["std"])) == ([0.2], [0.25])
    assert (told["shape"], told["dtype"], told["raw"], told["preparation"]) == ("[1, 28, 28]", "uint8", "true", "null")
    began = json.loads((run / "report.json").read_text())
    assert (told["run"], told["started"], told["checkpoint"]) == (run.name, began["started"], "last.ckpt")
    assert told["strobe_version"] == began["environment"]["strobe"]
    assert told["git_commit"] == (began["environment"]["git_commit"] or "null")
    beside = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert beside["normalization"]["inside"] is True
    assert beside["origin"]["run"] == run.name
    if format != "torchscript":  # which names its source files
        content = io.BytesIO(path.read_bytes())
        parts = [content.getvalue()]
        if format == "torch_export":
            with zipfile.ZipFile(content) as archive:
                parts = [archive.read(name) for name in archive.namelist()]
        assert not any(b"site-packages" in part or str(CONF.parent).encode() in part for part in parts)


def test_without_the_data_the_inputs_are_random_and_that_is_said(
    train_tiny: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = train_tiny("trainer.max_epochs=1")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("tests.tiny.TinyDigits", "tests.elsewhere.Digits"))  # and not signed
    capsys.readouterr()
    assert main([str(run), "--format=torch_export", f"--output={tmp_path / 'net.pt2'}"]) == 0
    assert "on 256 random images: the same class for 256, equal outputs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "signature"),
    [
        (
            ("task=vae", "model=vae"),
            "images (batch, 1, 28, 28) uint8, pictures of 0 to 255; gives outputs (batch, 1, 28",
        ),
        (("task=regression", "model=mlp", "+model.num_classes=1", "loss=mse"), "gives outputs (batch, 1)"),
    ],
)
def test_other_tasks_of_pictures_are_exported_raw(
    train_tiny: Train, capsys: pytest.CaptureFixture[str], chosen: tuple[str, ...], signature: str
) -> None:
    run = train_tiny("trainer.max_epochs=1", *chosen)
    capsys.readouterr()
    assert main([str(run), "--format=torch_export", "--raw"]) == 0
    told = capsys.readouterr().out
    assert signature in told
    assert "on 163 test images: equal outputs" in told


def test_of_a_gan_the_generator_is_exported(train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny("trainer.max_epochs=1", "task=gan")
    capsys.readouterr()
    assert main([str(run), "--raw"]) == 2
    assert "--raw: nothing says how this run's inputs are made of pictures" in capsys.readouterr().err
    assert main([str(run)]) == 0
    told = capsys.readouterr().out
    assert "takes inputs (batch, 64) float32; gives outputs (batch, 1, 28, 28)" in told
    assert "on 256 random inputs: outputs within" in told


class Shown(Own):
    """Shows what goes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = torch.zeros(1, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(x)
        return outputs


class Pair(Shown):
    """Shows two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = torch.zeros(1, 2), torch.zeros(1, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(torch.cat([x, y], dim=1))


def test_a_module_is_exported_by_its_own_example(train_own: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_own(f"{__name__}.Shown", "monitor.metric=null")
    capsys.readouterr()
    assert main([str(run)]) == 0
    told = capsys.readouterr().out
    assert "takes inputs (batch, 4) float32; gives outputs (batch, 1)" in told
    assert "on 256 random inputs" in told
    pair = train_own(f"{__name__}.Pair", "monitor.metric=null")
    capsys.readouterr()
    assert main([str(pair)]) == 2
    assert "Pair takes several inputs, by its example_input_array a tuple of 2" in capsys.readouterr().err


def test_a_neighbour_that_no_export_has_written_is_left_alone(tmp_path: Path) -> None:
    net = SavedNet(nn.Flatten(), (1, 2, 2), (0.5,), (0.5,), tuple("abcd"))
    beside = tmp_path / "package.pt2.json"
    beside.write_text('{"name": "mine"}')
    with pytest.raises(ConfigError, match=r"would replace .*package\.pt2\.json, which no export has written"):
        export(net, "torch_export", tmp_path / "package.pt2")
    assert [file.name for file in tmp_path.iterdir()] == ["package.pt2.json"]
    beside.unlink()
    for _ in range(2):  # what an export has written is replaced
        export(net, "torch_export", tmp_path / "package.pt2")
    export(net, "torchscript", tmp_path / "package.ts")
    assert {file.name for file in tmp_path.glob("*.json")} == {"package.pt2.json", "package.ts.json"}


class NotANumber(nn.Module):
    """Gives NaN, which is near to nothing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * torch.nan


def test_outputs_that_are_no_numbers_are_not_taken_for_equal(tmp_path: Path) -> None:
    net = SavedNet(NotANumber(), (1, 2, 2), (0.5,), (0.5,), tuple("abcd"))
    with pytest.raises(ExportError, match="differs from the trained one by nan"):
        export(net, "torch_export", tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
