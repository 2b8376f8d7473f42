"""Weights & Biases and MLflow, without a network: what they are told, and that nothing of it can cost a run."""

import importlib.util
import json
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from strobe.callbacks import mlflow_logger
from strobe.config import kinds
from strobe.errors import DivergedError, InterruptedRunError, PreemptedError
from tests.conftest import Compose, Train, report
from tests.run.test_faults import broken, stopping

wandb = pytest.importorskip("wandb")
mlflow = pytest.importorskip("mlflow")

SECRET = "hunter2secretvalue"
OFFLINE = ("logger=wandb", "logger.wandb.offline=true")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow makes its tables by dozens of migrations, which take longer than a run: it does so once."""
    store = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings(action="ignore"):
        mlflow.MlflowClient(f"sqlite:///{store}").search_experiments()
    return store


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    """Nothing of whoever runs the tests is used: neither variables nor keys, and no directory but the test's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    shutil.copy(empty_store, tmp_path / "outputs" / "mlflow.db")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_SILENT", *mlflow_logger._IMPATIENT):
        monkeypatch.setenv(name, "true" if name == "WANDB_SILENT" else mlflow_logger._IMPATIENT[name])


def told_wandb(directory: Path) -> dict[str, Any]:
    """What the files of an offline run hold, once its service has written the end of each."""
    deadline = time.monotonic() + 120
    while True:
        told = _told_wandb(directory)
        files = list(directory.glob("wandb/offline-run-*"))
        if len(told["exits"]) == len(files) > 0 or time.monotonic() > deadline:
            return told
        time.sleep(0.1)


