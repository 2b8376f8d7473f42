"""Reports and tables of epochs as anyone may have left them: read with care, and of the types that readers rely on."""

import errno
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strobe.errors import CheckpointError, ConfigError
from strobe.machine.disk import trouble
from strobe.record.epochs import read_epochs
from strobe.record.files import read_bounded
from strobe.record.kept import kept_entries
from strobe.record.report import described, read_report

BEST = {"metric": "val/acc", "mode": "max", "value": 0.5, "epoch": 0, "step": 17, "checkpoint": "checkpoints/best.ckpt"}
GOOD: dict[str, Any] = {
    "schema": 1,
    "status": "completed",
    "name": None,
    "tags": ["a", 2024],
    "seed": 1,
    "config_hash": "0123456789abcdef",
    "repetitions": ["seed"],
    "overrides": ["seed=1"],
    "metrics": {"val/acc": 0.5, "test/acc": 1},
    "objective": 0.5,
    "objective_metric": "val/acc",
    "objective_mode": "max",
    "best": BEST,
    "kept": [BEST],
    "stopped_early": {"by": "EarlyStopping", "reason": "", "epoch": 1, "step": 34},
    "requested": {"precision": None},
    "effective": {"devices": [0, 1]},
    "timing": {"total_s": 2.0},
    "parameters": 10,
    "environment": {"python": "3.11"},
    "pid": 4,
    "host": "elsewhere",
    "started": "2026-11-25T20:17:16.000+00:00",
    "ended": None,
    "error": {"type": "ValueError", "message": ""},
}
ODD: dict[str, list[Any]] = {
    "schema": ["1", None, -1],
    "status": ["done", "waiting", 1, None, [], {}, "Completed", "completed "],
    "name": [5, [], {}],
    "tags": ["a", None, [[]], [{}]],
    "seed": ["1", 1.0, -1, None, True],
    "config_hash": [1, None, []],
    "repetitions": ["seed", [1], None],
    "overrides": ["seed=1", [1], [None], {}, None],
    "metrics": ["x", [], None, {"val/acc": "0.5"}, {"val/acc": [0.5]}, {"val/acc": True}],
    "objective": ["0.5", [], {}, True],
    "objective_metric": [1, [], {}],
    "objective_mode": ["best", 1, [], True],
    "best": [1, [], {}, {"metric": "val/acc"}, {**BEST, "epoch": "0"}, {**BEST, "value": "1"}, {**BEST, "mode": "up"}],
    "kept": [BEST, None, [None], [{}]],
    "stopped_early": [1, "no", {}, {"by": "x", "reason": None, "epoch": 1, "step": 1}],
    "requested": [[], "x", None],
    "effective": [[], "x", None],
    "timing": [[], "x", None, {"total_s": "2"}],
    "parameters": ["10", 1.5, -1],
    "environment": [[], "x", None],
    "pid": [1e30, 0, -1, 2**31, "4", None, True, 4.0],
    "host": [1, None, []],
    "started": [5, None, []],
    "ended": [5, []],
    "error": ["x", {}, {"type": "X"}, {"type": 1, "message": "x"}, {"type": "X", "message": None}],
}
CASES = [(key, value) for key, values in ODD.items() for value in values]


