"""The benchmark measures in turn, keeps what it found and cleans up; what the numbers are is no test's business."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from strobe.benchmark import scale, sweep
from strobe.benchmark.chart import redraw
from strobe.benchmark.child import PYTHON, SubjectError, run, surroundings
from strobe.benchmark.output import now, read, table, write
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Effort, Figure, Result, interleaved, ratio
from strobe.benchmark.side_by_side import side_by_side
from strobe.commands import benchmark
from strobe.record.find import run_directories
from tests.conftest import ROOT

RESULT = Result(
    "commands",
    "Whole commands",
    [
        Figure("hand-written loop", "s", [2.0, 4.0, 3.0]),
        Figure("strobe train, with a name that is longer than its column", "s", [123.4, 1234.5, 0.012], 5.0),
        Figure("strobe train / hand-written loop", "x", [1.5, 1.2, 1.25], 1.25),
        Figure("jobs / scripts", "x", [8.0], 12.0, more=True),
    ],
)


def test_subjects_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def subject(name: str) -> int:
        order.append(name)
        return len(order)

    found = interleaved({name: partial(subject, name) for name in "abc"}, Effort(rounds=2))
    assert "".join(order) == "abcabcabc"
    assert found == {"a": [4, 7], "b": [5, 8], "c": [6, 9]}


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    figure = ratio("ours", "theirs", {"ours": [1.0, 10.0, 9.0], "theirs": [2.0, 2.0, 3.0]}, 2.5)
    assert figure.name == "ours / theirs"
    assert figure.median == 3.0  # of 0.5, 5 and 3; that of the medians would be 4.5
    assert figure.met is False


@pytest.mark.parametrize(
    ("value", "target", "more", "met"),
    [(1.0, None, False, None), (1.0, 1.0, False, True), (1.1, 1.0, False, False), (1.1, 1.0, True, True)],
)
def test_a_target_is_the_worst_value_that_is_good(value: float, target: float | None, more: bool, met: object) -> None:
    assert Figure("", "x", [value], target, more).met is met


def test_the_table_has_80_columns_and_says_when_it_was_a_quick_look() -> None:
    shown = table(RESULT, Effort(1, quick=True, warm_up=False))
    assert max(map(len, shown.splitlines())) <= 80
    assert "quick" in shown
    assert "quick" not in table(RESULT, Effort())
    assert re.search(r"strobe train / hand-written loop +1\.25 x +1\.20 \.\. 1\.50 +1\.25 \+$", shown, re.MULTILINE)
    assert re.search(r"jobs / scripts +8\.00 x +12\.0 -$", shown, re.MULTILINE)


def test_what_is_kept_can_be_drawn_again_and_is_no_run(tmp_path: Path) -> None:
    directory = tmp_path / "outputs" / "benchmark" / "time"
    report = write(directory, RESULT, Effort(), now(), torch_threads=2)
    content = json.loads(report.read_text())
    assert content["schema"] == 1
    assert {"began", "ended", "machine", "threads", "versions", "rounds", "quick", "warm_up"} < set(content)
    assert {"python", "torch", "lightning", "strobe", "git_commit"} < set(content["versions"])
    assert len(content["began"]["load"]) == 3
    again, _ = read(report)
    assert [vars(figure) for figure in again.figures] == [vars(figure) for figure in RESULT.figures]
    for name in ("one.svg", "two.svg"):
        redraw(report, tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert "hand-written loop" in drawn
    assert list(run_directories(tmp_path)) == []


def test_another_report_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"status": "completed", "schema": 1}')
    with pytest.raises(ValueError, match="is no benchmark's report"):
        read(tmp_path / "report.json")


def test_a_command_is_measured_from_outside(tmp_path: Path) -> None:
    code = "import sys, time; print('seen', sys.stdout.isatty()); time.sleep(0.2)"
    hidden = run([PYTHON, "-c", code], tmp_path)
    assert hidden.output.split() == ["seen", "False"]
    assert hidden.seconds >= 0.2
    assert hidden.peak_mb > 1
    shown = run([PYTHON, "-c", code], tmp_path, shown=True)
    assert shown.output.split() == ["seen", "True"]
    assert shown.seconds >= shown.quiet_s > 0
    with pytest.raises(SubjectError, match=r"ended with 3, not 0, after:\nwhy"):
        run([PYTHON, "-c", "print('why'); raise SystemExit(3)"], tmp_path)


def test_the_peak_of_memory_is_that_of_the_child_alone(tmp_path: Path) -> None:
    large = run([PYTHON, "-c", "held = bytearray(200_000_000)"], tmp_path)
    small = run([PYTHON, "-c", "pass"], tmp_path)
    assert large.peak_mb - small.peak_mb > 150 or small.peak_mb > 250  # where these tests themselves are that large


def test_commands_import_what_the_benchmark_does_or_the_other_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "mine")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in surroundings()
    ours = surroundings()["PYTHONPATH"].split(os.pathsep)
    assert ours == [str(ROOT / "src"), str(tmp_path / "mine")]
    theirs = surroundings(Path("other"))["PYTHONPATH"].split(os.pathsep)
    assert theirs == [str(tmp_path / "other" / "src"), str(tmp_path / "other")]


def test_commands_side_by_side_all_run_and_a_failure_ends_the_others(tmp_path: Path) -> None:
    touch = [[PYTHON, "-S", "-c", f"open('{index}', 'w')"] for index in range(3)]
    side_by_side(touch, 2, tmp_path, os.environ)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    fails, stays = [PYTHON, "-S", "-c", "raise SystemExit(1)"], [PYTHON, "-S", "-c", "import time; time.sleep(600)"]
    with pytest.raises(SubjectError, match="ended with 1"):
        side_by_side([fails, stays], 2, tmp_path, os.environ)


@pytest.mark.parametrize(
    ("spans", "busy"),
    [([], 0), ([(1, 3)], 2), ([(1, 3), (2, 4)], 3), ([(5, 6), (1, 3)], 3), ([(1, 9), (2, 3), (8, 10)], 9)],
)
def test_time_in_which_a_job_runs_counts_once(spans: list[tuple[float, float]], busy: float) -> None:
    assert sweep.busy_s(spans) == busy


def test_runs_are_multiplied_for_a_report(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    (first / "report.json").write_text(json.dumps({"status": "completed", "best": {"value": 0.1}}))
    (first / "config.yaml").write_text("seed: 1\noptimizer:\n  lr: 0.001\n")
    (first / "metrics.csv").write_text("epoch\n0\n")
    made = scale.multiplied(first, tmp_path / "runs", 25)
    assert len(list(run_directories(made))) == 25
    assert len({path.read_text() for path in made.glob("*/config.yaml")}) == 25


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--rounds 0", "--rounds 0: has to be 1 or more"),
        ("scale --jobs -1", "--jobs -1: has to be 1 or more"),
        ("steps --batch-sizes 64 0", "--batch-sizes 0: has to be 1 or more"),
        ("steps --models simple_n", "did you mean simple_nn?"),
        ("steps --precisions 8", "there are: 32, 16-mixed, bf16-mixed"),
        ("start --jobs 3", "--jobs: is of scale, and start has no use for it"),
        ("--beside nowhere", "is no checkout"),
        ("--output report.json", "is a file; name a directory"),
    ],
)
def test_nonsense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.json").touch()
    assert benchmark.main(line.split()) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Place], Result]], list[Path]]:
    """The command with another thing to measure, in an empty directory; gives the scratch directories it has made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Place, "prepare", lambda self: 2)
    made: list[Path] = []

    def replaced(what: Callable[[Place], Result]) -> list[Path]:
        def subjects(options: object, place: Place) -> Result:
            made.append(place.scratch)
            (place.new() / "left").touch()
            return what(place)

        monkeypatch.setattr(benchmark, "_subjects", subjects)
        return made

    return replaced


