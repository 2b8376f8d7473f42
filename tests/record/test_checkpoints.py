"""Checkpoints: whole or not there, checked before they are believed, never able to run code."""

import logging
import os
import pickle
import re
import resource
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from strobe.errors import CheckpointError, ConfigError, PreemptedError, RunError
from strobe.record.checkpoints import SafeCheckpointIO, load_checkpoint, load_weights, newest_checkpoint
from strobe.run.evaluation import evaluate
from strobe.run.saved import saved_net
from tests.conftest import Command, Train, report
from tests.run.test_train import equal, weights


def saved(path: Path, net: nn.Module, **more: Any) -> Path:
    """A checkpoint of a net."""
    SafeCheckpointIO().save_checkpoint({"state_dict": net.state_dict(), **more}, path)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A checkpoint of a linear layer."""
    return saved(tmp_path / "good.ckpt", nn.Linear(100, 10))


def as_typed(directory: Path) -> Path:
    """Add what Hydra writes, and ``resume=`` reads, to a run that was trained in this process."""
    (directory / ".hydra").mkdir()
    shutil.copyfile(directory / "config.yaml", directory / ".hydra" / "config.yaml")
    return directory


def flip_in_a_tensor(path: Path) -> None:
    """Flip one bit of a weight."""
    with zipfile.ZipFile(path) as archive:
        record = next(info for info in archive.infolist() if re.search(r"data/\d+$", info.filename))
        content = archive.read(record)
    whole = bytearray(path.read_bytes())
    whole[whole.index(content) + len(content) // 2] ^= 1
    path.write_bytes(whole)


def damage(path: Path, how: str) -> None:
    """Make a checkpoint unusable in one of the ways that happen."""
    content = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "beginning lost":
            path.write_bytes(content[len(content) // 2 :])
        case "html":
            path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
        case "bit flipped":
            flip_in_a_tensor(path)
        case "another zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("readme.txt", "hello")
        case "a plain pickle":
            path.write_bytes(pickle.dumps({"state_dict": {}}))
        case "no state_dict":
            torch.save({"weights": torch.zeros(1)}, path)
        case "a lone tensor":
            torch.save(torch.zeros(1), path)
        case "a directory":
            path.unlink()
            path.mkdir()


DAMAGES = [
    "empty",
    "truncated",
    "beginning lost",
    "html",
    "bit flipped",
    "another zip",
    "a plain pickle",
    "no state_dict",
    "a lone tensor",
    "a directory",
]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_rejected_by_name(good: Path, how: str) -> None:
    load_checkpoint(good)
    damage(good, how)
    with pytest.raises(CheckpointError, match=re.escape(str(good))) as caught:
        load_checkpoint(good)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.ckpt does not exist"):
        load_checkpoint(tmp_path / "none.ckpt")


class Payload:
    """Pickles to a call that creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("variable", [None, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
@pytest.mark.parametrize("place", ["top", "state_dict", "hyper_parameters", "legacy format", "plain pickle"])
def test_a_payload_is_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, place: str
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    path, mark = tmp_path / "evil.ckpt", tmp_path / "executed"
    evil: Any = {"state_dict": nn.Linear(2, 2).state_dict(), place: {"x": Payload(mark)}}
    if place == "top":
        evil = Payload(mark)
    if place == "plain pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=place != "legacy format")
    with pytest.raises(CheckpointError, match=r"evil\.ckpt"):
        load_checkpoint(path)
    assert not mark.exists()


def test_a_hyperparameter_that_names_a_factory_is_never_called(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    (tmp_path / "factory.py").write_text(f"def make(*a, **k): open({str(tmp_path / 'executed')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("last.ckpt", "best.ckpt"):
        path = directory / "checkpoints" / name
        checkpoint = torch.load(path, weights_only=True)
        checkpoint |= {"hyper_parameters": {"_instantiator": "factory.make"}, "hparams_name": "kwargs"}
        torch.save(checkpoint, path)
    train_tiny(f"resume={directory}", directory=directory)
    evaluate(directory)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_detected(tmp_path: Path, bad: float) -> None:
    net = nn.Linear(3, 2)
    path = saved(tmp_path / "nan.ckpt", net)
    with torch.no_grad():
        net.weight[1, 2] = bad
    path = saved(path, net)
    fresh = nn.Linear(3, 2)
    before = fresh.weight.clone()
    with pytest.raises(CheckpointError, match="weight holds NaN or infinity"):
        load_weights(fresh, path)
    assert torch.equal(fresh.weight, before)


def test_another_architecture_is_told_by_the_keys_that_differ(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.ckpt", nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    with pytest.raises(CheckpointError) as caught:
        load_weights(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), path)
    for word in ("lacks 2.bias, 2.weight", "the model lacks 1.bias, 1.weight", "0.weight is (3, 4)", "(5, 4)"):
        assert word in str(caught.value)


@pytest.mark.parametrize("how", ["empty", "truncated", "bit flipped", "html"])
def test_evaluating_a_damaged_checkpoint_fails_by_name(train_tiny: Train, how: str) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    damage(directory / "checkpoints" / "best.ckpt", how)
    with pytest.raises(CheckpointError, match=r"best\.ckpt"):
        evaluate(directory)


def test_a_resumed_run_falls_back_to_the_best_checkpoint_and_says_so(
    train_tiny: Train, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_tiny("trainer.max_epochs=3")
    part = train_tiny("trainer.max_epochs=2")
    best_epoch = report(part)["best"]["epoch"]
    damage(part / "checkpoints" / "last.ckpt", "bit flipped")
    with caplog.at_level(logging.INFO, "strobe"):
        train_tiny("trainer.max_epochs=3", f"resume={part}", directory=part)
    assert "last.ckpt is damaged" in caplog.text
    assert "Resuming from best.ckpt" in caplog.text
    assert f"at epoch {best_epoch + 2}," in caplog.text
    assert equal(weights(whole), weights(part))
    assert (part / "metrics.csv").read_text().count("\n") == 4


def test_a_damaged_last_checkpoint_is_made_anew_where_all_was_trained(train_tiny: Train, tmp_path: Path) -> None:
    settings = ("monitor.metric=val/loss", "monitor.mode=min")
    stop = "+callbacks.stop._target_=tests.run.test_faults.SignalAt"
    with pytest.raises(PreemptedError):
        train_tiny(
            *settings, stop, "+callbacks.stop.number=15", "+callbacks.stop.hook=on_test_start", directory=tmp_path
        )
    assert report(tmp_path)["best"]["epoch"] == 1
    before = weights(tmp_path)
    damage(tmp_path / "checkpoints" / "last.ckpt", "bit flipped")
    train_tiny(*settings, f"resume={tmp_path}", directory=tmp_path)
    assert report(tmp_path)["status"] == "completed"
    assert equal(before, weights(tmp_path, "last.ckpt"))


@pytest.mark.parametrize("left", ["nothing", "damaged files"])
def test_without_a_usable_checkpoint_nothing_is_resumed(train_tiny: Train, left: str) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    before = (directory / "report.json").read_text()
    if left == "nothing":
        shutil.rmtree(directory / "checkpoints")
    else:
        for path in (directory / "checkpoints").iterdir():
            damage(path, "truncated")
    with pytest.raises(CheckpointError, match=r"no usable checkpoint to resume from.*without resume="):
        train_tiny(f"resume={directory}", directory=directory)
    assert (directory / "report.json").read_text() == before


def test_a_directory_that_is_no_run_is_not_resumed(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run directory"):
        train_tiny(f"resume={tmp_path}", directory=tmp_path)


MISFITS = [
    ("optimizer=sgd", ("Adam", "SGD")),
    ("model.hidden=64", ("net.1.weight", "(128, 784)", "(64, 784)")),
    ("model=mlp", ("net.3.weight", "net.5.weight")),
]


@pytest.mark.parametrize(("override", "words"), MISFITS, ids=[case[0] for case in MISFITS])
def test_resuming_with_another_net_or_optimizer_is_refused_and_spoils_nothing(
    train_tiny: Train, override: str, words: tuple[str, ...]
) -> None:
    whole = train_tiny("trainer.max_epochs=2")
    part = train_tiny("trainer.max_epochs=1")
    measured = evaluate(part)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        train_tiny(override, f"resume={part}", directory=part)
    assert [word for word in words if word not in str(caught.value)] == []
    assert evaluate(part) == measured
    train_tiny("trainer.max_epochs=2", f"resume={part}", directory=part)
    assert equal(weights(whole), weights(part))


def test_leftovers_of_a_killed_save_are_swept_when_the_run_resumes(train_tiny: Train) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    for leftover in (".last.ckpt.4711.tmp", ".best.ckpt.4711.tmp"):
        (directory / "checkpoints" / leftover).write_bytes(b"half a checkpoint")
    train_tiny(f"resume={directory}", directory=directory)
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_the_last_checkpoint_is_preferred_to_a_newer_best_one(tmp_path: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        saved(tmp_path / name, nn.Linear(2, 2))
    os.utime(tmp_path / "last.ckpt", (0, 0))
    assert newest_checkpoint(tmp_path) == tmp_path / "last.ckpt"


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_litter(good: Path) -> None:
    before = good.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"good\.ckpt"):
            saved(good, nn.Linear(100, 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_full_disk_fails_the_run_and_keeps_its_last_checkpoint(command: Command, train_tiny: Train) -> None:
    run = as_typed(train_tiny())
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["last.ckpt"]) // 2, hard))  # the command inherits it
    try:
        done = command("train", f"resume={run}", "trainer.max_epochs=4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.returncode == 1
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    assert report(run)["status"] == "failed"
    assert "last.ckpt" in report(run)["error"]["message"]
    load_checkpoint(run / "checkpoints" / "last.ckpt")


def test_checkpoints_hold_tensors_and_plain_containers_only(train_tiny: Train) -> None:
    directory = train_tiny("model=mlp", "optimizer=muon", "scheduler=warmup_cosine", "data.augment=true", "tags=[a]")
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(directory / "checkpoints" / name, weights_only=True)
        assert checkpoint.get("hyper_parameters") in (None, {})
        assert all(key.startswith("net.") for key in checkpoint["state_dict"])
        assert str(directory) not in str({key: value for key, value in checkpoint.items() if key != "state_dict"})


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_a_compiled_run_has_clean_keys_and_the_results_of_an_eager_one(train_tiny: Train) -> None:
    overrides = ("model=mlp", "model.hidden=[32]", "trainer.max_epochs=1")
    eager, compiled = train_tiny(*overrides), train_tiny(*overrides, "compile=true")
    assert report(compiled)["effective"]["compile"] is True
    first, second = weights(eager), weights(compiled)
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=1e-4)
    assert report(eager)["metrics"]["val/loss"] == pytest.approx(report(compiled)["metrics"]["val/loss"], rel=1e-3)
    assert evaluate(compiled, ["compile=false"])["test/acc"] == report(compiled)["metrics"]["test/acc"]


def test_a_run_without_checkpoints_says_so_when_it_is_to_be_resumed(train_tiny: Train) -> None:
    directory = train_tiny("trainer.enable_checkpointing=false", "trainer.max_epochs=1")
    assert not (directory / "checkpoints").exists()
    with pytest.raises(RunError, match="no usable checkpoint"):
        train_tiny(f"resume={directory}", directory=directory)


def rezipped(path: Path, change: Any) -> None:
    """Write an archive anew, each entry as `change` has it."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            archive.writestr(*change(info, content))


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(3_000_000)}}, path)

    def packed(info: zipfile.ZipInfo, content: bytes) -> tuple[zipfile.ZipInfo, bytes]:
        info.compress_type = zipfile.ZIP_DEFLATED
        return info, content

    rezipped(path, packed)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="compressed entries"):
        load_checkpoint(path)


def test_entries_that_overlap_are_not_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.ckpt", nn.Linear(100, 100))
    rezipped(path, lambda info, content: (info.filename, content))  # without the longer fields of torch's
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
    offset = int.from_bytes(content[-6:-2], "little")
    central = bytes(content[offset : content.rindex(b"PK\x05\x06")])
    end = bytearray(content[content.rindex(b"PK\x05\x06") :])
    end[8:12] = (2 * len(names)).to_bytes(2, "little") * 2
    end[12:16] = (2 * len(central)).to_bytes(4, "little")
    path.write_bytes(bytes(content[:offset]) + central * 2 + bytes(end))
    with pytest.raises(CheckpointError, match="larger than the file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(1).expand(10**12), "more than there are in the file"),
        (torch.zeros(1, 1).expand(10**6, 10**6), "more than there are in the file"),
        (
            torch.sparse_coo_tensor(torch.zeros(1, 1).long(), torch.ones(1), (10**12,), check_invariants=True),
            "layout|sparse",
        ),
        (torch.empty(10**12, device="meta"), "on meta"),
    ],
    ids=["expanded", "expanded matrix", "sparse", "meta"],
)
def test_a_tensor_that_is_larger_than_its_file_is_not_loaded(tmp_path: Path, tensor: torch.Tensor, words: str) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {}, "optimizer_states": [{"state": {0: [tensor]}}]}, path)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path)


def test_what_stands_in_itself_a_thousand_ways_is_gone_through_once(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    node: list[Any] = []
    for _ in range(60):
        node = [node, node]
    torch.save({"state_dict": {}, "x": node}, path)
    assert load_checkpoint(path)["x"]
    for _ in range(60):
        node = [node]
    torch.save({"state_dict": {}, "x": node}, path)
    with pytest.raises(CheckpointError, match="nested more than 100 deep"):
        load_checkpoint(path)


@pytest.mark.parametrize("what", ["FIFO", "endless device", "link to a checkpoint"])
def test_only_a_regular_file_is_a_checkpoint(good: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.ckpt"
    match what:
        case "FIFO":
            os.mkfifo(path)
        case "endless device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(good)
            assert load_checkpoint(path)
            return
    with pytest.raises(CheckpointError, match="is no regular file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "state", [{1: torch.zeros(1)}, {"weight": 5}, {"weight": None}, [], {"weight": "x", "bias": []}]
)
def test_a_state_that_holds_other_things_than_tensors_is_refused(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError):
        load_weights(nn.Linear(1, 1), path)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        [],
        "x",
        {"shape": [1, 28]},
        {"shape": [1, 28, 28], "classes": list("ab"), "mean": [0.1], "std": []},
        {"shape": [1, 28, 28], "classes": [1, 2], "mean": [0.1], "std": [0.2]},
        {"shape": [1, 10**9, 10**9], "classes": list("ab"), "mean": [0.1], "std": [0.2]},
        {"shape": [True, 28, 28], "classes": list("ab"), "mean": [0.1], "std": [0.2]},
    ],
    ids=str,
)
def test_facts_of_a_dataset_that_make_no_sense_are_refused(train_tiny: Train, facts: Any) -> None:
    run = train_tiny("trainer.max_epochs=1", "trainer.limit_train_batches=1")
    path = run / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(path, weights_only=True), "dataset": facts}, path)
    for use in (evaluate, saved_net):
        with pytest.raises(CheckpointError, match="makes no sense"):
            use(run)


@pytest.mark.parametrize("lost", ["callbacks", "loops", "global_step"])
def test_a_checkpoint_that_lacks_where_it_was_can_not_be_resumed_from(train_tiny: Train, lost: str) -> None:
    run = train_tiny("trainer.max_epochs=1", "trainer.limit_train_batches=1")
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint[lost]
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match=f"can't be resumed from.*{lost}"):
        train_tiny("trainer.max_epochs=2", f"resume={run}", directory=run)