def leave(directory: Path, **fields: Any) -> Path:
    """Leave a report behind."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps({**GOOD, **fields}))
    return directory


def refusal(directory: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_report(directory)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 800
    return str(raised.value)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_report(leave(tmp_path)) == GOOD
    assert set(ODD) == set(GOOD), "every field has its odd values"


def test_fields_of_later_versions_are_kept(tmp_path: Path) -> None:
    assert read_report(leave(tmp_path, later={"deep": [{"er": 1}]}))["later"] == {"deep": [{"er": 1}]}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}={value!r:.30}" for key, value in CASES])
def test_a_field_of_the_wrong_type_is_named_in_a_line(tmp_path: Path, key: str, value: object) -> None:
    text = refusal(leave(tmp_path, **{key: value}))
    assert "report.json is damaged: " in text
    assert f"{key}: " in text
    assert "Put a copy of it back, or train anew in another directory" in text


@pytest.mark.parametrize(
    "checkpoint",
    [
        *("../../x", "/etc/passwd", "checkpoints/../../x", "checkpoints/..", "..", "", "best.ckpt", "checkpoints"),
        *(
            "checkpoints/a/b.ckpt",
            "/checkpoints/best.ckpt",
            "checkpoints/a\0b",
            "checkpoints\\..\\..\\x",
            "other/best.ckpt",
        ),
        "checkpoints/" + "x" * 300,
    ],
)
def test_a_checkpoint_outside_the_run_directory_is_refused(tmp_path: Path, checkpoint: str) -> None:
    entry = {**BEST, "checkpoint": checkpoint}
    assert "best: " in refusal(leave(tmp_path, best=entry))
    assert "kept: " in refusal(leave(tmp_path, kept=[BEST, entry]))
    with pytest.raises(CheckpointError, match="names a best one that can't be"):
        kept_entries({"kept": [entry]})


def test_entries_of_the_best_are_as_they_were() -> None:
    entries = [BEST, {**BEST, "checkpoint": None, "value": None}]
    assert kept_entries({"kept": entries}) == entries


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty, the run was killed as it began"),
        (b"  \n", "is empty, the run was killed as it began"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"status":' * 100_000, "nested too deeply"),
        (b'{"status": "completed", "x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested more than"),
        (b"\xff\xfe\x00", "can't decode byte"),
        (b'{"status": "completed"', "Expecting"),
        (b'{"status": "completed"}}', "Extra data"),
        (b"[]", "not the report of a run"),
        (b"null", "not the report of a run"),
        (b"5", "not the report of a run"),
        (b'"status"', "not the report of a run"),
        (b"{}", "not the report of a run"),
        (b"9" * 10_000, "not the report of a run"),
        (b'{"status": "completed", "pid": ' + b"9" * 5_000 + b"}", "pid: None"),
        (b"\x00" * 1000, "Expecting value"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_damaged_report_is_one_line_with_a_way_out(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "report.json").write_bytes(text)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "1e300"])
def test_a_number_that_is_none_is_left_out(tmp_path: Path, number: str) -> None:
    text = '{"status": "completed", "objective": %s, "metrics": {"val/acc": %s, "val/loss": 1.5}}'
    (tmp_path / "report.json").write_text(text % (number, number))
    assert read_report(tmp_path) == {"status": "completed", "objective": None, "metrics": {"val/loss": 1.5}}


def test_text_that_can_not_be_encoded_is_mended(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(r'{"status": "completed", "name": "a\ud800b", "x\udfff": 1}')
    report = read_report(tmp_path)
    assert report["name"] == "a?b"
    json.dumps(report, ensure_ascii=False).encode("utf-8")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_large_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100_000_000)


@pytest.mark.parametrize("make", [a_pipe, a_device, a_loop, a_large_file, Path.mkdir])
@pytest.mark.parametrize("name", ["report.json", "metrics.csv"])
def test_what_is_no_file_is_not_waited_for_and_not_read(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    tracemalloc.start()
    try:
        if name == "report.json":
            assert "report.json is damaged: " in refusal(tmp_path)
        else:
            assert read_epochs(tmp_path) == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_directory_that_is_no_run_is_described_in_a_few_names(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"picture{number}.png").touch()
    assert refusal(tmp_path).endswith("picture103.png, picture104.png, ...)")


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "file", 10) == b"x" * 10
    with pytest.raises(ValueError, match="larger than"):
        read_bounded(tmp_path / "file", 9)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "nothing", 9)


def test_the_story_of_an_error_has_an_end() -> None:
    assert len(described(ValueError("x" * 10**6))["message"]) == 20_000


# Epochs


def epochs(directory: Path, text: str | bytes) -> list[dict[str, str]]:
    (directory / "metrics.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_epochs(directory)


@pytest.mark.parametrize(
    "odd",
    [
        *("x,17,0.5", "1,17", "1,17,0.5,9", "1,17,zero", "-1,17,0.5", "1.0,17,0.5", "²,17,0.5", "٣,17,0.5", ",17,0.5"),
        *("9" * 5000 + ",17,0.5", "1," + "9" * 5000 + ",0.5", "1,17,\x00", "", '"', '1,"17\n,0.5', "1,17,=1+1"),
        "1,17," + "x" * 200_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_odd_row_is_left_out_and_the_others_are_read(tmp_path: Path, odd: str) -> None:
    found = epochs(tmp_path, f"epoch,step,val/acc\n0,17,0.25\n{odd}\n")
    assert found == [{"epoch": "0", "step": "17", "val/acc": "0.25"}]
    if '"' not in odd:  # which takes what follows for a part of its cell
        found = epochs(tmp_path, f"epoch,step,val/acc\n0,17,0.25\n{odd}\n2,51,\n")
        assert [row["epoch"] for row in found] == ["0", "2"]


def test_no_epoch_has_two_rows_and_they_are_in_order(tmp_path: Path) -> None:
    found = epochs(tmp_path, "epoch,val/acc\n1,0.1\n0,0.2\n1,0.3\n00,0.4\n")
    assert [(int(row["epoch"]), row["val/acc"]) for row in found] == [(0, "0.4"), (1, "0.3")]


def test_bytes_that_are_no_text_cost_their_row_alone(tmp_path: Path) -> None:
    assert [row["epoch"] for row in epochs(tmp_path, b"epoch,val/acc\n0,0.5\n1,\xff\xfe\n2,0.5\n")] == ["0", "2"]


# A disk that is full


def test_trouble_with_a_file_is_a_line_that_names_it_and_the_room(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert trouble(full, tmp_path / "not" / "there").startswith(
        f"can't write {tmp_path / 'not' / 'there'}: No space left on device ("
    )
    assert trouble(full, tmp_path).endswith("B are free there)")
    named = OSError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "it\x1b"))
    assert trouble(named, tmp_path).startswith(f"can't write {tmp_path}/it\\x1b: Permission denied")
    assert "odd" in trouble(OSError("odd"), tmp_path)
