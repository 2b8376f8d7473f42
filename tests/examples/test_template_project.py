"""`examples/template_project`: a project in the shape of the usual template, whose package is called `src`."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT, report
from tests.examples.as_user import Project, printed_metrics, rows

CHOSEN = ("task=spirals", "data=spirals", "model=dense", "trainer=cpu")
SHORT = (*CHOSEN, "data.batch_size=20", "trainer.max_epochs=4", "trainer.enable_progress_bar=false")
"""A hundred steps an epoch."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project("template_project", tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def whole(project: Project) -> Path:
    """A run that nothing disturbed."""
    done = project.train(*SHORT, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    return project.directory / "whole"


def test_the_module_trains_as_it_is_with_its_own_optimizer_and_metrics(whole: Path) -> None:
    found = report(whole)
    assert found["status"] == "completed"
    assert found["best"]["metric"] == "val/acc"
    assert found["metrics"]["val/acc_best"] == max(float(row["val/acc"]) for row in rows(whole)) > 0.8
    assert {"test/acc", "test/loss", "train/acc", "train/loss"} <= set(found["metrics"])


def test_evaluate_prints_the_numbers_of_the_run_itself(project: Project, whole: Path) -> None:
    done = project.strobe("evaluate", "whole")
    assert done.returncode == 0, done.stderr
    of_run = {name: value for name, value in report(whole)["metrics"].items() if name.startswith("test/")}
    assert printed_metrics(done.stdout) == of_run


def test_report_writes_a_page(project: Project, whole: Path) -> None:
    done = project.strobe("report", "whole", "--out", "page")
    assert done.returncode == 0, done.stderr
    assert f"{report(whole)['best']['value']:.4f}" in done.stdout
    assert (project.directory / "page" / "report.html").exists()


def test_a_run_that_is_stopped_within_an_epoch_goes_on_as_if_it_had_not_been(project: Project, whole: Path) -> None:
    run = project.stopped("stopped", *SHORT, step=150)
    assert len(rows(run)) == 1
    done = project.strobe("train", f"resume={run}", "~callbacks.stop")
    assert done.returncode == 0, done.stderr
    assert rows(run) == rows(whole), "val/acc_best too, which the module carries over epochs"
    assert report(run)["metrics"] == report(whole)["metrics"]


def test_its_own_src_is_imported_even_where_strobes_checkout_is_on_the_path(project: Project) -> None:
    usual, project.env = project.env, {**project.env, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = project.train(*CHOSEN, "validate=only")
    project.env = usual
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ("task.num_clases=4", "did you mean task.num_classes=4?"),
        ("loss=mse", "SpiralsModule takes no loss"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(project: Project, wrong: str, answer: str) -> None:
    done = project.train(*CHOSEN, wrong, "hydra.run.dir=wrong")
    assert done.returncode == 2, done.stdout
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.directory / "wrong").exists()


def test_a_metric_that_is_not_logged_is_told_with_those_that_are(project: Project) -> None:
    done = project.train(*SHORT, "monitor.metric=val/f1", "monitor.mode=max", "hydra.run.dir=unlogged")
    assert done.returncode == 2, done.stdout
    assert "val/f1" in done.stderr
    assert "val/acc_best" in done.stderr


def test_its_own_tests_pass(project: Project) -> None:
    done = project.python("-m", "pytest", "-q")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_optimizer_schedule_and_compile_reach_the_module(project: Project) -> None:
    chosen = ("optimizer=sgd", "optimizer.lr=0.3", "scheduler=exponential", "scheduler.gamma=0.5", "compile=true")
    done = project.train(*SHORT, *chosen, "hydra.run.dir=chosen")
    assert done.returncode == 0, done.stderr
    run = project.directory / "chosen"
    rates = [float(row["lr"]) for row in rows(run)]  # of the first epoch: 0.3, or what comes after it
    assert [later / earlier for earlier, later in pairwise(rates)] == pytest.approx([0.5] * 3)
    assert report(run)["effective"]["compile"]


@pytest.mark.slow
def test_a_module_that_compiles_its_net_itself_can_be_evaluated_and_resumed(project: Project) -> None:
    done = project.train(*SHORT, "trainer.max_epochs=1", "compile=true", "hydra.run.dir=compiled")
    assert done.returncode == 0, done.stderr
    done = project.strobe("evaluate", "compiled")
    assert done.returncode == 0, done.stderr
    done = project.strobe("train", "resume=compiled", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_line_of_the_readme_comes_near_what_the_readme_says(project: Project) -> None:
    line = next(each for each in (project.directory / "README.md").read_text().splitlines() if "strobe train" in each)
    done = project.strobe(*line.split()[1:], "hydra.run.dir=readme")
    assert done.returncode == 0, done.stderr
    assert report(project.directory / "readme")["metrics"]["test/acc"] == pytest.approx(0.998, abs=0.01)


@pytest.mark.slow
def test_a_sweep_over_seeds_ends_with_a_table(project: Project) -> None:
    done = project.train("-m", *CHOSEN, "trainer.max_epochs=1", "seed=1,2", "hydra.sweep.dir=seeds")
    assert done.returncode == 0, done.stderr
    assert "2 completed" in done.stdout
    reports = [json.loads(path.read_text()) for path in (project.directory / "seeds").glob("*/report.json")]
    assert sorted(each["seed"] for each in reports) == [1, 2]
    assert len({each["metrics"]["train/loss"] for each in reports}) == 2
