"""What a person sees while a run trains: the bar on a terminal, a line per epoch, and what was asked for."""

import io
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from strobe.callbacks.epoch_line import epoch_line
from strobe.machine import transient
from strobe.run.process import let_lightning_say_what_was_asked
from tests.conftest import Train

ROW = {
    **{"epoch": 0, "step": 5, "val/loss": 0.25, "val/acc": 0.9, "train/loss": 0.5, "train/acc": 0.8},
    **{"train/f1": 0.1, "val/f1": 0.2, "lr": 0.1},
}


@pytest.mark.parametrize(
    ("width", "monitor", "line"),
    [
        (
            120,
            "val/acc",
            "epoch 1/2  train loss 0.5000 acc 0.8000 f1 0.1000  val loss 0.2500 acc 0.9000 f1 0.2000  1.0 s",
        ),
        (80, "val/acc", "epoch 1/2  train loss 0.5000 acc 0.8000  val loss 0.2500 acc 0.9000  1.0 s"),
        (62, "val/f1", "epoch 1/2  train loss 0.5000  val loss 0.2500 f1 0.2000  1.0 s"),
        (30, "val/f1", "epoch 1/2  val f1 0.2000  1.0 s"),
    ],
)
def test_an_epochs_line_has_room_for_what_matters_most(width: int, monitor: str, line: str) -> None:
    assert epoch_line("epoch 1/2", ROW, "1.0 s", monitor, width) == line


def test_metrics_of_ones_own_are_called_what_they_were_logged_as() -> None:
    row = {"epoch": 0, "step": 5, "train_loss": 0.5, "g_loss": 123456.0, "gan/d": 1e-5, "lr": None}
    assert (
        epoch_line("epoch 1", row, "1.0 s", None, 80)
        == "epoch 1  train_loss 0.5000 g_loss 1.235e+05 gan/d 1e-05  1.0 s"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    fake = Terminal()
    monkeypatch.setattr(transient, "sys", SimpleNamespace(stderr=fake))  # pytest takes the real one between phases
    return fake


def lines_of(terminal: Terminal) -> list[str]:
    return [line.rstrip() for line in terminal.getvalue().split("\r")]


EVERY_STEP = "callbacks.progress.refresh_s=0"


def test_what_has_no_room_goes_from_both_splits() -> None:
    row = {f"{split}/{name}": 0.5 for split in ("train", "val") for name in ("loss", "acc", "f1", "recall")}
    line = epoch_line("epoch 1/2", row, "1.0 s", "val/acc", 90)
    assert "f1 0.5000  val" in line
    assert "recall" not in line


def test_a_bar_shows_loss_rate_and_time_left(train_tiny: Train, terminal: Terminal) -> None:
    train_tiny(EVERY_STEP, "data.batch_size=16")
    lines = [line for line in lines_of(terminal) if "validating ..." not in line]  # of a slow machine
    assert all(len(line) < 80 for line in lines)
    first = [line for line in lines if line.startswith("epoch 1/2")][-1]
    assert all(word in first for word in (" loss ", "it/s", " left ", " in all"))
    last = [line for line in lines if line.startswith("epoch 2/2")][-1]
    assert last.split()[2] == "100%"
    assert last.endswith("0:00 left")
    assert lines[-1] == ""


def test_a_bar_shows_what_a_module_of_ones_own_gives(train_own: Train, terminal: Terminal) -> None:
    train_own("Own", EVERY_STEP, "monitor.metric=val_loss", "monitor.mode=min")
    assert any(" loss " in line for line in lines_of(terminal))


@pytest.mark.parametrize("sanity", [0, 2])
def test_a_validation_that_takes_long_is_seen(
    train_tiny: Train, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, sanity: int
) -> None:
    monkeypatch.setattr("strobe.callbacks.progress._QUIET_S", 0)
    train_tiny(EVERY_STEP, "data.batch_size=16", "trainer.max_epochs=1", f"trainer.num_sanity_val_steps={sanity}")
    lines = lines_of(terminal)
    assert any(line.startswith("epoch 1/1  validating 100% |") for line in lines)
    assert any(line.startswith("first look at the validation") for line in lines) == bool(sanity)


def test_the_loss_is_read_when_it_is_drawn_alone(
    train_tiny: Train, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strobe.callbacks.progress import Progress

    reads: list[Any] = []
    loss = Progress._loss
    monkeypatch.setattr(Progress, "_loss", lambda *arguments: (reads.append(1), loss(*arguments))[1])
    train_tiny("callbacks.progress.refresh_s=1000", "data.batch_size=16")
    assert len(reads) == 2, "one for the first step of each epoch"


def test_without_a_terminal_there_is_no_bar(train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train_tiny(EVERY_STEP)
    assert "\r" not in capsys.readouterr().err


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    class Ears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    ears = Ears()
    logger = logging.getLogger("lightning.pytorch")
    logger.addHandler(ears)
    yield lines
    logger.removeHandler(ears)


def test_what_a_person_asked_a_callback_to_say_is_said_and_no_more(train_tiny: Train, said: list[str]) -> None:
    train_tiny(
        "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping",
        "+callbacks.stop.monitor=val/loss",
        "+callbacks.stop.verbose=true",
        "+callbacks.sum._target_=lightning.pytorch.callbacks.ModelSummary",
    )
    assert any("improved" in line for line in said)
    assert any("Trainable params" in line for line in said)
    assert not any("available" in line or "Trainer.fit" in line for line in said)


def test_what_all_callbacks_share_is_told_apart_by_where_it_comes_from(said: list[str]) -> None:
    let_lightning_say_what_was_asked()
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    for folder in ("callbacks", "trainer", "tuner"):
        logger.handle(logging.LogRecord(logger.name, logging.INFO, f"/x/{folder}/y.py", 1, folder, (), None))
    logger.handle(logging.LogRecord(logger.name, logging.INFO, "<string>", 1, "python -c", (), None))
    assert said == ["callbacks", "tuner"]
