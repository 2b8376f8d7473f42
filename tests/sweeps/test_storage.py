"""A search whose journal was torn, damaged or lost, whose disk was full, whose driver was killed: it goes on, and knows
all that has been trained."""

import errno
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from strobe.errors import ConfigError, RunError
from strobe.record import journal
from strobe.record.alive import Watch
from strobe.record.journal import Journal, heal
from strobe.record.journal_lines import line_of, record_of
from strobe.record.lock import RunLock
from strobe.record.report import read_report
from strobe.record.study import open_study, study_storage
from strobe.sweeps import drive, elsewhere
from strobe.sweeps.job import Job
from strobe.sweeps.planning import Planner
from tests.sweeps.pretend import Pretend, well

Known = dict[int, tuple[Any, ...]]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def search(tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    return Pretend(tmp_path / "s", planner)


def known(directory: Path) -> Known:
    """What a study knows of its trials."""
    trials = open_study(directory).get_trials(deepcopy=False)
    return {t.number: (t.state.name, t.params, t.values, t.user_attrs["overrides"]) for t in trials}


def ends(jobs: list[Job]) -> list[tuple[int, str, float | None, str]]:
    return [(job.number, job.status, job.objective, job.directory.name) for job in jobs]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, planner: Planner) -> Path:
    """A search of four trials that nothing has disturbed."""
    pretend = Pretend(tmp_path_factory.mktemp("finished") / "s", planner)
    pretend.search()
    return pretend.directory


def copy(finished: Path, search: Pretend) -> Known:
    """Begin with what was finished; returns what is known of it."""
    if search.directory.exists():
        shutil.rmtree(search.directory)
    shutil.copytree(finished, search.directory)
    return known(finished)


def goes_on(search: Pretend, expected: Known, capsys: pytest.CaptureFixture[str] | None = None) -> None:
    """The same command again trains nothing and knows everything."""
    jobs, troubles = search.search()
    assert troubles == []
    assert [job.status for job in jobs] == ["completed"] * 4
    assert search.trained == []
    assert known(search.directory) == expected


# Torn lines


def cuts(finished: Path) -> range:
    """Every place within the last two lines of the journal."""
    content = (finished / "optuna.log").read_bytes()
    return range(len(content) - len(b"".join(content.splitlines(keepends=True)[-2:])), len(content))


def cut_and_go_on(search: Pretend, finished: Path, places: range) -> None:
    expected = copy(finished, search)
    content = search.journal.read_bytes()
    for place in places:
        search.journal.write_bytes(content[:place])
        goes_on(search, expected)


def test_a_torn_last_line_costs_nothing(search: Pretend, finished: Path) -> None:
    cut_and_go_on(search, finished, cuts(finished)[::23])
    cut_and_go_on(search, finished, cuts(finished)[-3:])


@pytest.mark.slow
def test_a_journal_cut_at_any_byte_of_its_last_lines_costs_nothing(search: Pretend, finished: Path) -> None:
    cut_and_go_on(search, finished, cuts(finished))


def test_what_is_cut_is_said_and_kept(search: Pretend, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(finished, search)
    content = search.journal.read_bytes()
    search.journal.write_bytes(content[:-10])
    search.search()
    said = capsys.readouterr().out
    assert f"{search.journal}: the last line was never finished; it is cut, and kept in optuna.log.cut\n" in said
    assert "1 result(s) that the search lacked, taken from the reports of its runs\n" in said
    assert "4 trials in" in said
    assert "4 finished before" in said
    assert (search.directory / "optuna.log.cut").read_bytes() == content.splitlines()[-1][:-9] + b"\n"
    search.search()
    assert "it is cut" not in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.6, 0.8])
def test_a_journal_that_was_cut_short_is_told_what_was_trained(search: Pretend, finished: Path, share: float) -> None:
    expected = copy(finished, search)
    content = search.journal.read_bytes()
    search.journal.write_bytes(content[: int(share * len(content))])
    goes_on(search, expected)


def test_a_line_is_never_written_onto_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    record = {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"a": "ä\n"}}
    for tail in (b"", b'{"op_code":2,"wor', b"\x00" * 70_000, line_of(record)[:-1], line_of(record)[:-3]):
        path.write_bytes(line_of(record) + tail)
        Journal(path).append_logs([record, record])
        whole = 3 + (tail == line_of(record)[:-1])
        assert list(Journal(path).read_logs(0)) == [record] * whole
        assert path.read_bytes() == line_of(record) * whole


