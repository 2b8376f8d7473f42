"""The program on the page about exporting names a drawn digit, with onnxruntime and Pillow alone."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from strobe.data.idx import MNIST
from strobe.data.picture import decoded
from strobe.data.preparation import centred_digit
from strobe.run.export import export
from strobe.run.exported.prepared import CentredDigit
from strobe.run.saved import SavedNet
from tests.conftest import ROOT
from tests.digits import digits

PAGE = (ROOT / "docs" / "exporting.md").read_text()
BLOCKED = ("torch", "strobe", "lightning", "torchvision")


def drawn(digit: int, *, ink: int = 30, paper: int = 250, place: tuple[int, int] = (60, 40)) -> Image.Image:
    picture = Image.new("L", (300, 280), paper)
    ImageDraw.Draw(picture).text(place, str(digit), fill=ink, font=ImageFont.load_default(170), stroke_width=4)
    return picture


@pytest.fixture(scope="module")
def net() -> SavedNet:
    """Names the digit whose drawing, prepared as MNIST's were, is the nearest: it needs no training."""
    pixels = torch.stack([torch.from_numpy(centred_digit(drawn(digit)))[None] for digit in range(10)])
    templates = ((pixels / 255 - MNIST.mean[0]) / MNIST.std[0]).flatten(1)
    nearest = nn.Linear(28 * 28, 10)
    nearest.weight.data, nearest.bias.data = templates, -templates.square().sum(dim=1) / 2
    layers = nn.Sequential(nn.Flatten(), nearest)
    shape = MNIST.shape
    return SavedNet(
        layers, shape, MNIST.mean, MNIST.std, MNIST.classes, stored_shape=shape, preparation=MNIST.preparation
    )


def test_a_graph_prepares_pictures_as_predict_does(net: SavedNet, tmp_path: Path) -> None:
    """The same ink in the same place, whatever the paper, the light and the pen were."""
    prepare = CentredDigit()
    off = []
    for digit in digits(tmp_path / "drawn", seed=3, each=1):
        with decoded(digit.path) as picture:
            gray = picture.convert("L")
        with torch.no_grad():
            prepared = prepare(torch.tensor(np.array(gray, dtype=np.float32))[None, None])
        off.append(float((prepared - torch.from_numpy(centred_digit(gray))).abs().mean()))
    assert np.median(off) < 6, "of 255 levels"
    assert max(off) < 30
    image = torch.from_numpy(centred_digit(drawn(5)))[None, None].float()
    assert torch.equal(prepare(image), image), "one that is published passes as it is"
    assert torch.equal(prepare(255 - image), image), "dark on light too"
    assert not prepare(torch.full((1, 1, 90, 60), 200.0)).any(), "nothing is on it"


@pytest.mark.slow
def test_the_program_on_the_page_names_drawn_digits(net: SavedNet, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n# digit.py\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    assert max(map(len, code.splitlines())) <= 130
    (tmp_path / "digit.py").write_text(code)
    exported = export(net, "onnx", tmp_path / "net.onnx", raw="uint8")
    assert exported.signature.startswith("takes images (batch, 1, height, width) uint8, pictures of 0 to 255")
    assert exported.agreeing == 256
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert session.get_modelmeta().custom_metadata_map["preparation"] == "inside"
    pictures = np.stack([np.asarray(drawn(digit, place=(10 * digit, 60)))[None] for digit in range(10)])
    named = session.run(None, {"images": pictures})[0].argmax(axis=1)
    assert sum(named == np.arange(10)) >= 9, "a batch; to this net one pixel aside is another digit"
    drawn(7, place=(150, 90)).save(tmp_path / "7.png")
    drawn(3, ink=255, paper=0, place=(20, 10)).convert("RGB").save(tmp_path / "3.png")
    # One process for both pictures; with None in their place, an import of these is an ImportError.
    script = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({BLOCKED}))\n"
        "for name in ('7.png', '3.png'):\n"
        "    sys.argv = ['digit.py', 'net.onnx', name]; runpy.run_path('digit.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["7", "3"]


def test_the_page_fits_on_a_page_and_names_every_format() -> None:
    assert len(PAGE.splitlines()) <= 100
    assert all(f"`{format}` |" in PAGE for format in ("onnx", "torch_export", "torchscript"))
