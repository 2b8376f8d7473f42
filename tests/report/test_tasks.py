"""Runs of any task: what they are compared by, and which way is better, is what they recorded."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strobe.record.layout import Mode
from strobe.record.report import Report
from strobe.record.shapes import is_best
from strobe.report.cells import number_text
from strobe.report.collect import Run, collect, mode_of
from strobe.report.metrics import by_split, columns_of_test, curve_metric, split_of
from strobe.report.plots import pictures
from strobe.report.stats import group
from strobe.report.summaries import terminal_table
from strobe.report.write import write_report
from strobe.sweeps.display import Display, best_job
from strobe.sweeps.job import Job
from tests.report.test_cells import NASTY
from tests.report.test_report import drawn, page, rows, write_run

NAMES = [
    "val/acc",
    "val/loss",
    "val_loss",
    "val/iou",
    "perplexity",
    "test/rmse",
    "loss",
    "accuracy",
    "val/größe",
    "=x,y",
]
MODES: tuple[Mode, Mode] = ("min", "max")


def best(metric: str | None, mode: Mode | None, value: float | None = 0.5) -> dict[str, Any]:
    entry = {"metric": metric, "mode": mode, "value": value, "epoch": 0, "step": 1, "checkpoint": None}
    return {key: item for key, item in entry.items() if key != "mode" or item is not None}


def run_of(objective: float | None, metric: str | None, mode: Mode | None, **metrics: float) -> Run:
    """A run that nobody has written down."""
    report: Report = {"status": "completed", "objective": objective, "objective_metric": metric, "metrics": metrics}
    return Run(Path("run"), {**report, "objective_mode": mode}, {"lr": str(objective)})


def headers(table: str) -> list[str]:
    return table.splitlines()[0].split()


# Which way is better


@given(
    st.sampled_from(NAMES) | st.text(min_size=1),
    st.sampled_from(MODES),
    st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=8, unique=True),
)
def test_the_ranking_is_that_of_the_recorded_direction_whatever_the_name(
    name: str, mode: Mode, values: list[float]
) -> None:
    found = group([run_of(value, name, mode) for value in values])
    assert [each.mean for each in found] == sorted(values, reverse=mode == "max")


@pytest.mark.parametrize("name", ["val/acc", "val_loss", "perplexity", "=x,y"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("recorded", ["objective", "best"])
def test_a_sweep_of_any_task_names_its_best(tmp_path: Path, name: str, mode: Mode, recorded: str) -> None:
    fields = {"objective": {"objective_mode": mode}, "best": {"best": best(name, mode)}}[recorded]
    for value in (0.2, 0.3, 0.1):
        write_run(tmp_path / f"run{value}", value, f"lr={value}", metric=name, **fields)
    winner = {"min": 0.1, "max": 0.3}[mode]
    table = write_report([tmp_path], tmp_path)
    assert table.splitlines()[1].split()[:3] == ["1", str(winner), f"{winner:.4f}"]
    assert rows(tmp_path)[0]["lr"] == str(winner)
    assert f"Best run: `{tmp_path / f'run{winner}'}`" in (tmp_path / "summary.md").read_text()
    assert f"Best: <b>{winner:.4f}</b>" in page(tmp_path)


@pytest.mark.parametrize("name", ["val_loss", "val/rmse", "accuracy", "loss"])
@pytest.mark.parametrize("fields", [{}, {"objective_mode": None}, {"best": best("other", "max")}])
def test_a_direction_that_was_not_recorded_is_not_guessed(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    for value in (0.2, 0.3, 0.1):
        write_run(tmp_path / f"run{value}", value, f"lr={value}", metric=name, **fields)
    assert mode_of(collect([tmp_path])) is None
    table = write_report([tmp_path], tmp_path)
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ["0.1", "0.2", "0.3"], "as found, without a place"
    assert f"3 settings are not ranked: whether more or less of {name} is better was not recorded." in table
    for text in ((tmp_path / "summary.md").read_text(), page(tmp_path)):
        assert "0.3000" in text
        assert "Best" not in text
        assert "of the best" not in text


def test_a_run_without_a_direction_is_listed_after_those_that_have_one(tmp_path: Path) -> None:
    for value, mode in ((0.1, None), (0.2, "max"), (0.3, "max"), (0.9, None)):
        write_run(tmp_path / f"{value}", value, f"lr={value}", metric="val/iou", objective_mode=mode)
    table = write_report([tmp_path], tmp_path)
    found = [line.split()[:2] for line in table.splitlines()[1:5]]
    assert found == [["1", "0.3"], ["2", "0.2"], ["0.1", "0.1000"], ["0.9", "0.9000"]]
    assert [row["lr"] for row in rows(tmp_path)] == ["0.3", "0.2", "0.1", "0.9"]
    assert "2 settings are not ranked" in table


def test_runs_that_disagree_on_the_direction_are_not_ranked(tmp_path: Path) -> None:
    for value, mode in ((0.1, "min"), (0.2, "max"), (0.3, "max")):
        write_run(tmp_path / f"{value}", value, f"lr={value}", metric="val/iou", objective_mode=mode)
    write_run(tmp_path / "other", 5.0, "lr=5", metric="val/mae", objective_mode="min")
    table = write_report([tmp_path], tmp_path)
    assert "No setting is ranked: some runs record that more of val/iou is better, others that less is." in table
    assert f"Best run by val/mae: `{tmp_path / 'other'}`" in (tmp_path / "summary.md").read_text()
    assert "val/iou with" not in page(tmp_path)
    assert len(rows(tmp_path)) == 4


@pytest.mark.parametrize(("name", "mode"), [("val/acc", "max"), ("val/loss", "min"), ("train/acc", "max")])
def test_reports_from_before_directions_were_recorded_have_those_of_that_time(name: str, mode: Mode) -> None:
    assert Run(Path(), {"status": "completed", "objective": 0.5, "objective_metric": name}, {}).mode == mode
    assert run_of(0.5, name, None).mode is None, "a later one would have said so"


def test_an_objective_without_a_name_is_listed(tmp_path: Path) -> None:
    for value in (0.5, 0.25):
        write_run(tmp_path / f"{value}", value, f"lr={value}", objective_metric=None)
    table = write_report([tmp_path], tmp_path)
    assert headers(table)[:2] == ["lr", "objective"]
    assert "0.2500" in table


# Runs that are compared by nothing


def test_runs_without_an_objective_are_listed_with_what_was_tested(tmp_path: Path) -> None:
    for rate in ("0.1", "0.2"):
        for seed in (1, 2):
            directory = write_run(
                *(tmp_path / f"{rate}{seed}", None, f"lr={rate}", f"seed={seed}"),
                objective_metric=None,
                objective_mode=None,
                best=best(None, "min", None),
                metrics={"val_loss": 1.0, "test_perplexity": 10.0 * seed},
            )
            (directory / "metrics.csv").write_text("epoch,step,train_loss,val_loss,lr\n0,1,2.0,1.5,0.1\n")
    table = write_report([tmp_path], tmp_path)
    assert headers(table) == ["lr", "n", "test_perplexity", "time"]
    assert table.splitlines()[1].split() == ["0.1", "2", "15.0000", "2.0", "s"]
    assert "2 settings are not ranked: no objective was recorded." in table
    assert drawn(tmp_path) == ["Learning curves of 2 settings, mean and range of their seeds (dotted: in training)"]
    assert "test_perplexity" in page(tmp_path)
    assert "Best" not in page(tmp_path) + (tmp_path / "summary.md").read_text()


def test_a_best_checkpoint_may_have_no_metric() -> None:
    assert is_best(best(None, "min", None))
    assert is_best(best("val/acc", "max"))
    assert not is_best(best(5, "max"))  # type: ignore[arg-type]
    assert not is_best({key: value for key, value in best("x", "max").items() if key != "metric"})


# Columns


@pytest.mark.parametrize(
    ("metric", "logged", "columns"),
    [
        ("val/acc", ["test/loss", "test/acc"], ["test/acc"]),
        ("train/acc", ["test/loss", "test/acc"], ["test/acc"]),
        ("val/rmse", ["test/loss", "test/mae", "test/rmse"], ["test/rmse"]),
        ("val_loss", ["test_loss", "test_iou"], ["test_loss"]),
        ("iou/val", ["iou/test", "loss/test"], ["iou/test"]),
        ("valid_iou", ["test_f1", "test_iou"], ["test_iou"]),
        ("val/iou", ["test_perplexity"], ["test_perplexity"]),
        ("perplexity", ["test_b", "test_a"], ["test_b"]),
        ("test/rmse", ["test/loss", "test/rmse"], []),
        (None, ["test_b", "test_a", "test_loss", "test_c"], ["test_loss", "test_b", "test_a"]),
        ("val/acc", ["contest", "testing", "latest/acc"], []),
        ("val/acc", [], []),
    ],
)
def test_the_test_metric_of_the_same_name_stands_beside_the_objective(
    metric: str | None, logged: list[str], columns: list[str]
) -> None:
    measured = dict.fromkeys(["train/loss", *logged], 0.75)
    runs = [run_of(None if metric is None else value, metric, "min", **measured) for value in (0.1, 0.2)]
    assert columns_of_test(runs) == columns
    found = headers(terminal_table(runs, group(runs)))
    assert found == ["lr", *([metric, "+-"] if metric else []), "n", *columns, "time"]


def test_no_more_than_three_test_columns() -> None:
    runs = [run_of(0.5, f"val/{name}", "min", **{f"test/{name}": 0.5}) for name in "abcde"]
    assert columns_of_test(runs) == ["test/a", "test/b", "test/c"]


@pytest.mark.parametrize(
    "names",
    [
        ["train/loss", "train/acc", "val/loss", "val/acc", "test/loss", "test/acc"],
        ["train/loss", "val/loss", "val/mae", "val/rmse", "test/loss", "test/mae", "test/rmse"],
        ["train_loss", "val_loss", "val_iou", "test_loss", "perplexity"],
    ],
)
def test_the_csv_has_the_metrics_of_the_task_split_by_split(tmp_path: Path, names: list[str]) -> None:
    shuffled = [*(name for name in names if "loss" not in name), *(name for name in names if "loss" in name)]
    write_run(tmp_path / "a", 0.5, "lr=1", metrics=dict.fromkeys(shuffled, 0.5), objective_mode="min")
    write_run(tmp_path / "b", 0.5, "lr=2", metrics={}, objective_mode="min")
    write_report([tmp_path], tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["directory", "status", "lr", "objective", *names, "total_s", "error"]
    assert [row[names[0]] for row in rows(tmp_path)] == ["0.5", ""]


def test_a_metric_does_not_take_the_place_of_another_column(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.5, metrics={"error": 0.25, "status": 1.0}, metric="error", objective_mode="min")
    write_report([tmp_path], tmp_path)
    (row,) = rows(tmp_path)
    assert (row["error"], row["status"], row["metrics.error"], row["metrics.status"]) == (
        "",
        "completed",
        "0.25",
        "1.0",
    )


@given(st.lists(st.text() | st.sampled_from(NAMES)))
def test_every_metric_has_one_column(names: list[str]) -> None:
    columns = by_split(names)
    assert len(columns) == len(set(columns))
    assert set(columns) == set(names)
    places = [("train", "val", "test", None).index(split_of(name)) for name in columns]
    assert places == sorted(places)


# Curves


@pytest.mark.parametrize(
    ("metric", "monitored", "columns", "shown"),
    [
        ("val/acc", "val/acc", ["train/loss", "val/loss", "val/acc"], "val/acc"),
        ("test/acc", "val/acc", ["train/loss", "val/loss", "val/acc"], "val/acc"),
        ("test_iou", "val_iou", ["val_loss", "val_iou"], "val_iou"),
        ("perplexity", None, ["train_loss", "val_loss"], "val_loss"),
        (None, None, ["train/mae", "val/mae"], "train/mae"),
        (None, None, [], None),
    ],
)
def test_curves_are_of_what_was_monitored(
    metric: str | None, monitored: str | None, columns: list[str], shown: str | None
) -> None:
    run = run_of(0.5, metric, "min")
    run.report["best"] = best(monitored, "min")  # type: ignore[typeddict-item]
    table = {"epoch": "0", "step": "5", **dict.fromkeys(columns, "0.5"), "lr": "0.1", "seconds": "1.0"}
    assert curve_metric([run], [[table]], metric) == shown


def test_a_monitored_metric_of_any_name_is_drawn(tmp_path: Path) -> None:
    for value in (0.1, 0.2):
        typed = (f"lr={value}", f"a={value}", f"b={value}")
        write_run(tmp_path / f"{value}", value, *typed, metric="iou", curve=[0.1, value])
    runs = collect([tmp_path])
    titles = list(pictures(runs, group(runs)))
    assert titles[0] == "Learning curves of 2 settings"
    assert titles[-1] == "iou over all settings"


# Words


@pytest.mark.parametrize("name", [NASTY, "m" * 200, "=1+1", "a,b", "größe/損失", "$\\frac$", "<b>", "[x](y)"])
def test_a_metric_of_any_name_does_nothing(tmp_path: Path, name: str) -> None:
    for place, metric in (("none", None), ("own", name)):
        for value in (0.1, 0.2):
            write_run(
                *(tmp_path / place / f"{value}", value if metric else None, f"lr={value}", f"place={place}"),
                metrics={name: value, f"test_{name}": value},
                objective_metric=metric,
                objective_mode="min" if metric else None,
                curve=[0.2, value],
            )
    out = tmp_path / "out"
    table = write_report([tmp_path], out)
    files = {path.name: path.read_text() for path in out.iterdir()}
    for text in (table, *files.values()):
        assert not {"\x1b", "\x9b", "\r", "\x07", "\u202e"} & set(text)
    assert files["report.html"].count("<script") == 1
    assert "<b>" not in files["report.html"].replace("<b>0.1000</b>", "")
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in files["summary.md"].splitlines() if line.startswith("|")}
    assert len(widths) == 1
    with (out / "summary.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]


def test_runs_of_another_task_are_not_described_in_a_classifiers_words(tmp_path: Path) -> None:
    for value in (0.5, 0.25):
        metrics = {"val/loss": value, "val/rmse": value, "test/rmse": value}
        write_run(tmp_path / f"{value}", value, f"lr={value}", metrics=metrics, metric="val/rmse", objective_mode="min")
    table = write_report([tmp_path], tmp_path)
    said = re.sub('(?s)base64,[^"]*|<style>.*?</style>', "", page(tmp_path))
    for text in (table, said, (tmp_path / "summary.md").read_text(), (tmp_path / "summary.csv").read_text()):
        assert not re.search(r"\bacc|accuracy|image(?!/png)", text)
        assert "test/rmse" in text


@pytest.mark.parametrize(
    ("value", "like", "shown"),
    [
        (0.98765, None, "0.9877"),
        (0.0, None, "0.0000"),
        (-0.5, None, "-0.5000"),
        (0.00042, 0.98, "0.0004"),
        (0.0000123456, None, "1.235e-05"),
        (3e-7, 1.2e-5, "3e-07"),
        (123456.7, None, "123456.7000"),
        (1.23456e9, None, "1.235e+09"),
    ],
)
def test_a_number_of_any_size_can_be_read(value: float, like: float | None, shown: str) -> None:
    assert number_text(value, like) == shown


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_settings_are_compared_alike_whatever_the_unit(tmp_path: Path, size: float) -> None:
    for seed, (one, two) in enumerate([(0.91, 0.90), (0.93, 0.925), (0.90, 0.88)]):
        for name, value in (("a", one), ("b", two)):
            metric = {"metric": "val/mae", "objective_mode": "min"}
            write_run(tmp_path / f"{name}{seed}", value * size, f"x={name}", f"seed={seed}", **metric)
    assert "(paired t-test over 3 seeds, p = 0.12)" in write_report([tmp_path], tmp_path)


# The live table


def jobs(*objectives: float | None) -> list[Job]:
    return [
        Job(number, [], [], Path(f"job{number}"), f"{number}", status="completed", objective=value)
        for number, value in enumerate(objectives)
    ]


@pytest.mark.parametrize(
    ("objectives", "mode", "number"),
    [
        ((0.2, 0.1), "min", 1),
        ((0.2, 0.1), "max", 0),
        ((None, 0.1), "max", 1),
        ((None,), "max", None),
        ((0.2,), None, None),
    ],
)
def test_a_sweep_names_the_best_job_only_where_there_is_one(
    objectives: tuple[float | None, ...], mode: Mode | None, number: int | None
) -> None:
    done = jobs(*objectives)
    found = best_job(done, mode=mode)
    assert found is (None if number is None else done[number])
    display = Display(None, mode=mode)
    for each in done:
        display.started(each)
    assert ("best" in display.summary_line()) == (number is not None)
