"""The page of one run: it stands alone, holds what the run left, and nothing in it does anything."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from strobe.commands.report import main
from strobe.record.details import (
    DETAILS,
    FOLDER,
    Bin,
    ClassDetails,
    Details,
    Mistake,
    Number,
    NumberDetails,
    details_text,
)
from strobe.report.details_plots import pictures
from strobe.report.page import write_page
from strobe.report.page_plots import curves
from strobe.report.page_settings import changed_settings
from tests.conftest import Train
from tests.report.test_cells import NASTY
from tests.report.test_report import BEST, write_failed, write_run

PNG = b"\x89PNG\r\n\x1a\n"


def many(size: int, *, names: tuple[str, ...] = (), picture: bytes | None = None) -> Details:
    """Details of a net that takes each class for itself nine times, and once for the next."""
    confusion = {(label, label): 9 for label in range(size)} | {(label, (label + 1) % size): 1 for label in range(size)}
    bins = (*[Bin(0, 0.0, 0.0)] * 14, Bin(10 * size, 0.95, 0.9))
    mistakes = tuple(Mistake(index, 0, 1, 0.99, picture) for index in range(3))
    classes = ClassDetails(10 * size, 9 * size, names or tuple(map(str, range(size))), confusion, 0.05, bins, mistakes)
    return Details("best.ckpt", classes=classes)


def page_of(directory: Path, *arguments: Any) -> str:
    return write_page(directory, directory, *arguments).read_text()


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def loads_nothing(page: str) -> bool:
    tags = Tags()
    tags.feed(page)
    sources = [attributes[name] or "" for _, attributes in tags.found for name in ("src", "href") if name in attributes]
    allowed = all(source.startswith("data:image/png;base64,") for source in sources)
    acts = [
        tag for tag, attributes in tags.found if tag == "script" or any(name.startswith("on") for name in attributes)
    ]
    return allowed and not acts


def test_the_page_of_a_run_holds_what_it_left(train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_tiny("optimizer.lr=0.00003", "note=my first", "tags=[demo]", "name=try")
    assert main([str(run)]) == 0
    assert f"written: {run}/report.html, summary.md, summary.csv" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    words = words_of(page)
    report = json.loads((run / "report.json").read_text())
    assert "try completed" in words
    assert "my first" in words
    assert "tags: demo" in words
    for name in ("train/acc", "val/acc", "test/acc"):
        assert f"{report['metrics'][name]:.4f}" in words
    assert "optimizer.lr 3e-05 0.001" in words
    assert "trainer.max_epochs 2 5" in words
    for title in ("loss", "acc", "Calibration"):
        assert f"<figcaption>{title}</figcaption>" in page
    right = round(163 * report["metrics"]["test/acc"])
    assert f"{right} of 163 correct" in words
    assert page.count("taken for") >= 25
    assert loads_nothing(page)
    assert {"predictions.csv", DETAILS, "confusion.png"} <= {path.name for path in (run / FOLDER).iterdir()}


def test_details_are_computed_once_and_anew_after_the_checkpoint(
    train_tiny: Train, caplog: pytest.LogCaptureFixture
) -> None:
    run = train_tiny("optimizer.lr=0.00003", "trainer.max_epochs=1")
    assert main([str(run), "--no-details"]) == 0
    assert not (run / FOLDER).exists()
    assert "Test in detail" not in (run / "report.html").read_text()
    told = []
    for newer in (False, False, True):
        if newer:
            later = (run / FOLDER / DETAILS).stat().st_mtime + 10
            os.utime(run / "checkpoints" / "best.ckpt", (later, later))
        caplog.clear()
        assert main([str(run)]) == 0
        told.append(f"Testing {run} again for its page" in caplog.text)
        assert "Test in detail" in (run / "report.html").read_text()
    assert told == [True, False, True]


@pytest.mark.parametrize(
    ("checkpoint", "override"), [("last.ckpt", "seed=2"), ("best.ckpt", "trainer.limit_test_batches=1")]
)
def test_details_of_something_else_are_neither_shown_nor_replaced(
    train_tiny: Train, checkpoint: str, override: str
) -> None:
    run = train_tiny("optimizer.lr=0.00003", "trainer.max_epochs=1")
    (run / FOLDER).mkdir()
    other = details_text(Details(checkpoint, (override,), many(7).classes))
    (run / FOLDER / DETAILS).write_text(other)
    assert main([str(run)]) == 0
    assert "of 163 correct" in (run / "report.html").read_text()
    assert (run / FOLDER / DETAILS).read_text() == other


def test_where_there_can_be_no_details_the_page_says_why(train_tiny: Train, caplog: pytest.LogCaptureFixture) -> None:
    run = train_tiny("trainer.max_epochs=1")
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    assert main([str(run)]) == 0
    assert "No details of the test: " in caplog.text
    assert "best.ckpt does not exist" in words_of((run / "report.html").read_text())


def test_what_was_not_to_be_tested_is_not_tested(train_tiny: Train, caplog: pytest.LogCaptureFixture) -> None:
    run = train_tiny("trainer.max_epochs=1", "test=false")
    assert main([str(run)]) == 0
    assert "Testing" not in caplog.text
    assert not (run / FOLDER).exists()


def test_a_failed_run_says_what_ended_it(tmp_path: Path) -> None:
    run = write_failed(tmp_path / "run", "oom", "out of memory: <b>choose</b> smaller\nbatches")
    page = page_of(run)
    assert "run oom" in words_of(page)
    assert "RunError: out of memory: &lt;b&gt;choose&lt;/b&gt; smaller\nbatches</pre>" in page


def test_a_comparison_of_several_runs_is_no_page_of_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "sweep" / name, 0.5)
    assert main([str(tmp_path / "sweep")]) == 0
    assert "Strobe report" in (tmp_path / "sweep" / "report.html").read_text()


def test_train_and_validation_are_on_the_same_axes() -> None:
    rows = [
        {"epoch": str(epoch), "train/acc": "0.5", "val/acc": "0.25", "val_iou": "1", "lr": "0.1", "seconds": "2"}
        for epoch in range(3)
    ]
    assert list(curves(rows, 1)) == ["acc", "iou"]
    assert list(curves([*rows, {**rows[0], "epoch": "3", "lr": "0.01"}], None)) == ["acc", "iou", "lr"]
    assert curves([{"epoch": "0", "train/loss": "nan", "val/loss": ""}], None) == {}
    assert list(curves([{"epoch": "0", "train/loss": "1e300", "val/loss": "-inf", "x": "1"}], 0)) == ["x"]


@pytest.mark.parametrize(("size", "drawn"), [(2, True), (10, True), (30, True), (100, True), (1000, False)])
def test_any_number_of_classes_has_a_page(tmp_path: Path, size: int, drawn: bool) -> None:
    details = many(size)
    assert ("confusion" in pictures(details, alone=True)) is drawn
    page = page_of(write_run(tmp_path / "run"), details)
    assert f"{9 * size:,} of {10 * size:,} correct (90.00 %)" in page
    assert ("the 100 of 1,000 classes with the lowest F1" in page) is (size == 1000)
    assert len(page) < 1_000_000


def test_a_regression_has_its_errors_on_the_page(tmp_path: Path) -> None:
    numbers = tuple(Number(name, 0.5, 0.75, None, ((1.0, 2.0), (float("nan"), 1.0))) for name in ("a", "b"))
    page = page_of(write_run(tmp_path / "run"), Details("best.ckpt", numbers=NumberDetails(2, numbers)))
    assert "a 0.5000 0.7500 - 2" in words_of(page)
    assert "b: predicted against true" in page


def test_nothing_that_a_run_says_does_anything_in_its_page(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "d`|<b>",
        0.5,
        f"model.a={NASTY}",
        metric=f"val/{NASTY}",
        config={"note": NASTY, "model": {"_target_": NASTY}},
        name=NASTY,
        tags=[NASTY],
        environment={"command": NASTY, NASTY: NASTY},
        effective={"precision": NASTY},
        requested={"precision": "32", NASTY: NASTY},
        status="failed",
        error={"type": NASTY, "message": NASTY},
    )
    (run / ".hydra").mkdir()
    choices = {"model": NASTY, "data": "../../secrets", "task": ["x"]}
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
    details = many(3, names=(NASTY, "<script>", "'\"onload="), picture=PNG)
    page = page_of(run, details, NASTY)
    assert not {"\x1b", "\x9b", "\r", "\x07", "\u202e"} & set(page)
    assert loads_nothing(page)
    tags = Tags()
    tags.feed(page)
    assert not {"b", "script"} & {tag for tag, _ in tags.found}


@pytest.mark.parametrize("record", ["", "[]", "hydra: 3", "a: [", "hydra: {runtime: {choices: [model]}}", "\x00"])
def test_a_damaged_record_of_hydra_costs_no_page(tmp_path: Path, record: str) -> None:
    run = write_run(tmp_path / "run", config={"optimizer": {"lr": 0.5}, "seed": 1})
    (run / ".hydra").mkdir()
    (run / ".hydra" / "hydra.yaml").write_text(record)
    assert changed_settings(run) == [["setting", "this run", "default"], ["optimizer.lr", "0.5", "0.001"]]


def test_chosen_options_are_named_and_their_own_defaults_are_no_news(tmp_path: Path) -> None:
    config = {"model": {"hidden": [64], "dropout": 0.0}, "data": {"path": "a.csv", "val_size": 0.15, "further": None}}
    run = write_run(tmp_path / "run", config=config)
    (run / ".hydra").mkdir()
    choices = {"model": "mlp", "data": "table", "optimizer": "adam", "scheduler": "none", "experiment": "mine"}
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
    assert changed_settings(run)[1:] == [
        ["experiment", "mine", "null"],
        ["data", "table", "mnist"],
        ["model", "mlp", "simple_nn"],
        ["data.path", "a.csv", "-"],
        ["model.hidden", "[64]", "[256, 256]"],
    ]


def test_a_report_that_lacks_nearly_everything_has_a_page(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "report.json").write_text('{"status": "completed"}')
    (run / "metrics.csv").write_bytes(b"\xff\x00")
    (run / "config.yaml").write_bytes(b"a: [\xff")
    assert "run completed" in words_of(page_of(run))
    best = {**BEST, "value": None, "metric": None}
    (run / "report.json").write_text(json.dumps({"status": "completed", "best": best, "timing": {"train_s": 1.0}}))
    assert "training 1.00 s" in words_of(page_of(run))