# Damage


def damage(content: bytes, how: str, at: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = at.randrange(len(lines))
    match how:
        case "flip":
            byte = at.randrange(len(content))
            return content[:byte] + bytes([content[byte] ^ 1 << at.randrange(8)]) + content[byte + 1 :]
        case "hole":
            byte = at.randrange(len(content))
            return content[:byte] + bytes(at.randrange(1, 400)) + content[byte + 400 :]
        case "lost":
            return b"".join(lines[:place] + lines[place + 1 :])
        case "twice":
            return b"".join(lines[: place + 1] + lines[place:])
        case "swap":
            lines[place], lines[-1 - place] = lines[-1 - place], lines[place]
            return b"".join(lines)
        case "cut":
            return content[: at.randrange(len(content))] + content[at.randrange(len(content)) :]
        case _:
            other = [b"null\n", b"[]\n", b"{}\n", b'{"op_code":5}\n', b'{"op_code":99}\n', b"[" * 5000 + b"\n", b"\n"]
            lines[place] = at.choice(other)
            return b"".join(lines)


HOWS = ("flip", "hole", "lost", "twice", "swap", "cut", "other")


def damage_and_go_on(search: Pretend, finished: Path, how: str, seeds: range) -> None:
    expected = copy(finished, search)
    content = search.journal.read_bytes()
    for seed in seeds:
        search.journal.write_bytes(damage(content, how, random.Random(f"{how}{seed}")))
        jobs, troubles = search.search()
        assert troubles == []
        assert [job.status for job in jobs] == ["completed"] * 4, seed
        assert search.trained == [], seed
        found = known(search.directory)
        if how == "swap":  # what was said of a trial after its end is not listened to, as a line that came too late
            assert [entry[0] for entry in found.values()] == ["COMPLETE"] * 4
        else:
            assert {n: (entry[0], entry[2]) for n, entry in found.items()} == {
                n: (entry[0], entry[2]) for n, entry in expected.items()
            }, seed


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_journal_costs_no_trial(search: Pretend, finished: Path, how: str) -> None:
    damage_and_go_on(search, finished, how, range(6))


@pytest.mark.slow
@pytest.mark.parametrize("how", HOWS)
def test_a_journal_damaged_in_any_way_costs_no_trial(search: Pretend, finished: Path, how: str) -> None:
    damage_and_go_on(search, finished, how, range(100, 250))


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 5000, bytes(range(256)) * 20, b"\n\n\n", b"{}", b"<html>\n</html>\n"]
)
def test_whatever_lies_in_its_place_the_search_goes_on(search: Pretend, finished: Path, content: bytes) -> None:
    expected = copy(finished, search)
    search.journal.write_bytes(content)
    goes_on(search, expected)


def test_a_journal_that_is_gone_is_made_from_the_runs(search: Pretend, finished: Path) -> None:
    expected = copy(finished, search)
    search.journal.unlink()
    goes_on(search, expected)


