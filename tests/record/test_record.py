"""The run directory: valid at every moment, honest about what became of a run."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from strobe.config.compose import plain
from strobe.errors import ConfigError
from strobe.machine.rank import process_rank
from strobe.record.epochs import read_epochs
from strobe.record.files import write_atomically
from strobe.record.identity import config_hash
from strobe.record.report import read_report
from strobe.record.run_record import RunRecord
from tests.conftest import ROOT, Compose, Train, report
from tests.run.test_train import rows


class CopyReport(Callback):
    """Copies the report when training begins."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        root = Path(trainer.default_root_dir)
        (root / "then.json").write_bytes((root / "report.json").read_bytes())


@pytest.fixture
def start(compose_config: Compose, tmp_path: Path) -> Iterator[Callable[..., RunRecord]]:
    """Begin a run in ``run`` under the test's directory, once the one before it there has ended."""
    begun: list[RunRecord] = []

    def started(*overrides: str, resume: bool = False) -> RunRecord:
        cfg = compose_config(*overrides)
        begin = RunRecord.resume if resume else RunRecord.start
        for earlier in begun:
            earlier.close()
        record = begin(tmp_path / "run", plain(cfg), OmegaConf.to_yaml(cfg), overrides)
        record.begin() if resume else None
        begun.append(record)
        return record

    yield started
    for record in begun:
        record.close()


def edit(directory: Path, **fields: Any) -> None:
    """Change a report on the disk."""
    (directory / "report.json").write_text(json.dumps({**report(directory), **fields}))


def test_the_report_is_there_while_the_run_is_on(train_tiny: Train) -> None:
    directory = train_tiny("+callbacks.copy._target_=tests.record.test_record.CopyReport", "name=now")
    then = json.loads((directory / "then.json").read_text())
    assert (then["status"], then["name"], then["pid"], then["ended"]) == ("running", "now", os.getpid(), None)
    assert then["effective"]["precision"] == "32-true"
    assert report(directory)["status"] == "completed"


def test_a_reader_never_sees_half_a_report(start: Callable[..., RunRecord]) -> None:
    record = start()
    done = threading.Event()
    seen: list[int] = []
    broken: list[str] = []

    def read() -> None:
        while not done.is_set():
            text = (record.directory / "report.json").read_text()
            try:
                seen.append(len(json.loads(text)["padding"]) if "padding" in text else 0)
            except ValueError:
                broken.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    sizes = itertools.count(step=1000)
    while (size := next(sizes)) < 100_000 or len(set(seen)) < 2:
        record.update(padding="x" * (size % 100_000))
    done.set()
    reader.join()
    assert broken == []
    assert len(set(seen)) > 1, "it has read while there were several"
    assert [path.name for path in record.directory.glob(".*")] == []


def test_a_write_that_fails_leaves_the_old_text_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_json_lacks_become_null(start: Callable[..., RunRecord]) -> None:
    record = start()
    record.update(metrics={"val/loss": float("nan"), "val/acc": 0.5}, best={"value": float("inf"), "deep": [-1e999]})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((record.directory / "report.json").read_text(), parse_constant=refuse)
    assert found["metrics"] == {"val/loss": None, "val/acc": 0.5}
    assert found["best"] == {"value": None, "deep": [None]}


def test_a_run_in_progress_is_running(start: Callable[..., RunRecord]) -> None:
    assert read_report(start().directory)["status"] == "running"


def test_a_running_run_whose_process_is_gone_has_died(start: Callable[..., RunRecord]) -> None:
    directory = start().directory
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    edit(directory, pid=process.pid)
    assert read_report(directory)["status"] == "died"


def test_a_running_run_whose_number_another_process_has_now_has_died(start: Callable[..., RunRecord]) -> None:
    directory = start().directory
    edit(directory, started="2020-01-01T00:00:00.000+00:00")
    assert read_report(directory)["status"] == "died"


