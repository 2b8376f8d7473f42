"""`strobe.load_run`, `strobe.runs`, `strobe.sweep`: what a run's directory gives back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import strobe
from strobe.api import sweeping
from strobe.errors import ConfigError
from tests.conftest import ROOT, TEST_CONF


@pytest.fixture
def run(first: Path, monkeypatch: pytest.MonkeyPatch) -> strobe.Run:
    monkeypatch.chdir(first)
    return strobe.load_run()


def seven() -> np.ndarray:
    """As `tests.tiny` draws the class 7."""
    picture = np.full((28, 28), 40, np.uint8)
    picture[14:19, 11:16] = 255
    return picture


def test_a_run_tells_what_its_directory_holds(run: strobe.Run) -> None:
    assert run.directory == Path("outputs/first")
    assert run.report["metrics"]["test/acc"] > 0.5
    assert run.metrics["epoch"] == [0]
    assert isinstance(run.metrics["val/loss"][0], float)
    assert run.config.model.hidden == [32]
    assert not run.net.training
    assert run.curves.png.startswith(b"\x89PNG")


def test_an_evaluation_gives_the_runs_own_numbers_and_every_example(run: strobe.Run) -> None:
    looked_at = run.evaluate(details=True)
    assert (
        looked_at.metrics
        == run.evaluate()
        == {name: value for name, value in run.report["metrics"].items() if name.startswith("test/")}
    )
    assert len(looked_at.predictions) == sum(map(sum, looked_at.confusion)) == 163
    right = sum(row["true"] == row["predicted"] for row in looked_at.predictions)
    assert right / 163 == pytest.approx(looked_at.metrics["test/acc"])
    assert looked_at.per_class["class"] == list("0123456789")
    assert looked_at.pictures["confusion"].png.startswith(b"\x89PNG")
    assert len(looked_at.mistakes) <= 163 - right
    assert "test/acc" in looked_at._repr_html_()


def test_a_picture_may_be_given_as_anything_that_holds_one(run: strobe.Run, tmp_path: Path) -> None:
    image = Image.fromarray(seven())
    for name in ("a.png", "b.png"):
        image.save(tmp_path / name)
    in_colour = np.repeat(seven()[..., None], 3, axis=2)
    given = [
        seven(), torch.from_numpy(seven()), seven()[None], in_colour, in_colour.transpose(2, 0, 1), image,
        image.convert("RGB"), image.convert("CMYK"), tmp_path / "a.png", str(tmp_path / "a.png"),
    ]  # fmt: skip
    assert run.predict(given)["class"] == ["7"] * len(given)
    for each in given:
        assert run.predict(each)["class"] == ["7"], type(each)
    assert len(run.predict(str(tmp_path / "*.png"))) == len(run.predict(tmp_path)) == 2
    assert len(run.predict(np.stack([seven()] * 3)[:, None])) == 3
    several = run.predict(seven(), top=3)[0]
    assert several["probability"] >= several["probability_2"] >= several["probability_3"]


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        (np.zeros((28, 28)), "uint8"),
        (np.zeros((5, 28, 28), np.uint8), r"shape \(5, 28, 28\)"),
        (object(), "object is no picture"),
        ("nothing.png", "there is no such file"),
        ([], "no picture to predict"),
        (b"png", "bytes is no picture"),
    ],
)
def test_what_is_no_picture_is_said(run: strobe.Run, pictures: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run.predict(pictures)


def test_advice_is_given_in_pythons_words(run: strobe.Run) -> None:
    with pytest.raises(ConfigError, match="top=11: must be from 1 to 10"):
        run.predict(seven(), top=11)
    for top in ("2", 2.5):
        with pytest.raises(ConfigError, match="must be a whole number"):
            run.predict(seven(), top=top)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="invert=True"):
        run.predict(255 - seven())


def test_a_strangers_run_names_nothing_that_is_not_trusted(first: Path, tmp_path: Path) -> None:
    theirs = shutil.copytree(first / "outputs" / "first", tmp_path / "theirs")
    text = (theirs / "config.yaml").read_text().replace("strobe.models.mlp.MLP", "theirs.models.Net")
    (theirs / "config.yaml").write_text(text)
    for ask in (lambda run: run.config, lambda run: run.net, lambda run: run.evaluate()):
        with pytest.raises(ConfigError, match="not signed by you"):
            ask(strobe.load_run(theirs))
    assert strobe.load_run(theirs, trust=["theirs"]).report["status"] == "completed"


def test_runs_are_a_table(run: strobe.Run) -> None:
    table = strobe.runs()
    assert table[-1]["directory"] == "outputs/first"
    assert table["status"] == ["completed"]
    with pytest.raises(ConfigError):
        strobe.runs("nowhere")


def test_a_home_directory_is_found(run: strobe.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert len(strobe.runs("~/outputs")) == 1
    assert strobe.load_run("~/outputs/first").status == "completed"


def test_overrides_of_an_evaluation_may_be_one_text(run: strobe.Run) -> None:
    assert run.evaluate(overrides="trainer.accelerator=cpu data.batch_size=50")["test/acc"] == pytest.approx(
        run.report["metrics"]["test/acc"]
    )


def test_what_is_no_run_is_said(run: strobe.Run) -> None:
    with pytest.raises(ConfigError, match="holds 1"):
        strobe.load_run("outputs")


def test_what_a_notebook_shows_is_escaped(run: strobe.Run, tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    table = strobe.Table([{odd: odd}])
    copied = shutil.copytree(run.directory, tmp_path / "odd")
    changed = json.loads((copied / "report.json").read_text()) | {"overrides": [f"note={odd}"]}
    (copied / "report.json").write_text(json.dumps(changed))
    for shown in (table._repr_html_(), strobe.load_run(copied)._repr_html_()):
        assert "<script" not in shown
        assert "&lt;script&gt;" in shown


def test_a_table_has_rows_and_columns() -> None:
    table = strobe.Table({"number": number} for number in range(100))
    assert table["number"] == [row["number"] for row in table] == list(range(100))
    assert len(table[10:20]) == 10
    assert "and 40 more rows" in repr(table)
    with pytest.raises(KeyError, match="there are: number"):
        table["numbr"]
    assert repr(strobe.Table([])) == ""
    numbered = strobe.Table([{0: "<a>"}])  # type: ignore[dict-item]
    assert numbered["0"] == ["<a>"]
    assert "&lt;a&gt;" in numbered._repr_html_()


def test_a_sweep_finds_what_is_beside_a_config_directory_that_is_named_in_its_overrides(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def run(command: Any, environment: dict[str, str]) -> tuple[int, str]:
        found.append(environment["PYTHONPATH"])
        return ConfigError.exit_code, "refused"

    monkeypatch.setattr(sweeping, "_run", run)
    for overrides, folder in (([], "mine/conf"), (["--config-dir=mine/conf"], None), ("--config-dir mine/conf", None)):
        with pytest.raises(ConfigError, match="refused"):
            strobe.sweep(overrides, folder)
    assert [text.split(os.pathsep)[-1] for text in found] == [str(Path("mine").absolute())] * 3


@pytest.mark.slow
def test_a_sweep_from_python_is_that_of_the_command(
    here: Path, tiny: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    done = strobe.sweep([*tiny["overrides"], "optimizer.lr=1e-3,1e-9", "seed=1,2"], TEST_CONF)
    assert "4 completed" in capfd.readouterr().out
    assert done.directory.parent == Path("outputs/sweeps").absolute(), "it is found from elsewhere too"
    assert "sweep.name" not in done.table.columns
    assert [row["seed"] for row in done.table] == ["1", "2", "1", "2"]
    assert done.table["status"] == ["completed"] * 4
    assert len(done.runs) == 4
    assert done.best is not None
    assert done.best.config.optimizer.lr == 1e-3
    assert "optimizer.lr" in done._repr_html_()
    with pytest.raises(ConfigError, match="did you mean"):
        strobe.sweep([*tiny["overrides"], "modle=mlp,cnn"], TEST_CONF)


@pytest.mark.slow
def test_to_interrupt_a_sweep_stops_its_processes(
    here: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")

    def interrupt() -> None:
        while not list(here.glob("outputs/sweeps/stopped/*/metrics.csv")):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        strobe.sweep([*tiny["overrides"], "trainer.max_epochs=2000", "seed=1,2", "sweep.name=stopped"], TEST_CONF)
    table = strobe.runs("outputs/sweeps/stopped")
    assert set(table["status"]) <= {"interrupted", "preempted"}, "and none is running, or died"
    listed = subprocess.run([sys.executable, "-m", "strobe", "runs"], capture_output=True, text=True, check=False)
    assert "running" not in listed.stdout
