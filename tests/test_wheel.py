"""The wheel, as a person installs it: beside a project of their own, with its own `src` and `conf`."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is taken from this one, where Strobe is a checkout's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", f"--target={site}", wheel]
    subprocess.run(install, check=True)
    # A path in a .pth file is not itself looked through for .pth files: the checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has what the usual template has."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").touch()
    (tmp_path / "src" / "train.py").write_text("print('the training of this project')\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "train.yaml").write_text("not: ours\n")
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: src.net.Net\n")
    (tmp_path / "src" / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, *, in_shape, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, num_classes))\n"
    )
    return tmp_path


def strobe(environment: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `strobe <arguments>` does in the project."""
    script = "import sys; from strobe.cli import script; sys.exit(script())"  # as the installed script says it
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [environment, "-c", script, *arguments], cwd=project, env=variables, capture_output=True, text=True, check=False
    )


def test_nothing_but_strobe_and_its_plugins_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"strobe", "hydra_plugins"}
    assert {"/".join(name.split("/")[:2]) for name in names if name.startswith("hydra_plugins/")} == {
        "hydra_plugins/strobe"
    }
    shipped = {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml")}
    assert {name.removeprefix("strobe/conf/") for name in names if name.startswith("strobe/conf/")} == shipped
    assert "[console_scripts]\nstrobe = strobe.cli:script" in (
        zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    )


@pytest.mark.mnist
def test_it_trains_mnist_beside_a_project_with_the_same_folders(environment: Path, project: Path) -> None:
    mine = subprocess.run([environment, "-m", "src.train"], cwd=project, capture_output=True, text=True, check=True)
    assert mine.stdout == "the training of this project\n"
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=300", "hydra.run.dir=run"]
    done = strobe(environment, project, "train", *short)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "strobe evaluate run" in done.stdout
    report = json.loads((project / "run" / "report.json").read_text())
    assert report["metrics"]["test/acc"] > 0.85
    assert report["environment"]["command"].startswith("strobe train trainer.max_epochs=1 ")
    again = strobe(environment, project, "evaluate", "run", "--json")
    assert json.loads(again.stdout)["test/acc"] == report["metrics"]["test/acc"]


@pytest.mark.mnist
def test_a_sweep_over_a_model_of_the_project_runs(environment: Path, project: Path) -> None:
    short = [
        "--config-dir=conf",
        "model=mine",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=50",
        "sweep.name=s",
    ]
    done = strobe(environment, project, "train", "-m", *short, "seed=1,2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 completed" in done.stdout


def test_the_doctor_looks_at_what_is_installed(environment: Path, project: Path) -> None:
    done = strobe(environment, project, "doctor", f"--root={project}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     packages" in done.stdout
    assert done.stdout.endswith("All is well: strobe train\n")


def test_the_versions_and_commands_are_told_without_torch(environment: Path, project: Path) -> None:
    versions = strobe(environment, project, "--version").stdout
    assert [line.split()[0] for line in versions.splitlines()] == ["strobe", "torch", "lightning", "hydra-core"]
    assert re.search("train +train one model", strobe(environment, project, "--help").stdout)
    wrong = strobe(environment, project, "trian")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean strobe train?" in wrong.stderr