def _told_wandb(directory: Path) -> dict[str, Any]:
    """Ids, config, rows by step, summary, exit codes."""
    from wandb.proto import wandb_internal_pb2

    told: dict[str, Any] = {"ids": [], "config": {}, "rows": defaultdict(dict), "summary": {}, "exits": []}
    for path in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        for data in _records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                told["run"] = record.run
                told["ids"].append(record.run.run_id)
                told["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                told["rows"][row["_step"]] |= row
            elif kind == "summary":
                told["summary"] |= {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update
                }
            elif kind == "exit":
                told["exits"].append(record.exit.exit_code)
    return told


def _records(log: bytes) -> list[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, of chunks with a checksum, a length and a type."""
    records: list[bytes] = []
    parts, at = b"", 7
    while at + 7 <= len(log):  # what is still being written is left out
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", log[at + 4 : at + 7])
        if at + 7 + length > len(log):
            break
        parts += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            records.append(parts)
            parts = b""
    return records


def told_mlflow(run: str | None = None) -> Any:
    """The only run in the store, or that of an id."""
    client = mlflow.MlflowClient(f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
    if run is not None:
        return client.get_run(run)
    experiment = client.get_experiment_by_name("strobe")
    (found,) = client.search_runs([experiment.experiment_id])
    return found


def test_wandb_is_told_the_settings_the_curves_and_the_result(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", f"+data.token={SECRET}"])
    named = ("name=first", "note=for the paper", "tags=[a,b]")
    directory = train_tiny(*OFFLINE, *named, f"+logger.wandb.settings.api_key={SECRET}")
    told, ended = told_wandb(directory), report(directory)
    run = told["run"]
    assert (run.display_name, run.notes, list(run.tags), run.project) == (
        "first",
        "for the paper",
        ["a", "b"],
        "strobe",
    )
    assert told["config"]["optimizer"]["lr"] == 0.001
    assert told["config"]["run_directory"] == str(directory.resolve())
    assert told["config"]["config_hash"] == ended["config_hash"]
    assert told["summary"]["status"] == "completed"
    assert told["summary"]["test/acc"] == ended["metrics"]["test/acc"]
    assert told["exits"] == [0]
    by_epoch = [row["val/loss"] for row in told["rows"].values() if "val/loss" in row]
    assert len(by_epoch) == 2
    assert by_epoch[0] > by_epoch[1]
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_mlflow_is_told_the_settings_the_curves_and_the_result(train_tiny: Train) -> None:
    Path("outputs/mlflow.db").unlink()  # this once it is made by the run
    directory = train_tiny("logger=mlflow", "name=first", "note=for the paper", "tags=[a,b]")
    run, ended = told_mlflow(), report(directory)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.tags["run_directory"] == str(directory.resolve())
    assert run.data.tags["config_hash"] == ended["config_hash"]
    assert (run.data.tags["status"], run.data.tags["tags"]) == ("completed", "a, b")
    assert run.data.tags["mlflow.note.content"] == "for the paper"
    assert run.data.metrics["test/acc"] == pytest.approx(ended["metrics"]["test/acc"])
    client = mlflow.MlflowClient(f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
    curve = client.get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in curve] == sorted({point.step for point in curve})
    assert len(curve) == 2


def test_numbers_and_identity_are_the_same_with_any_logger(train_tiny: Train) -> None:
    plain = train_tiny("logger=none")
    for logger in ("[tensorboard,csv]", "[wandb,mlflow]"):
        shown = train_tiny(f"logger={logger}", *(["logger.wandb.offline=true"] if "wandb" in logger else []))
        assert report(shown)["metrics"] == report(plain)["metrics"]
        assert report(shown)["config_hash"] == report(plain)["config_hash"]


ENDS = {
    "failed": (broken("bug"), LookupError, 1, "FAILED"),
    "diverged": (["optimizer=sgd", "optimizer.lr=1e12"], DivergedError, 1, "FAILED"),
    "interrupted": (stopping(signal.SIGINT), InterruptedRunError, 130, "KILLED"),
    "preempted": (stopping(signal.SIGTERM), PreemptedError, 143, "KILLED"),
}


@pytest.mark.parametrize("status", ENDS)
def test_a_run_that_ends_early_says_how(train_tiny: Train, tmp_path: Path, status: str) -> None:
    overrides, error, code, word = ENDS[status]
    with pytest.raises(error):
        train_tiny("logger=[wandb,mlflow]", "logger.wandb.offline=true", *overrides, directory=tmp_path / "run")
    told, run = told_wandb(tmp_path / "run"), told_mlflow()
    assert report(tmp_path / "run")["status"] == status
    assert (told["summary"]["status"], told["exits"]) == (status, [code])
    assert (run.data.tags["status"], run.info.status) == (status, word)


def test_a_resumed_run_goes_on_in_the_same_remote_runs(train_tiny: Train, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with pytest.raises(PreemptedError):
        train_tiny("logger=[wandb,mlflow]", "logger.wandb.offline=true", *stopping(signal.SIGTERM), directory=directory)
    began = json.loads((directory / "remotes.json").read_text())
    train_tiny(f"resume={directory}", "logger=[wandb,mlflow]", "logger.wandb.offline=true", directory=directory)
    assert json.loads((directory / "remotes.json").read_text()) == began
    told, run = told_wandb(directory), told_mlflow()
    assert told["ids"] == [began["wandb"]["id"]] * 2
    assert told["exits"] == [143, 0]
    assert (run.info.run_id, run.info.status) == (began["mlflow"]["id"], "FINISHED")
    assert not [tag for tag in run.data.tags if tag.startswith("resumed/resume")]
    client = mlflow.MlflowClient(f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
    for name in run.data.metrics:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        assert len(steps) == len(set(steps)), f"{name} was told twice"


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=wandb"],  # nobody has logged in, and a terminal would be asked
        ["logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9"],
        ["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:////proc/none/mlflow.db"],
    ],
)
def test_a_service_that_is_not_there_costs_one_line(
    train_tiny: Train, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    directory = train_tiny(*overrides)
    assert report(directory)["status"] == "completed"
    warned = [record.getMessage() for record in caplog.records if record.name.startswith("strobe.callbacks")]
    warned = [line for line in warned if "training goes on" in line or "kept offline" in line]
    assert len(warned) == 1


@pytest.mark.parametrize("break_at", ["_tell", "_finish"])
def test_a_service_that_is_lost_on_the_way_costs_one_line(
    train_tiny: Train, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, break_at: str
) -> None:
    def lost(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(mlflow_logger.MLflow, break_at, lost)
    directory = train_tiny("logger=mlflow")
    assert report(directory)["status"] == "completed"
    assert len([record for record in caplog.records if "no space left" in record.getMessage()]) == 1


def test_a_store_that_is_there_again_at_the_end_gets_all(train_tiny: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    send, calls = mlflow_logger.MLflow._send, []

    def flaky(self: mlflow_logger.MLflow) -> None:
        calls.append(len(self._kept))
        if len(calls) == 1:
            raise OSError("the network is gone")
        send(self)

    monkeypatch.setattr(mlflow_logger.MLflow, "_send", flaky)
    train_tiny("logger=mlflow")
    assert len(calls) == 2, "it is asked again at the end, and not in every epoch"
    assert {"train/loss", "val/acc", "test/acc"} <= set(told_mlflow().data.metrics)


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_before_anything_is_trained(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    from strobe.config.checks import problems_with_libraries
    from strobe.config.compose import resolved

    find = importlib.util.find_spec
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    (line,) = problems_with_libraries(resolved(compose_config(f"logger={package}")))
    assert f"pip install {package}" in line


def test_neither_package_is_imported_before_it_is_chosen() -> None:
    program = "import sys, strobe.run.story; assert not {'wandb', 'mlflow'} & set(sys.modules), 'a heavy import'"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_a_job_of_a_sweep_stands_with_the_others(train_tiny: Train, tmp_path: Path) -> None:
    sweep = tmp_path / "four"
    sweep.mkdir()
    (sweep / "multirun.yaml").touch()
    directory = train_tiny("logger=[wandb,mlflow]", "logger.wandb.offline=true", directory=sweep / "000_seed=1")
    run = told_wandb(directory)["run"]
    assert (run.run_group, run.display_name) == ("four", "four/000_seed=1")
    assert told_mlflow().data.tags["sweep"] == "four"


@pytest.mark.parametrize(("installed", "hint"), [(True, ": mlflow ui"), (False, ": to look at it, pip install mlflow")])
def test_mlflow_says_how_to_look_with_what_is_installed(
    train_tiny: Train,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    installed: bool,
    hint: str,
) -> None:
    """The extra is mlflow-skinny, whose `mlflow ui` stops for want of flask."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        mlflow_logger.importlib.util, "find_spec", lambda name: installed or None if name == "flask" else find(name)
    )
    caplog.set_level("INFO")
    train_tiny("logger=mlflow", "trainer.max_epochs=1")
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("MLflow, run")]
    assert hint in line
