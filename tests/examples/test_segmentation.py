"""A project of the user's own, `examples/segmentation`, through the command line of an installed Strobe."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, report

SHORT = (
    *("experiment=segmentation", "trainer=cpu", "trainer.max_epochs=2", "trainer.enable_progress_bar=false"),
    *("data.train_size=96", "data.val_size=32", "data.test_size=40", "data.batch_size=16"),
)

STOP = """
import os, signal
from lightning.pytorch import Callback

class Stop(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 8:  # the second of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
"""

Strobe = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, and beside its package a callback that sends SIGTERM."""
    copy = tmp_path_factory.mktemp("user") / "segmentation"
    shutil.copytree(
        ROOT / "examples" / "segmentation", copy, ignore=shutil.ignore_patterns("__pycache__", "outputs", ".*")
    )
    (copy / "stopping.py").write_text(STOP)
    return copy


@pytest.fixture(scope="module")
def strobe(project: Path) -> Strobe:
    """Run `strobe <arguments>` in the project, as a person would."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            [sys.executable, "-m", "strobe", *arguments],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    return run


@pytest.fixture(scope="module")
def trained(project: Path, strobe: Strobe) -> Path:
    """A run that nothing disturbed."""
    strobe("train", "--config-dir", "conf", *SHORT, "hydra.run.dir=whole")
    return project / "whole"


def measured(run: Path) -> dict[str, float]:
    """What the run's own test gave."""
    return {name: value for name, value in report(run)["metrics"].items() if name.startswith("test/")}


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_a_segmentation_net_trains(trained: Path) -> None:
    written = report(trained)
    assert written["status"] == "completed"
    assert written["best"]["metric"] == "val/iou"
    assert written["best"]["mode"] == "max"
    assert {"test/loss", "test/iou", "test/iou_circle", "test/pixel_acc"} <= set(measured(trained))
    assert not any("both" in name or "either" in name for name in measured(trained))
    first, last = rows(trained)
    assert float(last["train/loss"]) < float(first["train/loss"])


def test_a_run_stopped_within_an_epoch_goes_on_as_if_it_had_not_been(
    project: Path, trained: Path, strobe: Strobe
) -> None:
    """The flips are drawn from torch's generator, and count as much as the order of the pictures."""
    stop = "+callbacks.stop._target_=stopping.Stop"
    strobe("train", "--config-dir", "conf", *SHORT, stop, "hydra.run.dir=stopped", code=143)
    stopped = project / "stopped"
    assert report(stopped)["status"] == "preempted"
    assert len(rows(stopped)) == 1
    strobe("train", "resume=stopped")
    assert rows(stopped) == rows(trained)
    assert measured(stopped) == measured(trained)


def test_a_run_is_evaluated_with_its_own_numbers(trained: Path, strobe: Strobe) -> None:
    evaluated = json.loads(strobe("evaluate", "whole", "--json").stdout)
    assert evaluated == pytest.approx(measured(trained), rel=1e-6)


def test_a_net_is_exported_for_pictures_in_batches_of_any_size(trained: Path, strobe: Strobe) -> None:
    strobe("export", "whole", "--format", "torch_export")
    net = torch.export.load(trained / "export" / "model.pt2").module()
    assert net(torch.zeros(3, 1, 32, 32)).shape == (3, 4, 32, 32)
    told = json.loads((trained / "export" / "model.pt2.json").read_text())
    assert told["input"]["shape"] == ["batch", 1, 32, 32]
    assert told["output"]["shape"] == ["batch", 4, 32, 32]


@pytest.mark.slow
def test_seeds_are_swept_and_reported(project: Path, trained: Path, strobe: Strobe) -> None:
    strobe("train", "--config-dir", "conf", "-m", *SHORT, "seed=1,2", "sweep.name=seeds")
    sweep = project / "outputs" / "sweeps" / "seeds"
    reports = [report(path.parent) for path in sorted(sweep.glob("*/report.json"))]
    assert [each["status"] for each in reports] == ["completed", "completed"]
    found = [measured(path.parent)["test/iou"] for path in sorted(sweep.glob("*/report.json"))]
    assert [each == measured(trained)["test/iou"] for each in found] == [True, False], "seed=1 is that of a single run"
    told = strobe("report", str(sweep)).stdout
    assert "val/iou" in told
    with (sweep / "summary.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) >= 1


def test_a_metric_that_the_task_does_not_have_is_told_before_anything_is_trained(project: Path, strobe: Strobe) -> None:
    refused = strobe("train", "--config-dir", "conf", *SHORT, "monitor.metric=val/acc", "hydra.run.dir=no", code=2)
    assert "val/iou" in refused.stderr
    assert not (project / "no").exists()


def test_the_projects_own_tests_pass(project: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(project)])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