def test_a_running_run_whose_process_is_a_zombie_has_died(start: Callable[..., RunRecord]) -> None:
    directory = start().directory
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # until it ends; no one has asked for its exit status yet
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        edit(directory, pid=process.pid)
        assert read_report(directory)["status"] == "died"
    finally:
        process.communicate()


def test_a_run_on_another_machine_is_not_called_dead(start: Callable[..., RunRecord]) -> None:
    directory = start().directory
    edit(directory, host="elsewhere", pid=2**22 + 1)
    assert read_report(directory)["status"] == "running"


@pytest.mark.parametrize(
    "content", [b"", b'{"status": "comp', b"null", b"[]", b"{}", b"\xff\xfe\x00", b"<html></html>"], ids=repr
)
def test_a_corrupt_report_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"report\.json is (damaged|not the report of a run)"):
        read_report(tmp_path)


@pytest.mark.parametrize("place", ["nowhere", "empty", "file", "other"])
def test_a_directory_that_is_no_run_is_a_clear_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with pytest.raises(ConfigError, match=place):
        read_report(tmp_path / place)


_BEGIN = """
import sys
from pathlib import Path
from strobe.machine.rank import process_rank
from strobe.record.run_record import RunRecord

print("ready", flush=True)
sys.stdin.readline()
RunRecord.start(Path(sys.argv[1]), {"seed": 1}, "seed: 1", [])
"""


def test_one_directory_takes_one_run_however_many_begin_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BEGIN, str(tmp_path / "run")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    begun = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(4)]
    for process in begun:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=300)[1] for process in begun]
    assert sorted(process.returncode for process in begun) == [0, 1, 1, 1]
    assert sum("already holds a run" in error for error in errors) == 3
    assert report(tmp_path / "run")["pid"] in [process.pid for process in begun if process.returncode == 0]


def test_a_directory_that_cannot_be_written_is_named(compose_config: Compose, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't write to the run directory"):
        RunRecord.start(tmp_path / "file" / "run", plain(compose_config()), "", [])


def test_the_order_of_overrides_makes_no_other_experiment(compose_config: Compose) -> None:
    first = compose_config("seed=2", "+model.a=1", "+model.b=2")
    second = compose_config("+model.b=2", "+model.a=1", "seed=2")
    assert config_hash(plain(first)) == config_hash(plain(second))


def test_a_resumed_run_replaces_the_rows_that_it_trains_again(start: Callable[..., RunRecord]) -> None:
    record = start()
    for epoch in range(4):
        record.add_epoch({"epoch": epoch, "train/loss": 1.0 + epoch})
    record.finish("failed")
    resumed = start(resume=True)
    resumed.add_epoch({"epoch": 2, "train/loss": 9.0, "val/acc": 0.5})
    found = read_epochs(resumed.directory)
    assert [(row["epoch"], row["train/loss"], row["val/acc"]) for row in found] == [
        ("0", "1.0", ""),
        ("1", "2.0", ""),
        ("2", "9.0", "0.5"),
    ]


def test_half_a_metrics_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    assert read_epochs(tmp_path) == []
    (tmp_path / "metrics.csv").write_text("epoch,step,train/loss\n0,17,1.5\n1,34,0.5\ngarb")
    assert [row["epoch"] for row in read_epochs(tmp_path)] == ["0", "1"]
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    assert read_epochs(tmp_path) == []


def test_every_epoch_has_one_row(train_tiny: Train) -> None:
    directory = train_tiny("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    found = rows(directory)
    assert [row["epoch"] for row in found] == ["0", "1", "2"]
    assert [bool(row["val/acc"]) for row in found] == [False, True, True]  # every second, and where training ends
    assert report(directory)["best"]["value"] is not None


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"LOCAL_RANK": "1"}, 1),
        ({"SLURM_PROCID": "2"}, 2),
        ({"RANK": ""}, 0),
        ({"RANK": "two"}, 0),
    ],
)
def test_the_rank_comes_from_the_launcher(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], rank: int
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == rank


def test_ranks_other_than_the_first_write_nothing(
    start: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    record = start()
    record.add_epoch({"epoch": 0})
    record.finish("completed")
    assert not record.directory.exists()