def test_a_damaged_line_is_said_once_and_the_journal_kept(
    search: Pretend, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = copy(finished, search)
    lines = search.journal.read_bytes().splitlines(keepends=True)
    created = [place for place, line in enumerate(lines) if b'"op_code":4' in line]
    damaged = b"".join([*lines[: created[1]], b"garbage\n", *lines[created[1] + 1 :]])
    search.journal.write_bytes(damaged)
    goes_on(search, expected)
    said = capsys.readouterr().out
    assert (
        f"{search.journal} was damaged: 1 of its {len(lines)} lines are left out, optuna.log.damaged has them all"
        in said
    )
    assert (search.directory / "optuna.log.damaged").read_bytes() == damaged
    goes_on(search, expected)
    assert "was damaged" not in capsys.readouterr().out


def test_the_next_draws_are_those_of_an_undisturbed_search(
    search: Pretend, tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sampler that looks at all that was before: what the journal is told from the runs is all there was."""
    other = Pretend(tmp_path / "whole", planner)
    whole, _ = other.search(n_trials=13, sampler="tpe")
    search.search(n_trials=11, sampler="tpe")
    search.journal.unlink()
    jobs, _ = search.search(n_trials=13, sampler="tpe")
    assert ends(jobs) == ends(whole)
    assert known(search.directory) == known(other.directory)


@pytest.mark.parametrize("special", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_journal_that_is_no_file_is_refused_and_named(
    search: Pretend, finished: Path, special: Callable[[Path], None]
) -> None:
    copy(finished, search)
    search.journal.unlink()
    special(search.journal)
    with pytest.raises(RunError, match=r"optuna\.log: (not a regular file|Is a directory|Invalid argument)") as raised:
        search.search()
    assert len(str(raised.value).splitlines()) == 1


def test_records_without_a_checksum_are_those_of_earlier_versions(search: Pretend, finished: Path) -> None:
    expected = copy(finished, search)
    records = [record_of(line) for line in search.journal.read_bytes().splitlines()]
    search.journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    goes_on(search, expected)
    assert not (search.directory / "optuna.log.damaged").exists()


@pytest.mark.parametrize(
    "record",
    [
        *({"op_code": code} for code in (0, 1, 2, 5, 10, 99, "0", None, [])),
        {"op_code": 0, "study_name": "strobe", "directions": []},
        {"op_code": 0, "study_name": "strobe", "directions": [7]},
        {"op_code": 4, "study_id": 0, "datetime_start": "yesterday"},
        {"op_code": 4, "study_id": 0, "datetime_start": "0001-01-01T00:00:00+23:00"},
        {"op_code": 5, "trial_id": 0, "param_name": "x", "param_value_internal": 1.0, "distribution": "{}"},
        {"op_code": 6, "trial_id": 0, "state": 1, "values": None, "datetime_complete": "2026-01-01"},
        {"op_code": 6, "trial_id": 0, "state": 1, "values": "x", "datetime_complete": "2026-01-01"},
        {"op_code": 6, "trial_id": 0, "state": 1, "values": [float("nan")], "datetime_complete": "2026-01-01"},
        {"op_code": 6, "trial_id": 0, "state": 3, "values": [0.5], "datetime_complete": "2026-01-01"},
        {"op_code": 6, "trial_id": -1, "state": 3, "values": None, "datetime_complete": "2026-01-01"},
        {"op_code": 6, "trial_id": 10**30, "state": 3, "values": None, "datetime_complete": "2026-01-01"},
        {"op_code": 7, "trial_id": 0, "step": "1", "intermediate_value": 1.0},
        {"op_code": 8, "trial_id": 0, "user_attr": {}},
        {"op_code": 8, "trial_id": 0, "user_attr": []},
        {"op_code": 8, "trial_id": [], "user_attr": {"a": 1}},
    ],
    ids=str,
)
def test_what_looks_like_no_record_is_none(record: dict[str, Any]) -> None:
    assert record_of(json.dumps({"worker_id": "w", **record}).encode()) is None


def test_a_number_beyond_all_trials_makes_no_trials(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    attr = {"op_code": 8, "worker_id": "w", "trial_id": 2**30, "user_attr": {"a": 1}}
    study = {"op_code": 0, "worker_id": "w", "study_name": "strobe", "directions": [2]}
    path.write_bytes(line_of(study) + line_of(attr))
    heal(path, "strobe", [2], alone=True)
    assert path.read_bytes() == line_of(study)


# Locks


def test_a_lock_that_optuna_has_left_holds_no_one_up(search: Pretend, finished: Path) -> None:
    expected = copy(finished, search)
    lock = search.directory / "optuna.log.lock"
    lock.symlink_to("/nowhere/optuna.log")  # of a directory that was moved: waited for without end
    goes_on(search, expected)
    assert not os.path.lexists(lock)


def test_a_second_terminal_is_not_disturbed(search: Pretend, finished: Path) -> None:
    """While another process works on the search, a torn line is cut, and damage is left until it is alone."""
    expected = copy(finished, search)
    content = search.journal.read_bytes()
    ready, done = os.pipe(), os.pipe()
    if (pid := os.fork()) == 0:
        with FileLock(search.directory / ".locks" / "driver0.lock"):
            os.write(ready[1], b".")
            os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        search.journal.write_bytes(content[:-10])
        goes_on(search, expected)
        search.journal.write_bytes(b"garbage\n" + content)
        with pytest.raises(ConfigError, match=r"optuna\.log is damaged, and another process works with it"):
            search.search()
        search.journal.write_bytes(content)
        with pytest.raises(ConfigError, match=r"sweep\.rerun=all: another process works on"):
            search.search(rerun="all")
        assert search.journal.read_bytes() == content
    finally:
        os.write(done[1], b".")
        os.waitpid(pid, 0)
    search.journal.write_bytes(b"garbage\n" + content)
    goes_on(search, expected)


def test_a_journal_that_was_replaced_under_a_process_is_an_error_that_says_so(search: Pretend, finished: Path) -> None:
    copy(finished, search)
    storage = study_storage(search.directory)
    search.journal.write_bytes(b"")
    with pytest.raises(OSError, match="cut or replaced while this search used it"):
        storage.get_all_studies()
    with pytest.raises(OSError, match="cut or replaced while this search used it"):
        storage.create_new_trial(0)
    assert search.journal.read_bytes() == b""


# Kills


class Die:
    """Kills this process at one of the journal's writes: before it, in its middle, or before it is on the disk."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _now(self) -> bool:
        self.left -= 1
        return self.left < 0

    def install(self) -> None:
        write, fsync, replace = journal._write, os.fsync, Path.replace

        def written(file: Any, content: bytes) -> None:
            if self._now():
                os.kill(os.getpid(), signal.SIGKILL)
            if self._now():
                write(file, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(file, content)

        def synced(descriptor: int) -> None:
            if self._now():
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        def replaced(path: Path, target: Path) -> Path:
            if self._now():
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        journal._write = written  # type: ignore[assignment]
        os.fsync = synced
        Path.replace = replaced  # type: ignore[assignment,method-assign]


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Do it in a process that is killed at a point; returns whether it got that far."""
    if (pid := os.fork()) == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            Die(point).install()
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def kill_at_every(
    search: Pretend, finished: Path, step: int, begin: Callable[[], None], work: Callable[[], object]
) -> int:
    expected = known(finished)
    point = 0
    while True:
        begin()
        was_killed = killed_at(point, work)
        for _ in range(2):
            jobs, troubles = search.search()
            assert (len(jobs), troubles) == (4, [])
        assert known(search.directory) == expected, point
        assert len(search.trained) == len(set(search.trained)), f"{point}: trained twice"
        assert {path.name[:3] for path in search.directory.glob("0*")} == {"000", "001", "002", "003"}
        assert not list(search.directory.glob(".*.tmp")), point
        if not was_killed:
            return point
        point += step


def kill_a_search(search: Pretend, finished: Path, step: int) -> None:
    def afresh() -> None:
        shutil.rmtree(search.directory, ignore_errors=True)
        (search.directory.parent / "trained.txt").unlink(missing_ok=True)

    assert kill_at_every(search, finished, step, afresh, search.search) > 60


def kill_a_mending(search: Pretend, finished: Path, step: int) -> None:
    def damaged() -> None:
        (search.directory.parent / "trained.txt").unlink(missing_ok=True)
        copy(finished, search)
        lines = search.journal.read_bytes().splitlines(keepends=True)
        search.journal.write_bytes(b"".join([b"garbage\n", *lines[3:-3], b"torn"]))

    assert kill_at_every(search, finished, step, damaged, search.search) > 10


def test_a_driver_that_is_killed_at_a_write_of_its_journal_loses_nothing(search: Pretend, finished: Path) -> None:
    kill_a_search(search, finished, 9)
    kill_a_mending(search, finished, 5)


@pytest.mark.slow
def test_a_driver_that_is_killed_at_any_write_of_its_journal_loses_nothing(search: Pretend, finished: Path) -> None:
    kill_a_search(search, finished, 1)
    kill_a_mending(search, finished, 1)


# Failures, and running them again


def the_first_two_fail(job: Job, count: int) -> Mapping[str, Any]:
    if count < 2:
        return {"status": "failed", "objective": None, "error": {"type": "RuntimeError", "message": "it broke"}}
    return well(job, count)


@pytest.fixture
def flaky(tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    return Pretend(tmp_path / "s", planner, the_first_two_fail)


def test_trials_that_failed_are_failed_when_the_command_is_repeated(
    flaky: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = flaky.search()
    capsys.readouterr()
    second, _ = flaky.search()
    assert ends(second) == ends(first)
    assert [(job.status, job.error) for job in second][:2] == [("failed", "it broke")] * 2
    assert "4 finished before (2 of them failed: sweep.rerun=failed tries them again)" in capsys.readouterr().out
    assert len(flaky.trained) == 4


def test_failed_trials_are_run_again_in_their_directories_if_asked(flaky: Pretend) -> None:
    first, _ = flaky.search()
    second, _ = flaky.search(rerun="failed")
    assert [job.status for job in second] == ["completed"] * 4
    assert [job.directory for job in sorted(second, key=lambda job: job.number)] == [job.directory for job in first]
    assert flaky.trained[4:] == [job.directory.name for job in first[:2]]
    assert [state for state, *_ in known(flaky.directory).values()] == ["COMPLETE"] * 4
    assert len(list((flaky.directory / ".replaced").glob("*/report.json"))) == 2
    third, _ = flaky.search(rerun="failed")
    assert len(flaky.trained) == 6
    assert [job.objective for job in third] == [read_report(job.directory)["objective"] for job in third]


def test_everything_is_run_again_if_asked(search: Pretend, finished: Path) -> None:
    expected = copy(finished, search)
    search.search(rerun="all")
    assert len(search.trained) == 4
    assert known(search.directory) == expected


def test_a_result_that_the_study_took_for_a_failure_is_corrected(search: Pretend, finished: Path) -> None:
    expected = copy(finished, search)
    lines = search.journal.read_bytes().splitlines(keepends=True)
    told = [record_of(line) or {} for line in lines]
    place = next(place for place, record in enumerate(told) if record.get("op_code") == 6)
    lines[place] = line_of({**told[place], "state": 3, "values": None})
    search.journal.write_bytes(b"".join(lines))
    goes_on(search, expected)


def test_a_run_of_another_experiment_is_no_result(search: Pretend, finished: Path) -> None:
    """The directory of a trial holds what was left of a search with other settings: it makes room."""
    copy(finished, search)
    search.journal.unlink()
    for path in search.directory.glob("0*/report.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "config_hash": "f" * 16}))
    jobs, _ = search.search()
    assert len(search.trained) == 4
    assert len(list((search.directory / ".replaced").glob("*/report.json"))) == 4
    assert [job.status for job in jobs] == ["completed"] * 4


def no_result(job: Job, count: int) -> Mapping[str, Any]:
    return {"status": "completed", "objective": None, "metrics": {}}


def test_a_job_without_a_result_is_a_failed_trial_and_the_search_goes_on(
    tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = Pretend(tmp_path / "s", planner, no_result)
    jobs, _ = pretend.search()
    assert [(job.status, job.error) for job in jobs] == [
        ("failed", "what is searched for is missing, or no finite number")
    ] * 4


def test_a_grid_is_searched_to_its_end_and_no_further(search: Pretend) -> None:
    jobs, _ = search.search("seed=1,2,3", sampler="grid", n_trials=10)
    assert sorted(job.varying[0] for job in jobs) == ["seed=1", "seed=2", "seed=3"]
    assert {job.status for job in jobs} == {"completed"}


def test_a_wrong_search_leaves_nothing(search: Pretend) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size"):
        search.search("seed=1,2", "data.batch_size=0")
    assert not search.directory.exists()


# Trained elsewhere


def leave_running(directory: Path, **fields: Any) -> None:
    report = json.loads((directory / "report.json").read_text())
    running = {**report, "status": "running", "objective": None, "pid": os.getpid(), "started": "2999-01-01", **fields}
    (directory / "report.json").write_text(json.dumps(running))


def leave_checkpoint(directory: Path) -> None:
    (directory / "checkpoints").mkdir()
    (directory / "checkpoints" / "last.ckpt").touch()


def ends_while_watched(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    """Another process trains; it ends once it has been looked at twice, and that is what its run's report says then."""
    lock = RunLock(directory)
    looks = iter([False, True])

    class Watched(Watch):
        def is_silent(self) -> bool:
            if next(looks, False):
                (directory / "report.json").write_text(text)
                lock.release()
            return super().is_silent()

    monkeypatch.setattr(elsewhere, "Watch", Watched)


@pytest.mark.parametrize("rerun", [None, "failed", "all"])
def test_a_trial_that_is_being_trained_elsewhere_is_waited_for(
    search: Pretend,
    finished: Path,
    rerun: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy(finished, search)
    lines = search.journal.read_bytes().splitlines(keepends=True)
    search.journal.write_bytes(b"".join(lines[:-1]))  # the end of the last one is not told yet
    directory = next(search.directory.glob("003_*"))
    report = (directory / "report.json").read_text()
    leave_running(directory)
    capsys.readouterr()
    ends_while_watched(monkeypatch, directory, report)
    jobs, _ = search.search(rerun=rerun)
    assert len(search.trained) == (3 if rerun == "all" else 0)
    assert {job.status for job in jobs} == {"completed"}
    assert known(search.directory) == known(finished)
    assert f"is being trained by process {os.getpid()} on " in capsys.readouterr().out


@pytest.mark.parametrize("rerun", [None, "failed", "all"])
def test_a_job_of_a_grid_that_is_being_trained_elsewhere_is_waited_for(
    search: Pretend, rerun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [[f"seed={seed}"] for seed in (1, 2, 3)]
    first = search.grid(batch)
    report = (first[1].directory / "report.json").read_text()
    leave_running(first[1].directory)
    ends_while_watched(monkeypatch, first[1].directory, report)
    second = search.grid(batch, rerun=rerun)
    assert [(job.status, job.objective) for job in second] == [("completed", job.objective) for job in first]
    assert len(search.trained) == 3 + (2 if rerun == "all" else 0)


def test_a_trial_whose_killed_driver_has_not_taken_its_job_along_yet_is_gone_on_with(
    search: Pretend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search.end = lambda job, count: well(job, count) if count else {"status": "interrupted"}
    search.search(n_trials=2)
    directory = next(search.directory.glob("000_*"))
    report = json.loads((directory / "report.json").read_text())
    leave_running(directory)
    gone = json.dumps({**report, "status": "running", "pid": 2**22 + 5})
    ends_while_watched(monkeypatch, directory, gone)
    jobs, troubles = search.search(n_trials=2)
    assert ([job.status for job in jobs], troubles) == (["completed", "completed"], [])
    assert len(search.trained) == 3
    assert "the process that trained it is gone; it is begun again" in capsys.readouterr().out


def test_a_job_that_another_process_began_as_this_one_was_about_to_is_waited_for(
    search: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = search.grid([["seed=1"]])
    report = (job.directory / "report.json").read_text()
    shutil.rmtree(job.directory)
    prepare = drive.prepare_directory

    def late(job: Job) -> None:
        job.directory.mkdir()
        (job.directory / "report.json").write_text(report)
        leave_running(job.directory)
        monkeypatch.setattr(drive, "prepare_directory", prepare)
        ends_while_watched(monkeypatch, job.directory, report)
        prepare(job)

    monkeypatch.setattr(drive, "prepare_directory", late)
    (again,) = search.grid([["seed=1"]])
    assert (again.status, again.objective) == ("completed", job.objective)
    assert len(search.trained) == 1
    assert not (search.directory / ".replaced").exists()


def test_a_job_whose_directory_another_experiment_is_trained_in_waits_for_its_end(
    search: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = search.grid([["seed=1"]])
    other = json.dumps(json.loads((job.directory / "report.json").read_text()) | {"config_hash": "of another"})
    (job.directory / "report.json").write_text(other)  # unknown to the plan, in the same directory
    leave_running(job.directory)
    ends_while_watched(monkeypatch, job.directory, other)
    (again,) = search.grid([["seed=1"]])
    assert (again.status, again.objective) == ("completed", job.objective)
    assert len(search.trained) == 2
    (replaced,) = (search.directory / ".replaced").iterdir()
    assert (replaced / "report.json").read_text() == other


@pytest.mark.parametrize("rerun", [None, "failed", "all"])
def test_a_running_run_s_copy_is_nobody_s_and_is_gone_on_with(search: Pretend, rerun: Any) -> None:
    (job,) = search.grid([["seed=1"]])
    leave_running(job.directory)  # by a process that lives, and holds no lock
    leave_checkpoint(job.directory)
    (again,) = search.grid([["seed=1"]], rerun=rerun)
    assert (again.status, again.plan) == ("completed", "run" if rerun == "all" else "resume")
    assert len(search.trained) == 2


def test_a_job_that_lost_its_run_to_a_process_that_has_not_begun_yet_is_waited_for(
    search: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    search.end = lambda job, count: {"status": "interrupted"}
    (job,) = search.grid([["seed=1"]])
    leave_checkpoint(job.directory)
    report = json.loads((job.directory / "report.json").read_text())
    done = json.dumps({**report, "status": "completed", "objective": 0.5})
    ends_while_watched(monkeypatch, job.directory, done)  # it says `interrupted` until then
    (again,) = search.grid([["seed=1"]])
    assert (again.status, again.objective) == ("completed", 0.5)
    assert len(search.trained) == 1


@pytest.mark.parametrize("rerun", [None, "failed"])
def test_a_process_that_ends_before_it_trains_changes_nothing_of_what_is_to_be_done(
    search: Pretend, monkeypatch: pytest.MonkeyPatch, rerun: Any
) -> None:
    search.end = lambda job, count: well(job, count) | ({} if count else {"status": "failed"})
    (job,) = search.grid([["seed=1"]])
    ends_while_watched(monkeypatch, job.directory, (job.directory / "report.json").read_text())
    (again,) = search.grid([["seed=1"]], rerun=rerun)
    assert again.status == ("failed" if rerun is None else "completed")
    assert len(search.trained) == (1 if rerun is None else 2)


def test_a_job_that_this_sweep_began_is_gone_on_with_whatever_is_to_be_run_again(
    search: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = search.grid([["seed=1"]])
    leave_checkpoint(job.directory)
    stopped = json.dumps(json.loads((job.directory / "report.json").read_text()) | {"status": "preempted"})
    (job.directory / "report.json").write_text(stopped)
    for began, plan in ((True, "resume"), (False, "run")):
        job.plan, job.began = "watch", began
        watched = elsewhere.Elsewhere("all")
        watched.add(job)
        assert watched.over() == [job]
        assert (job.plan, job.status, job.began) == (plan, "waiting", False)


def test_what_cannot_be_looked_at_is_looked_at_again_until_it_has_been_silent_for_long(
    search: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = search.grid([["seed=1"]])
    leave_running(job.directory)  # of a copy
    job.plan = "watch"
    watched = elsewhere.Elsewhere(None)
    watched.add(job)

    def full(*arguments: Any) -> None:
        raise FULL

    monkeypatch.setattr(elsewhere, "settle_report", full)
    assert watched.over() == []
    monkeypatch.setattr(Watch, "is_silent", lambda watch: True)
    assert watched.over() == [job]
    assert (job.plan, job.status) == ("run", "waiting")
    assert "No space left on device" in str(job.error)


# Full disks


def fails_from(monkeypatch: pytest.MonkeyPatch, write: int, until: int) -> None:
    """From one write of the journal to another, the disk takes half a line and no more."""
    calls = iter(range(10**6))
    real = journal._write

    def full(file: Any, content: bytes) -> None:
        if write <= next(calls) < until:
            real(file, content[: len(content) // 2])
            raise FULL
        real(file, content)

    monkeypatch.setattr(journal, "_write", full)


@pytest.mark.parametrize("write", range(0, 24, 2))
def test_a_full_disk_under_the_journal_is_one_line_and_loses_nothing(
    search: Pretend, finished: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    with monkeypatch.context() as patch:
        fails_from(patch, write, 10**6)
        try:
            _, troubles = search.search()
        except RunError as error:
            troubles = str(error).splitlines()
        else:
            assert len(troubles) <= 2
        if write < 21:
            assert troubles[0].startswith(f"can't write {search.journal}: No space left on device (")
    content = search.journal.read_bytes()
    assert content == b"" or content.endswith(b"\n"), "half a line was taken back"
    _, troubles = search.search()
    assert troubles == []
    assert known(search.directory) == known(finished)
    assert len(search.trained) == 4


def test_a_disk_that_has_room_again_is_used(search: Pretend, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_from(monkeypatch, 12, 13)
    _, troubles = search.search()
    assert len(troubles) == 1
    search.search()
    assert known(search.directory) == known(finished)
    assert len(search.trained) == 4


def test_a_job_whose_directory_can_not_be_made_fails_alone(
    search: Pretend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = Path.mkdir

    def full(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name.startswith("001"):
            raise FULL
        make(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        jobs = search.grid([[f"seed={seed}"] for seed in (1, 2, 3)])
        assert [job.status for job in jobs] == ["completed", "failed", "completed"]
        assert jobs[1].error is not None
        assert jobs[1].error.startswith(f"can't write {jobs[1].directory}: No space left on device (")
        found, _ = Pretend(search.directory.parent / "t", search.planner).search()
    assert [job.status for job in found] == ["completed", "failed"], "the next would fail as well"
    assert [job.status for job in search.grid([[f"seed={seed}"] for seed in (1, 2, 3)])] == ["completed"] * 3
    found, _ = Pretend(search.directory.parent / "t", search.planner).search()
    assert sorted(job.status for job in found) == ["completed"] * 4
