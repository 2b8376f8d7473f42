"""Comparing runs: all are found, repetitions are grouped, and the page stands alone."""

import base64
import csv
import hashlib
import itertools
import json
import logging
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from strobe.commands.report import main
from strobe.errors import ConfigError
from strobe.record.settings import strict
from strobe.report.collect import Run, collect, mode_of
from strobe.report.plots import pictures
from strobe.report.searches import search_pictures, studies_in
from strobe.report.stats import Group, comparison, group, rounded
from strobe.report.write import write_report

BEST = {"metric": "val/acc", "mode": "max", "value": 0.5, "epoch": 0, "step": 17, "checkpoint": "checkpoints/best.ckpt"}
PNG = b"\x89PNG\r\n\x1a\n"


def write_run(
    directory: Path,
    objective: float | None = 0.5,
    *overrides: str,
    metric: str = "val/acc",
    config: dict[str, Any] | None = None,
    curve: Sequence[float] = (),
    **fields: Any,
) -> Path:
    """Leave behind what a run leaves."""
    directory.mkdir(parents=True)
    report = {
        "schema": 1,
        "status": "completed",
        "overrides": list(overrides),
        "metrics": {} if objective is None else {metric: objective, "test/acc": 0.25},
        "objective": objective,
        "objective_metric": metric,
        "best": None,
        "timing": {"total_s": 2.0},
        "environment": {"python": "3.11"},
        "effective": {},
        "error": None,
        **fields,
    }
    (directory / "report.json").write_text(json.dumps(strict(report)))
    if config is not None:
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
    if curve:
        rows = "".join(f"{epoch},{value}\n" for epoch, value in enumerate(curve))
        (directory / "metrics.csv").write_text(f"epoch,{metric}\n{rows}")
    return directory