def test_a_result_is_shown_kept_and_drawn_and_nothing_else_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], measured: Callable[..., list[Path]]
) -> None:
    made = measured(lambda place: RESULT)
    assert benchmark.main(["--quick"]) == 0
    assert "hand-written loop" in capsys.readouterr().out
    names = {path.name for path in tmp_path.glob("outputs/benchmark/*/*")}
    assert names == {".benchmark", "report.json", "chart.svg"}
    assert benchmark.main(["--output", "here"]) == 0
    assert (tmp_path / "here" / "report.json").is_file()
    assert [path.exists() for path in made] == [False, False]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SubjectError("it failed"), 1)])
def test_what_ends_early_leaves_no_trace_and_no_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    measured: Callable[..., list[Path]],
    error: BaseException,
    code: int,
) -> None:
    def ends(place: Place) -> Result:
        raise error

    made = measured(ends)
    assert benchmark.main([]) == code
    assert "Traceback" not in capsys.readouterr().err
    assert not made[0].exists()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_command_that_is_measured(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from strobe.benchmark.child import PYTHON, run\n"
        "try: run([PYTHON, '-S', '-c', \"import time; open('begun', 'w'); time.sleep(600)\"], Path(sys.argv[1]))\n"
        "except KeyboardInterrupt: print('ended')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.communicate()[0].split() == ["ended"]


def test_what_measures_needs_no_torch() -> None:
    modules = "child, commands, memory, output, place, rounds, scale, start, sweep, throughput"
    code = f"import sys; from strobe.benchmark import {modules}; import strobe.commands.benchmark; print(*sys.modules)"
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert not {"torch", "lightning", "matplotlib"} & set(done.stdout.split())


@pytest.mark.slow
def test_growth_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], measured: Callable[..., object]
) -> None:
    measured(partial(scale.scale, jobs=4))
    assert benchmark.main(["scale", "--quick", "--output", "here"]) == 0
    assert re.search(r"last / first 20 of 100 epochs +[\d.]+ x", capsys.readouterr().out)
    figures = json.loads((tmp_path / "here" / "report.json").read_text())["figures"]
    assert {figure["name"] for figure in figures} > {"plan of 4", "report of 4"}
