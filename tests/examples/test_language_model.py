"""`examples/language_model`: a `Task` of one's own over plain loaders, as its user types it."""

import json
from pathlib import Path

import pytest

from tests.conftest import report
from tests.examples.as_user import Project, printed_metrics, rows

SHORT = ("experiment=language_model", "trainer=cpu", "data.characters=16000", "data.batch_size=4")
"""Fifty steps an epoch."""
LENGTH = ("trainer.max_epochs=4", "model.hidden=32", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project("language_model", tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def whole(project: Project) -> Path:
    """A run that nothing disturbed."""
    done = project.train(*SHORT, *LENGTH, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    return project.directory / "whole"


def test_perplexity_is_logged_for_every_split_and_judges_the_epochs(whole: Path) -> None:
    (*_, last) = rows(whole)
    assert {f"{split}/{name}" for split in ("train", "val") for name in ("loss", "perplexity")} <= set(last)
    found = report(whole)
    assert found["status"] == "completed"
    assert found["best"]["metric"] == "val/perplexity"
    assert found["best"]["value"] == min(float(row["val/perplexity"]) for row in rows(whole))
    assert found["objective"] == found["best"]["value"] < 12, "it learns: at first it has to choose of 26"


def test_evaluate_prints_the_numbers_of_the_run_itself(project: Project, whole: Path) -> None:
    done = project.strobe("evaluate", "whole")
    assert done.returncode == 0, done.stderr
    of_run = {name: value for name, value in report(whole)["metrics"].items() if name.startswith("test/")}
    assert printed_metrics(done.stdout) == of_run
    assert set(of_run) == {"test/loss", "test/perplexity"}


def test_report_writes_a_page(project: Project, whole: Path) -> None:
    done = project.strobe("report", "whole", "--out", "page")
    assert done.returncode == 0, done.stderr
    assert f"{report(whole)['best']['value']:.4f}" in done.stdout
    assert (project.directory / "page" / "report.html").exists()


def test_a_run_that_is_stopped_within_an_epoch_goes_on_as_if_it_had_not_been(project: Project, whole: Path) -> None:
    run = project.stopped("stopped", *SHORT, *LENGTH, step=75)  # of the second epoch's fifty, half
    assert len(rows(run)) == 1
    done = project.strobe("train", f"resume={run}", "~callbacks.stop")
    assert done.returncode == 0, done.stderr
    assert rows(run) == rows(whole)
    assert report(run)["metrics"] == report(whole)["metrics"]


@pytest.mark.parametrize(
    ("wrong", "answers"),
    [
        (["data.contxt=3"], ["did you mean data.context=3?"]),
        (["monitor.metric=val/acc"], ["for example monitor.metric=val/perplexity"]),
        (["data.path=nowhere.txt"], ["data: path='nowhere.txt': there is no such file"]),
    ],
)
def test_what_is_wrong_is_said_and_what_is_right(project: Project, wrong: list[str], answers: list[str]) -> None:
    done = project.train("experiment=language_model", *wrong, "hydra.run.dir=wrong")
    assert done.returncode == 2, done.stdout
    for answer in answers:
        assert answer in done.stderr
    assert len(done.stderr.splitlines()) == len(answers)
    assert not (project.directory / "wrong").exists()


def test_its_own_tests_pass(project: Project) -> None:
    done = project.python("-m", "pytest", "-q")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_line_of_the_readme_comes_near_what_the_readme_says(project: Project) -> None:
    line = next(each for each in (project.directory / "README.md").read_text().splitlines() if "strobe train" in each)
    done = project.strobe(*line.split()[1:], "hydra.run.dir=readme")
    assert done.returncode == 0, done.stderr
    assert report(project.directory / "readme")["metrics"]["test/perplexity"] == pytest.approx(1.516, abs=0.01)


@pytest.mark.slow
def test_a_text_of_ones_own_is_learnt_in_mixed_precision_and_by_workers(project: Project) -> None:
    (project.directory / "own.txt").write_text("ein männlein steht im walde, ganz still und stumm. " * 80, "utf-8")
    mixed = ("trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1")
    saved = ("checkpoint.every_n_steps=10", "data.num_workers=2", "data.context=32", "data.batch_size=8")
    chosen = ("experiment=language_model", "trainer=cpu", "data.path=own.txt", *mixed, *saved)
    done = project.train(*chosen, "hydra.run.dir=own")
    assert done.returncode == 0, done.stderr
    assert report(project.directory / "own")["metrics"]["test/perplexity"] < 5


@pytest.mark.slow
def test_two_processes_with_half_the_batch_each_learn_what_one_does(project: Project, whole: Path) -> None:
    """A step of one is a step of the other but for the order of sums in float32."""
    done = project.train(*SHORT, *LENGTH, "trainer=ddp_cpu", "data.batch_size=2", "hydra.run.dir=two")
    assert done.returncode == 0, done.stderr
    two = project.directory / "two"
    assert report(two)["effective"]["world_size"] == 2
    for ours, theirs in zip(rows(two), rows(whole), strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("train/loss", "val/loss", "val/perplexity"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-6)


@pytest.mark.slow
def test_a_sweep_over_seeds_ends_with_a_table(project: Project) -> None:
    done = project.train("-m", *SHORT, "trainer.max_epochs=1", "seed=1,2", "hydra.sweep.dir=seeds")
    assert done.returncode == 0, done.stderr
    assert "2 completed" in done.stdout
    assert "val/perplexity" in done.stdout
    reports = [json.loads(path.read_text()) for path in (project.directory / "seeds").glob("*/report.json")]
    assert sorted(each["seed"] for each in reports) == [1, 2]
    assert len({each["objective"] for each in reports}) == 2