def write_failed(directory: Path, status: str, message: str, *overrides: str, **fields: Any) -> Path:
    error = {"type": "RunError", "message": message}
    return write_run(directory, None, *overrides, status=status, error=error, **fields)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two learning rates with three seeds each; the larger one is better."""
    values = {("0.1", seed): 0.9 + 0.01 * seed for seed in (1, 2, 3)} | {
        ("0.01", seed): 0.8 + 0.03 * seed for seed in (1, 2, 3)
    }
    for number, ((rate, seed), value) in enumerate(values.items()):
        name = f"{number:03d}_optimizer.lr={rate},seed={seed}"
        write_run(tmp_path / "sweep" / name, value, f"optimizer.lr={rate}", f"seed={seed}", curve=[0.1, value])
    return tmp_path / "sweep"


def found(*directories: Path) -> dict[str, Run]:
    return {run.directory.name: run for run in collect(directories)}


# Finding runs


def test_runs_and_sweeps_are_found_in_any_mix(sweep: Path, tmp_path: Path) -> None:
    single = write_run(tmp_path / "outputs" / "train" / "2025-01-01" / "single", 0.5)
    assert len(found(sweep)) == 6
    assert list(found(single)) == ["single"]
    assert len(found(sweep, single)) == len(found(single, sweep)) == 7
    assert len(found(tmp_path)) == 7


def test_a_run_that_is_named_twice_counts_once(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = next(iter(sweep.iterdir()))
    assert len(collect([sweep, run, sweep])) == 6
    monkeypatch.chdir(sweep.parent)
    assert len(collect([sweep, Path("sweep"), Path("sweep") / run.name, sweep / ".." / "sweep"])) == 6


@pytest.mark.parametrize("damaged", [b"", b'{"status": "compl', b"[]", b"{}", b"\xff\xfe\x00", b"null"])
def test_a_corrupt_report_is_passed_over_with_a_notice(
    sweep: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (sweep / "broken").mkdir()
    (sweep / "broken" / "report.json").write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert len(found(sweep)) == 6
    assert "Passed over: " in caplog.text
    assert str(sweep / "broken") in caplog.text
    write_report([sweep], sweep)


def test_other_corrupt_files_are_not_fatal(sweep: Path) -> None:
    first, second, third, fourth, *_ = sorted(sweep.iterdir())
    (first / "metrics.csv").write_text("epoch,val/acc\n0,not a number\n1,0.")
    (second / "metrics.csv").write_bytes(b"\xff\x00\xfe")
    (third / "metrics.csv").write_text("")
    (fourth / "report.json").write_text('{"status": "completed"}')
    for path in (first, second, third):
        (path / "config.yaml").write_bytes(b"a: [\xff")
    write_report([sweep], sweep)
    assert len(rows(sweep)) == 6
    assert len(drawn(sweep)) > 0


def test_what_was_replaced_is_left_alone(sweep: Path) -> None:
    write_run(sweep / ".replaced" / "000_old~0", 0.99)
    assert len(found(sweep)) == 6


def test_no_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs below"):
        collect([tmp_path])
    with pytest.raises(ConfigError, match="nothing is not a directory"):
        collect([tmp_path / "nothing"])


# Settings


def test_the_settings_are_what_varies(sweep: Path) -> None:
    for run in collect([sweep]):
        assert list(run.settings) == ["optimizer.lr", "seed"]
        assert run.directory.name.endswith(f"lr={run.settings['optimizer.lr']},seed={run.settings['seed']}")
        assert run.setting == (("optimizer.lr", run.settings["optimizer.lr"]),)


def test_what_is_the_same_everywhere_or_mere_bookkeeping_is_no_setting(tmp_path: Path) -> None:
    common = ["model=mlp", "trainer.max_epochs=5"]
    own = ["name=first", "tags=[a]", "sweep.name=x", "data.root=/a", "data.download=false"]
    write_run(tmp_path / "a", 0.5, *common, *own, "+data.extra=1")
    write_run(tmp_path / "b", 0.5, *common, "name=second", "data.extra=2")
    assert {name: run.settings for name, run in found(tmp_path).items()} == {
        "a": {"data.extra": "1"},
        "b": {"data.extra": "2"},
    }


def test_a_default_that_was_not_typed_is_read_from_the_config(tmp_path: Path) -> None:
    write_run(tmp_path / "typed", 0.5, "optimizer.lr=0.1", config={"optimizer": {"lr": 0.1}})
    write_run(tmp_path / "default", 0.5, config={"optimizer": {"lr": 0.001}})
    write_run(tmp_path / "unknown", 0.5)
    settings = {name: run.settings["optimizer.lr"] for name, run in found(tmp_path).items()}
    assert settings == {"typed": "0.1", "default": "0.001", "unknown": "-"}


@pytest.mark.parametrize(
    ("key", "typed", "default"),
    [
        ("lr", "1e-3", 0.001),
        ("lr", "0.0010", 0.001),
        ("lr", "1e-05", 1e-05),
        ("epochs", "5", 5),
        ("augment", "false", False),
        ("augment", "True", True),
        ("hidden", "[256,256]", [256, 256]),
        ("hidden", "[256, 256]", [256, 256]),
        ("name_of", "null", None),
        ("activation", "'relu'", "relu"),
    ],
)
def test_a_typed_default_is_the_default_however_it_is_spelt(
    tmp_path: Path, key: str, typed: str, default: object
) -> None:
    write_run(tmp_path / "typed", 0.5, f"model.{key}={typed}", "seed=1")
    write_run(tmp_path / "default", 0.5, "seed=2", config={"model": {key: default}, "seed": 2})
    assert [run.setting for run in collect([tmp_path])] == [(), ()]


def test_long_draws_are_shown_rounded_and_everything_else_as_it_is() -> None:
    assert rounded("0.0012345678901") == "0.001235"
    assert rounded("1.23456789e-05") == "1.235e-05"
    for text in ("0.001", "123456789", "4294967295", "relu", "strobe.models.mlp.MLP", "[64,32]", "null", ""):
        assert rounded(text) == text


# Groups

# The 97.5 % quantile of Student's t by degrees of freedom, from scipy.stats.t.ppf.
T975 = {1: 12.706204736, 2: 4.302652730, 4: 2.776445105, 29: 2.045229643}
PAIRED_P, WELCH_P = 0.1180828963, 4.250690485e-05


def test_seeds_are_repetitions_of_a_setting(sweep: Path) -> None:
    best, other = group(collect([sweep]))
    assert (best.label, other.label) == ("optimizer.lr=0.1", "optimizer.lr=0.01")
    for each, values in ((best, [0.91, 0.92, 0.93]), (other, [0.83, 0.86, 0.89])):
        assert sorted(each.values) == pytest.approx(values)
        assert each.mean == pytest.approx(sum(values) / 3)
        assert each.std == pytest.approx(statistics.stdev(values))
        assert each.interval == pytest.approx(T975[2] * statistics.stdev(values) / 3**0.5)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_the_interval_is_students_for_any_number_of_seeds(tmp_path: Path, n: int) -> None:
    values = [0.5 + 0.3 * (seed * 7 % n) / n for seed in range(n)]
    for seed, value in enumerate(values):
        write_run(tmp_path / f"{seed}", value, f"seed={seed}")
    (only,) = group(collect([tmp_path]))
    assert len(only.values) == n
    assert only.interval == pytest.approx(T975[n - 1] * statistics.stdev(values) / n**0.5)
    assert only.label == "all runs"


def test_a_single_run_has_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "one", 0.5, "seed=1")
    (only,) = group(collect([tmp_path]))
    assert (only.mean, only.std, only.interval) == (0.5, None, None)


@pytest.mark.parametrize(
    ("metric", "best"), [("val/acc", "0.3"), ("test/acc", "0.3"), ("val/loss", "0.1"), ("test/loss", "0.1")]
)
def test_more_accuracy_and_less_loss_is_better(tmp_path: Path, metric: str, best: str) -> None:
    for value in (0.2, 0.3, 0.1):
        write_run(tmp_path / f"run{value}", value, f"lr={value}", metric=metric)
    runs = collect([tmp_path])
    assert mode_of(runs) == ("max" if metric.endswith("acc") else "min")
    groups = group(runs)
    assert groups[0].label == f"lr={best}"
    assert [each.mean for each in groups] == sorted((0.1, 0.2, 0.3), reverse=metric.endswith("acc"))
    write_report([tmp_path], tmp_path)
    assert [row["lr"] for row in rows(tmp_path)] == [each.shown[0] for each in groups]
    assert f"Best run: `{tmp_path / f'run{best}'}`" in (tmp_path / "summary.md").read_text()


# Comparison


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., str]:
    """Compare two settings, given their objectives by seed."""

    def compare(first: dict[int, float], second: dict[int, float], metric: str = "val/acc") -> str:
        for setting, values in (("a", first), ("b", second)):
            for seed, value in values.items():
                write_run(tmp_path / f"{setting}{seed}", value, f"setting={setting}", f"seed={seed}", metric=metric)
        best, other = group(collect([tmp_path]))
        return comparison(best, other)

    return compare


A = {1: 0.91, 2: 0.93, 3: 0.90}
B = {1: 0.90, 2: 0.925, 3: 0.88}


def test_runs_of_the_same_seeds_are_paired(compared: Callable[..., str]) -> None:
    p_value = PAIRED_P  # scipy.stats.ttest_rel
    assert compared(A, B) == (
        "The two best settings can't be told apart: they differ by 0.0117 "
        f"(paired t-test over 3 seeds, p = {p_value:.2g})."
    )


def test_runs_of_other_seeds_are_compared_by_welchs_test(compared: Callable[..., str]) -> None:
    second = {4: 0.5, 5: 0.51, 6: 0.49, 7: 0.5}
    p_value = WELCH_P  # scipy.stats.ttest_ind(equal_var=False)
    text = compared(A, second)
    assert text.startswith("The two best settings can be told apart: they differ by 0.4133 ")
    assert f"(Welch's t-test, n = 3 and 4, p = {p_value:.2g})" in text


def test_a_seed_of_each_can_not_be_compared(compared: Callable[..., str]) -> None:
    assert "at least two seeds each" in compared({1: 0.9}, {1: 0.8})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({1: 0.9, 2: 0.8}, {1: 0.8, 2: 0.7}),
        ({1: 0.9712, 2: 0.9722, 3: 0.9733}, {1: 0.9700, 2: 0.9710, 3: 0.9721}),
        ({1: 0.9, 2: 0.9}, {1: 0.8, 2: 0.8}),
    ],
)
@pytest.mark.parametrize("metric", ["val/acc", "val/loss"])
def test_the_same_difference_with_every_seed_needs_no_test(
    compared: Callable[..., str], first: dict[int, float], second: dict[int, float], metric: str
) -> None:
    text = compared(first, second, metric)
    difference = first[1] - second[1]
    assert text == f"The two best settings differ by {difference:.4g} with every seed."


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_settings_that_do_not_vary_need_no_test(compared: Callable[..., str], noise: float) -> None:
    text = compared({1: 0.9, 2: 0.9 + noise}, {3: 0.8, 4: 0.8 + noise})
    assert text == "The two best settings don't vary between seeds: no test applies."


def test_one_setting_that_varies_is_enough_for_a_test(compared: Callable[..., str]) -> None:
    assert "Welch's t-test, n = 3 and 2" in compared(A, {4: 0.5, 5: 0.5})


# Files


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def page(out: Path) -> str:
    return (out / "report.html").read_text()


def drawn(out: Path) -> list[str]:
    """Captions of the pictures."""
    return re.findall(r"<figcaption>(.*?)</figcaption>", page(out))


def test_three_files_are_written_and_the_table_is_given_back(sweep: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "place"
    table = write_report([sweep], out)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "summary.csv", "summary.md"]
    head, first, second, *rest = table.splitlines()
    assert head.split() == ["optimizer.lr", "val/acc", "+-", "n", "test/acc", "time"]
    half = T975[2] * statistics.stdev([0.91, 0.92, 0.93]) / 3**0.5
    assert first.split() == ["1", "0.1", "0.9200", f"{half:.4f}", "3", "0.2500", "2.0", "s"]
    assert second.split()[:3] == ["2", "0.01", "0.8600"]
    assert rest[1] == "6 completed"
    assert rest[2].startswith("The two best settings")


def test_the_csv_has_a_row_per_run_best_first(sweep: Path) -> None:
    write_report([sweep], sweep)
    found = rows(sweep)
    assert [float(row["objective"]) for row in found] == pytest.approx([0.93, 0.92, 0.91, 0.89, 0.86, 0.83])
    assert found[0]["directory"] == str(sweep / "002_optimizer.lr=0.1,seed=3")
    assert {key: found[0][key] for key in ("optimizer.lr", "seed", "status", "total_s", "error")} == {
        "optimizer.lr": "0.1",
        "seed": "3",
        "status": "completed",
        "total_s": "2.0",
        "error": "",
    }


def test_the_markdown_names_the_best_and_how_sure_that_is(sweep: Path) -> None:
    write_report([sweep], sweep)
    text = (sweep / "summary.md").read_text()
    assert "6 runs, 3 seeds: 6 completed" in text
    assert "| optimizer.lr | val/acc | 95 % +- | std | n | test/acc | time |" in text
    assert "| 0.1 | 0.9200 | 0.0248 | 0.0100 | 3 | 0.2500 | 2.0 s |" in text
    assert f"Best run: `{sweep / '002_optimizer.lr=0.1,seed=3'}`" in text
    assert "paired t-test over 3 seeds" in text
    assert "Not completed" not in text


def test_the_page_stands_alone(sweep: Path) -> None:
    write_report([sweep], sweep)
    text = page(sweep)
    assert text.startswith("<!doctype html>")
    assert "http://" not in text
    assert "https://" not in text
    for outside in ("<link", "url(", "@import", "href=", "fetch", "<script src"):
        assert outside not in text
    assert "default-src 'none'" in text
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text, "the only one that may run"
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == len(drawn(sweep)) > 0
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<b>0.9200</b> val/acc with optimizer.lr=0.1" in text


def test_there_is_a_picture_for_whatever_varies(sweep: Path, tmp_path: Path) -> None:
    write_report([sweep], sweep)
    assert drawn(sweep) == [
        "Learning curves of the best 2, mean and range of their seeds",
        "The seeds of every setting, val/acc",
        "val/acc against optimizer.lr",
    ]
    runs = collect([sweep])
    assert all(png.startswith(PNG) for png in pictures(runs, group(runs)).values())
    grid = itertools.product(("sgd", "adam"), (0.1, 0.01), (8, 16))
    for number, (optimizer, rate, width) in enumerate(grid):
        typed = (f"optimizer={optimizer}", f"lr={rate}", *([f"width={width}"] if width != 8 else []))
        directory = write_run(tmp_path / "three" / f"{number}", 0.1 * number, *typed, config={"width": 8})
        if width == 8:
            write_run(tmp_path / "two" / directory.name, 0.1 * number, *typed)
    for number, place in ((2, "two"), (3, "three")):
        write_report([tmp_path / place], tmp_path / place)
        captions = drawn(tmp_path / place)
        assert [caption for caption in captions if " against " in caption] == [
            f"val/acc against {key}" for key in ("optimizer", "lr", "width")[:number]
        ]
        assert (
            captions[-1] == {2: "val/acc by optimizer and lr", 3: "val/acc over all settings (the best: dark)"}[number]
        )


def test_one_run_is_a_report_too(tmp_path: Path) -> None:
    write_run(tmp_path / "one", 0.5, "seed=1", curve=[0.1, 0.5])
    table = write_report([tmp_path / "one"], tmp_path)
    assert table.splitlines()[1].split()[:2] == ["1", "0.5000"]
    assert drawn(tmp_path) == ["Learning curves of the best 1"]


def test_names_are_text_in_the_page(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>&\"'"
    write_run(tmp_path / "<b>bold", 0.5, f"model.how={nasty}", metric="val/<i>acc")
    write_failed(tmp_path / "b", "failed", f"see {nasty}", "model.how=<img src=x>")
    write_run(tmp_path / "c", 0.4, "model.how=plain", metric="val/<i>acc")
    write_report([tmp_path], tmp_path)
    text = page(tmp_path)
    for tag in ("<b>bold", "<i>", "<img src=x"):
        assert tag not in text
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text
    assert "&lt;b&gt;bold" in text
    assert rows(tmp_path)[0]["model.how"] == nasty.strip("'\"")


def test_a_bar_does_not_break_the_table_of_the_markdown(tmp_path: Path) -> None:
    for value in ("a|b", "c"):
        write_run(tmp_path / value, 0.5, f"model.how={value}")
    write_report([tmp_path], tmp_path)
    assert r"| a\|b | 0.5000 |" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    "values",
    [
        ("${seed}", "${optimizer.lr}"),
        (r"$\frac$", r"$_$"),
        ("$a$b$", "100%"),
        ("a" * 400, "b" * 400),
        ("[1,2]", "[3]"),
        ("0", "-1"),
        ("inf", "1"),
        ("nan", "1"),
        ("", "_^{}"),
    ],
)
def test_any_value_can_be_drawn(tmp_path: Path, values: tuple[str, ...]) -> None:
    for number, (one, two, three) in enumerate(itertools.product(values, values, ("1", "2"))):
        typed = (f"x={one}", f"y={two}", *([f"z={three}"] if three != "1" else []))
        directory = write_run(tmp_path / "three" / f"{number}", 0.1 * number, *typed, curve=[0.1, 0.2])
        if three == "1":
            write_run(tmp_path / "two" / directory.name, 0.1 * number, *typed, curve=[0.1, 0.2])
    for place in ("two", "three"):
        write_report([tmp_path / place], tmp_path / place)
        assert len(drawn(tmp_path / place)) >= 4


# Runs that did not complete


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    directory = tmp_path / "mixed"
    write_run(directory / "good", 0.5, "lr=0.1")
    write_failed(directory / "diverged", "diverged", "the loss is nan\nmore", "lr=9", best=BEST)
    write_failed(directory / "failed", "failed", "it broke", "lr=0.2")
    write_run(directory / "promising", 0.99, "lr=0.3", status="failed", error={"type": "X", "message": "late"})
    write_run(directory / "pruned", 0.98, "lr=0.4", status="pruned")
    write_run(directory / "preempted", None, "lr=0.5", status="preempted")
    return directory


def test_runs_that_did_not_complete_are_listed_with_their_error_and_never_best(mixed: Path) -> None:
    table = write_report([mixed], mixed)
    assert [each.label for each in group(collect([mixed]))] == ["lr=0.1"]
    assert "2 failed" in table
    assert "1 completed" in table
    first, *others = rows(mixed)
    assert first["directory"] == str(mixed / "good")
    assert {row["directory"].rpartition("/")[2]: row["error"] for row in others} == {
        "diverged": "the loss is nan",
        "failed": "it broke",
        "promising": "late",
        "pruned": "",
        "preempted": "",
    }
    assert {row["objective"] for row in others} == {""}
    text = (mixed / "summary.md").read_text()
    assert f"Best run: `{mixed / 'good'}`" in text
    assert f"- diverged: `{mixed / 'diverged'}` the loss is nan\n" in text
    assert f"- failed: `{mixed / 'failed'}` it broke\n" in text
    assert f"- preempted: `{mixed / 'preempted'}`" in text
    assert "- pruned" not in text, "a pruned trial did what it should"
    for word in ("diverged", "the loss is nan", "it broke", "pruned"):
        assert word in page(mixed)


def test_no_run_completed_and_there_is_a_report(tmp_path: Path) -> None:
    write_failed(tmp_path / "a", "failed", "it broke", "lr=1")
    write_failed(tmp_path / "b", "oom", "too large", "lr=2")
    table = write_report([tmp_path], tmp_path)
    assert "1 failed, 1 oom" in table
    assert "it broke" in page(tmp_path)
    assert "Best" not in (tmp_path / "summary.md").read_text()
    assert [row["lr"] for row in rows(tmp_path)] == ["1", "2"]


def test_an_objective_that_is_no_number_is_none(tmp_path: Path) -> None:
    write_run(tmp_path / "a", float("nan"), "lr=1")
    write_run(tmp_path / "b", 0.1, "lr=2")
    write_report([tmp_path], tmp_path)
    assert [row["lr"] for row in rows(tmp_path)] == ["2", "1"]


# Searches


@pytest.fixture
def quiet_optuna() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def write_search(directory: Path, trials: int, *, directions: int = 1) -> Path:
    write_run(directory / "000", 0.5)
    backend = optuna.storages.journal.JournalFileBackend(str(directory / "optuna.log"))
    study = optuna.create_study(
        study_name="strobe",
        storage=optuna.storages.JournalStorage(backend),
        directions=["maximize"] * directions,
    )
    space = {
        "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "model": optuna.distributions.CategoricalDistribution(("mlp", "cnn")),
    }
    for number in range(trials):
        params = {"lr": 10 ** (-4 + 3 * number / trials), "model": ("mlp", "cnn")[number % 2]}
        trial = optuna.trial.create_trial(params=params, distributions=space, values=[float(number)] * directions)
        study.add_trial(trial)
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    return directory


@pytest.mark.usefixtures("quiet_optuna")
def test_a_search_shows_what_mattered(tmp_path: Path) -> None:
    directory = write_search(tmp_path / "search", 12)
    write_report([directory], directory)
    assert drawn(directory)[:2] == ["Best value after each trial (search)", "Importance of the parameters (search)"]


@pytest.mark.usefixtures("quiet_optuna")
@pytest.mark.parametrize(("trials", "directions"), [(0, 1), (7, 1), (12, 2)])
def test_too_few_trials_or_several_objectives_have_no_importance(tmp_path: Path, trials: int, directions: int) -> None:
    found = search_pictures(studies_in([write_search(tmp_path / "search", trials, directions=directions)]))
    assert not [title for title in found if "Importance" in title]


@pytest.mark.parametrize("damaged", [b"", b"not json\n", b"\xff\x00"])
def test_a_damaged_study_costs_its_picture_not_the_report(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path / "000", 0.5)
    (tmp_path / "optuna.log").write_bytes(damaged)
    write_report([tmp_path], tmp_path)
    assert (tmp_path / "report.html").exists()
    assert f"No pictures of the search in {tmp_path}" in caplog.text


# The command


def test_the_command_compares_and_says_where(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep)]) == 0
    output = capsys.readouterr().out
    assert "6 completed" in output
    assert f"written: {sweep / 'report.html'}" in output
    assert (sweep / "report.html").exists()
    assert main([str(sweep), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").exists()


def test_a_wrong_command_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no runs below" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing")]) == 2
    assert main(["--diff", str(tmp_path), str(tmp_path)]) == 2
    for arguments in ([], ["--nonsense"], ["--diff", str(tmp_path)]):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2


def test_a_difference_is_shown_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_run(tmp_path / "a", 0.5, config={"optimizer": {"lr": 0.1, "betas": [0.9]}, "seed": 1})
    b = write_run(tmp_path / "b", 0.75, config={"optimizer": {"lr": 0.2, "betas": [0.9]}}, status="failed")
    assert main(["--diff", str(a), str(b)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["config", "optimizer.lr", "0.1", "0.2"],
        ["config", "seed", "1", "None"],
        ["metrics", "val/acc", "0.5", "0.75"],
        ["status", "completed", "failed"],
    ]
    assert main(["--diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_a_group_says_its_setting_in_a_few_words() -> None:
    setting = (("optimizer.lr", "0.00123456789"), ("model", "mlp"))
    assert Group(setting, [], 0.0, None, None).label == "optimizer.lr=0.001235, model=mlp"


def test_runs_with_different_objectives_are_no_rivals(tmp_path: Path) -> None:
    for seed in (1, 2):
        for rate, accuracy, loss in (("0.1", 0.9, 6.3), ("0.01", 0.8, 0.2)):
            write_run(
                tmp_path / f"a{rate}{seed}", accuracy + seed / 100, f"lr={rate}", f"seed={seed}", curve=[0.1, 0.2]
            )
            write_run(tmp_path / f"l{rate}{seed}", loss + seed / 100, f"lr={rate}", f"seed={seed}", metric="val/loss")
    printed = write_report([tmp_path], tmp_path)
    header, *lines = printed.splitlines()
    assert header.split() == ["lr", "val/acc", "val/loss", "+-", "n", "test/acc", "time"]
    assert [line.split()[:3] for line in lines[:4]] == [
        ["1", "0.1", "0.9150"],
        ["2", "0.01", "0.8150"],
        ["1", "0.01", "0.2150"],
        ["2", "0.1", "6.3150"],
    ]
    assert [line.partition(":")[0] for line in lines[-2:]] == ["val/acc", "val/loss"]
    best = [row["directory"] for row in rows(tmp_path)][::4]
    assert [Path(directory).name[:2] for directory in best] == ["a0", "l0"]
    page = (tmp_path / "report.html").read_text()
    assert "<b>0.9150</b> val/acc" in page
    assert "<b>0.2150</b> val/loss" in page
    assert "Learning curves of the best 2, mean and range of their seeds by val/acc" in page
    assert (tmp_path / "summary.md").read_text().count("val/loss") >= 2


def test_the_direction_is_the_one_recorded(tmp_path: Path) -> None:
    for value in (0.2, 0.3):
        write_run(tmp_path / f"run{value}", value, f"lr={value}", metric="val/perplexity", objective_mode="min")
    assert [setting.shown for setting in group(collect([tmp_path]))] == [["0.2"], ["0.3"]]


def test_the_same_experiment_run_twice_with_one_result_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value, config_hash in (("a", 0.5, "x"), ("b", 0.5, "x"), ("c", 0.7, "x"), ("d", 0.5, "y")):
        write_run(tmp_path / name, value, "seed=1", config_hash=config_hash)
    runs = collect([tmp_path])
    assert [run.directory.name for run in runs] == ["a", "c", "d"]
    assert f"Counted once: {tmp_path / 'b'} is the same experiment as {tmp_path / 'a'}" in caplog.text
    assert f"{tmp_path / 'c'} and {tmp_path / 'a'} have the same settings and other results" in caplog.text


def test_folds_repeat_a_setting_where_the_sweep_says_so(tmp_path: Path) -> None:
    for lr in ("0.1", "0.2"):
        for fold in range(3):
            for seed in (1, 2):
                write_run(
                    tmp_path / f"{lr} {fold} {seed}",
                    float(lr) + fold / 100 + seed / 1000,
                    *(f"optimizer.lr={lr}", f"data.fold={fold}", f"seed={seed}"),
                    repetitions=["seed", "data.fold"],
                )
    runs = collect([tmp_path])
    groups = group(runs)
    assert [(each.label, len(each.runs)) for each in groups] == [("optimizer.lr=0.2", 6), ("optimizer.lr=0.1", 6)]
    assert "differ by 0.1 with every repetition" in comparison(*groups)
    write_report([tmp_path], tmp_path)
    assert "12 runs, 6 repetitions" in (tmp_path / "report.html").read_text()
    assert {run.repetition for run in runs} == {(seed, str(fold)) for fold in range(3) for seed in ("1", "2")}
