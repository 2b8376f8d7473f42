"""Pictures of a comparison: every value has its place, no label lies upon another, and nothing is averaged away."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from strobe.record.layout import Status
from strobe.report.collect import Run, collect
from strobe.report.columns import bests, columns_of
from strobe.report.comparison import comparison_page
from strobe.report.curves import curves
from strobe.report.drawing import canvas, legend, limits, png
from strobe.report.plots import pictures
from strobe.report.scales import scale_of
from strobe.report.searches import objectives_of, search_pictures, studies_in
from strobe.report.spaces import by_two, over_all
from strobe.report.stats import group
from strobe.report.summaries import terminal_table
from strobe.report.write import write_report
from tests.report.test_report import drawn, page, write_failed, write_run

DRAWS = [repr(10 ** random.Random(seed).uniform(-5, -1)) for seed in range(40)]


def run_of(settings: dict[str, str], objective: float | None, status: Status = "completed", **report: Any) -> Run:
    """A run that nobody has written down."""
    fields = {"status": status, "objective": objective, "objective_metric": "val/acc", "objective_mode": "max"}
    return Run(Path("run"), {**fields, **report}, settings)  # type: ignore[typeddict-item]


def with_epochs(directory: Path, columns: str, *rows: str) -> Path:
    (directory / "metrics.csv").write_text("\n".join([f"epoch,{columns}", *rows]) + "\n")
    return directory


# Scales


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["0.001", "0.01", "0.1"], "log"),
        (DRAWS, "log"),
        (["8", "16", "256"], "log"),
        (["0.1", "0.2", "0.5"], "linear"),
        ([f"{width}" for width in range(1, 129)], "linear"),
        (["-1", "1000"], "linear"),
        (["0.0", "0.0001", "0.01"], "positions"),
        (["0", "1", "2"], "linear"),
        (["adam", "sgd"], "positions"),
        (["0.1", "null"], "positions"),
        (["nan", "1"], "positions"),
        (["5"], "linear"),
    ],
)
def test_an_axis_fits_its_values(texts: list[str], kind: str) -> None:
    assert scale_of(texts).kind == kind


@given(st.lists(st.text(max_size=8) | st.floats().map(repr) | st.integers().map(str), min_size=1, max_size=30))
def test_any_values_have_places(texts: list[str]) -> None:
    scale = scale_of(texts)
    shares = scale.shares(texts)
    assert np.isfinite(scale.places(texts)).all()
    assert ((shares >= -1e-9) & (shares <= 1 + 1e-9)).all()
    assert len(scale.names()) <= 12


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize(
    "texts",
    [
        DRAWS,
        ["0.001", "0.0011", "0.0012", "1"],
        [f"{width}" for width in range(200)],
        [f"[{a},{b}]" for a, b in itertools.product(range(64, 72), repeat=2)],
        ["strobe.models.mlp.MLP", "strobe.models.cnn.CNN", "strobe.models.vit.ViT", "x" * 300],
        ["16", "64", "256"],
        ["0.0", "0.00001234567", "0.01234567"],
        ["0.0009959", "0.007538", "0.0125", "0.08761"],
    ],
)
def test_no_label_lies_upon_another(texts: list[str], side: Any) -> None:
    figure, axes = canvas()
    scale = scale_of(texts)
    figure.colorbar(axes.scatter(*[scale.places(texts)] * 2, c=scale.shares(texts)))
    scale.dress(axes, side)
    axis = axes.xaxis if side == "x" else axes.yaxis
    assert png(figure)
    shown = [label for label in axis.get_ticklabels(which="both") if label.get_text()]
    low, high = sorted(axes.get_xlim() if side == "x" else axes.get_ylim())
    inside = [label for label in shown if low <= label.get_position()[side == "y"] <= high]
    boxes = [label.get_window_extent() for label in inside if label.get_rotation() == 0]
    assert len(inside) > 1
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(len(label.get_text()) <= 14 or "mathdefault" in label.get_text() for label in inside)


def test_what_lies_far_outside_does_not_squeeze_the_others() -> None:
    values = [0.9 + number / 1000 for number in range(50)]
    assert limits(values) == (values[0], values[-1])
    low, high = limits([*values, 1e9])
    assert low == values[0]
    assert high < 2


# Two settings and more


def draws(number: int) -> list[Run]:
    """A search: a learning rate and a width, no pair of which comes twice."""
    random_ = random.Random(1)
    return [
        run_of({"lr": repr(10 ** random_.uniform(-5, -1)), "width": f"{random_.randint(8, 256)}"}, random_.random())
        for _ in range(number)
    ]


def test_draws_of_a_search_are_dots_coloured_by_the_metric() -> None:
    figure = by_two(draws(30), ("lr", "width"), "val/acc")
    assert not figure.axes[0].images
    dots, ring = figure.axes[0].collections
    assert len(dots.get_offsets()) == 30  # type: ignore[arg-type]
    assert len(ring.get_offsets()) == 1  # type: ignore[arg-type]
    assert figure.axes[0].get_xscale() == "log"


def test_a_grid_is_a_heat_map_whose_cells_say_how_many_runs_they_hold() -> None:
    grid = itertools.product(("0.1", "0.01"), ("adam", "sgd"), ("1", "2", "3"))
    runs = [run_of({"lr": lr, "optimizer": name, "seed": seed}, int(seed) / 10) for lr, name, seed in grid]
    figure = by_two(runs, ("lr", "optimizer"), "val/acc")
    assert len(figure.axes[0].images) == 1
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.2000\nn=3"] * 4


def test_a_grid_of_which_little_was_run_is_no_heat_map() -> None:
    runs = [run_of({"a": f"{number}", "b": f"x{number}"}, 0.5) for number in range(10)]
    assert not by_two(runs, ("a", "b"), "val/acc").axes[0].images


def test_of_many_runs_the_best_are_told_from_the_others() -> None:
    figure = over_all(draws(500), ["lr", "width"], "val/acc")
    colors = [matplotlib.colors.to_hex(line.get_color()) for line in figure.axes[0].lines]  # type: ignore[arg-type]
    assert len(set(colors) - {"#999999", "#cccccc"}) > 10
    assert colors.count("#999999") == 440
    assert "lr\n(log)" in [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_repetitions_are_dots_with_their_number(tmp_path: Path) -> None:
    for lr, seed in itertools.product((0.1, 0.2), (1, 2, 3)):
        write_run(tmp_path / f"{lr}{seed}", lr + seed / 100, f"optimizer.lr={lr}", f"seed={seed}")
    runs = collect([tmp_path])
    assert "The seeds of every setting, val/acc" in pictures(runs, group(runs))
    assert [each.brief for each in group(runs)] == ["lr=0.2", "lr=0.1"]


# Curves


def lines_of(figure: Figure, style: str) -> list[list[float]]:
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == style]
    return [np.asarray(line.get_ydata()).tolist() for line in lines]


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    columns = "train/loss,val/loss,val/acc"
    for number in (1, 2):
        done = write_run(tmp_path / f"{number}", number / 10, f"lr={number}", objective_mode="max")
        with_epochs(done, columns, f"0,2.0,1.5,0.{number}", "1,1.0,,", f"2,0.5,0.25,0.{number}5")
    stopped: list[tuple[str, str]] = [
        ("pruned", "0,2.5,2.0,0.05"),
        ("failed", "0,2.5,1e9,0.05"),
        ("diverged", "0,nan,nan,0"),
    ]
    for status, row in stopped:
        run = write_failed(tmp_path / status, status, status, f"lr={status}", objective_mode="max")
        with_epochs(run, columns, row)
    return tmp_path


def test_curves_are_of_the_metric_and_of_the_loss_in_training_and_validation(searched: Path) -> None:
    runs = collect([searched])
    stopped = [run for run in runs if run.status != "completed"]
    metric, loss = curves(group(runs), stopped, "val/acc").items()
    assert (metric[0], loss[0]) == ("Learning curves of the best 2", "Loss of the best 2 (dotted: in training)")
    assert lines_of(metric[1], "-") == [[0.2, 0.25], [0.1, 0.15]], "an epoch without validation is none of its points"
    assert lines_of(loss[1], ":") == [[2.0, 1.0, 0.5]] * 2
    assert lines_of(loss[1], "-") == [[1.5, 0.25]] * 2
    assert sorted(lines_of(loss[1], "--")) == [[2.0], [1e9]], "what ended early is broken; nan has no place"
    assert loss[1].axes[0].get_ylim()[1] < 10, "and what diverged doesn't squeeze the others"
    (legend,) = metric[1].legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["lr=2", "lr=1", "diverged: 1 run", "failed: 1 run", "pruned: 1 run"]


def test_a_sweep_in_which_nothing_completed_shows_what_was_seen(searched: Path) -> None:
    for number in "12":
        (searched / number / "report.json").unlink()
    write_report([searched], searched)
    assert [title for title in drawn(searched) if title.startswith("Learning curves")] != []
    assert "did not complete" in page(searched)


# Searches


def write_study(directory: Path, directions: Sequence[str], **attributes: Any) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(directory / "optuna.log"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(study_name="strobe", storage=storage, directions=list(directions))
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    return study


def test_the_history_of_a_search_stands_whatever_its_trials_hold(tmp_path: Path) -> None:
    write_run(tmp_path / "000", 0.5)
    study = write_study(tmp_path, ["minimize"])
    lr = {"lr": optuna.distributions.FloatDistribution(0, 1)}
    for number, value in enumerate([1.0, 0.5, 1e300, 0.7]):
        study.add_trial(optuna.trial.create_trial(params={"lr": number / 4}, distributions=lr, value=value))
    state = optuna.trial.TrialState
    for seen in ({}, {0: 0.75}, {0: math.nan}, {0: math.inf}):
        study.add_trial(optuna.trial.create_trial(state=state.PRUNED, intermediate_values=seen))
    study.add_trial(optuna.trial.create_trial(state=state.FAIL))
    assert list(search_pictures(studies_in([tmp_path]))) == [f"Best value after each trial ({tmp_path.name})"]


def test_each_objective_of_a_search_has_a_column_and_a_best(tmp_path: Path) -> None:
    study = write_study(tmp_path, ["maximize", "minimize"], objective={"val/acc": "max", "parameters": "min"})
    for number, (accuracy, parameters) in enumerate([(0.9, 4000), (0.8, 1000)]):
        write_run(tmp_path / f"{number}", accuracy, f"width={parameters}", parameters=parameters, objective_mode="max")
        study.add_trial(optuna.trial.create_trial(values=[accuracy, parameters]))
    objectives = objectives_of(studies_in([tmp_path]))
    assert objectives == {"val/acc": "max", "parameters": "min"}
    runs = collect([tmp_path])
    groups = group(runs)
    best = bests(groups, columns_of(runs, groups, objectives))
    assert [(name, setting.label, text) for name, setting, text in best] == [
        ("val/acc", "width=4000", "0.9000"),
        ("parameters", "width=1000", "1000"),
    ]
    header, first, *_ = terminal_table(runs, groups, objectives).splitlines()
    assert header.split() == ["width", "val/acc", "+-", "parameters", "n", "test/acc", "time"]
    assert first.split()[:4] == ["1", "4000", "0.9000", "4000"]
    write_report([tmp_path], tmp_path)
    assert drawn(tmp_path)[0] == f"Two objectives, the front in orange ({tmp_path.name})"
    assert "Best: <b>1000</b> parameters with width=1000" in page(tmp_path)


@pytest.mark.parametrize("recorded", [None, 5, {"val/acc": "best"}, {"<b>": None}, ["val/acc"]])
def test_odd_objectives_of_a_strangers_study_are_none(tmp_path: Path, recorded: Any) -> None:
    write_study(tmp_path, ["maximize", "minimize"], objective=recorded)
    assert objectives_of(studies_in([tmp_path])) == {}


# Many


def test_a_page_of_a_thousand_runs_is_small_and_one_of_more_says_what_it_leaves_out() -> None:
    runs = draws(1000)
    groups = group(runs)
    drawn_ = pictures(runs, groups)
    columns = columns_of(runs, groups)
    text = comparison_page(runs, groups, columns, drawn_)
    assert len(text) < 3_000_000
    assert text.count("<tr>") == 2 + 1000 + len(groups)
    assert "see summary.csv" not in text
    more = comparison_page(runs * 4, groups * 4, columns, {})
    assert more.count("and 1000 more, see summary.csv") == 2


def test_a_long_value_leaves_room_for_the_others_on_the_terminal() -> None:
    runs = [run_of({"model.layers": json.dumps(list(range(number)))}, number / 100) for number in (40, 50)]
    assert max(map(len, terminal_table(runs, group(runs)).splitlines()[:3])) < 80


@pytest.mark.parametrize("columns", [1, 2])
def test_a_legend_is_read_at_390_pixels_and_none_of_it_is_cut_off(columns: int) -> None:
    figure, axes = canvas()
    for number in range(4):
        axes.plot([0, 1], label=f"optimizer.lr=0.0{number} model.hidden=[256,128,64] data.batch_size=128  n=3")
    height = figure.get_figheight()
    legend(figure, columns=columns)
    png(figure)
    (box,) = figure.legends
    pixels = 366 / (figure.get_figwidth() * 72)  # of a telephone's page, in a point
    assert all(float(text.get_fontsize()) * pixels > 10 for text in box.get_texts())
    assert ["".join(text.get_text().split()) for text in box.get_texts()] == [
        f"optimizer.lr=0.0{number}model.hidden=[256,128,64]data.batch_size=128n=3" for number in range(4)
    ]
    extent = box.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width
    assert extent.height / figure.dpi < figure.get_figheight() - height + 0.15, "the axes keep their height"
