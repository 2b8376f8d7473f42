"""A search whose study is in a database: as safe as one in its directory, whatever becomes of the driver, the database
or the person who typed the URL."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from strobe.callbacks.pruning import Pruning
from strobe.commands.train import main
from strobe.errors import ConfigError, RunError
from strobe.machine.mounts import locks_stay_here
from strobe.machine.secrets import redacted
from strobe.record import journal
from strobe.record.database import Database, reopen
from strobe.record.journal import Journal
from strobe.record.study import open_study, open_trial
from strobe.record.token import sweep_token
from strobe.report.searches import search_pictures, studies_in
from strobe.run.story import train
from strobe.sweeps.jobs import Job, Planner
from strobe.sweeps.sampling import SearchSettings
from strobe.sweeps.search import run_search
from tests.conftest import ROOT, TEST_CONF, Compose, report
from tests.run.test_train import rows
from tests.sweeps.pretend import Pretend, well

PASSWORD = "pass-w0rd"


class Server:
    """A PostgreSQL of its own: as the user ``postgres`` where the tests run as root, which it refuses."""

    def __init__(self, programs: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="strobe-pg-", dir="/tmp"))  # a path that this user can reach
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.home / "password").write_text(PASSWORD)
        if self._as:
            shutil.chown(self.home, "postgres")
        access = ["--auth-host=scram-sha-256", "--auth-local=trust", "--username=me", f"--pwfile={self.home}/password"]
        (self.home / "password").chmod(0o644)
        made = [*self._as, programs / "initdb", "-D", self.home / "data", "--no-sync", *access]
        subprocess.run(made, check=True, capture_output=True, cwd=self.home)

    def url(self, name: str = "postgres", password: str = PASSWORD, user: str = "me") -> str:
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.home}", "fsync=off"]
        command = [self._programs / "postgres", "-D", self.home / "data", "-p", str(self.port)]
        self._process = subprocess.Popen(
            [*self._as, *command, *(word for setting in settings for word in ("-c", setting))],
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: self.answers("postgres"), 120)

    def answers(self, name: str) -> bool:
        ready = [self._programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q", "-d", name]
        return subprocess.run(ready).returncode == 0

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # ends its sessions
        self._process.wait(120)
        self._process = None

    def new(self, name: str) -> str:
        """The URL of a new database."""
        command = [self._programs / "createdb", "-h", self.home, "-p", str(self.port), "-U", "me", name]
        subprocess.run(command, check=True)
        return self.url(name)

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing has to be kept
            self._process.wait(120)
        shutil.rmtree(self.home)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    one = Server(found[-1].parent)
    try:
        one.start()
        yield one
    finally:
        one.end()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    server: Server = request.getfixturevalue("server")
    return server.new(f"t{abs(hash(request.node.name))}")


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Stored(Pretend):
    """Runs searches whose study is in a database."""

    url: str | None = None

    def search(
        self, *space: str, n_trials: int = 4, sampler: Any = "random", **fields: Any
    ) -> tuple[list[Job], list[str]]:
        storage = fields.pop("storage", self.url)
        objectives = fields.pop("objectives", [])
        how = SearchSettings(n_trials, sampler, "median", 1, objectives, [], storage=storage)
        overrides = ["sweep.name=s", *(space or ("optimizer.lr=tag(log,interval(1e-4,1e-1))",))]
        return run_search(overrides, how, self.planner, self.settings(**fields))

    def known(self) -> dict[int, tuple[Any, ...]]:
        """What the study knows of its trials."""
        trials = open_study(self.directory).get_trials(deepcopy=False)
        return {t.number: (t.state.name, t.params, t.values, t.user_attrs["overrides"]) for t in trials}


@pytest.fixture
def search(tmp_path: Path, planner: Planner, url: str, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("STROBE_STORAGE", url)  # as the sweeper does
    stored = Stored(tmp_path / "s", planner)
    stored.url = url
    return stored


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, planner: Planner) -> dict[int, tuple[Any, ...]]:
    """What a search in its directory knows."""
    stored = Stored(tmp_path_factory.mktemp("expected") / "s", planner)
    stored.search()
    return stored.known()


def test_it_is_the_same_search_and_the_same_command_again_trains_nothing(search: Stored, expected: Any) -> None:
    for _ in range(2):
        jobs, troubles = search.search()
        assert ([job.status for job in jobs], troubles) == (["completed"] * 4, [])
        assert search.known() == expected
        assert len(search.trained) == 4
    assert not search.journal.exists()
    assert {path.name for path in search.directory.iterdir() if path.is_file()} <= {
        *(".sweep", "optuna.json", ".ask.lock", ".study.lock")
    }


def test_several_objectives(search: Stored) -> None:
    objectives = ["val/acc", "parameters"]
    search.end = lambda job, count: {**well(job, count), "parameters": count}
    jobs, troubles = search.search(objectives=objectives, sampler="nsgaii")
    assert ([job.status for job in jobs], troubles) == (["completed"] * 4, [])
    assert [len(values) for _, _, values, _ in search.known().values()] == [2] * 4
    with pytest.raises(ConfigError, match=r"holds a search with another objective"):
        search.search(sampler="nsgaii")


def test_a_study_that_lost_all_is_told_what_was_trained(search: Stored, expected: Any) -> None:
    search.search()
    assert search.url is not None
    database = Database(search.url)
    optuna.delete_study(study_name="s", storage=database.storage())
    database.close()
    jobs, troubles = search.search()
    assert ([job.status for job in jobs], troubles) == (["completed"] * 4, [])
    assert search.known() == expected
    assert len(search.trained) == 4


# Kills


def killed_at(statement: int, work: Callable[[], object]) -> bool:
    """Do it in a process that is killed before one of its statements; returns whether it got that far."""
    if (pid := os.fork()) == 0:
        left = statement

        def count(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            event.listen(Engine, "before_cursor_execute", count)
            event.listen(Engine, "commit", count)
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_driver_killed_at_any_statement_costs_nothing(search: Stored, expected: Any, tmp_path: Path) -> None:
    assert search.url is not None
    statement, step = 3, 61
    while True:
        search.directory = tmp_path / f"s{statement}"
        was_killed = killed_at(statement, search.search)
        jobs, troubles = search.search()
        assert (len(jobs), troubles) == (4, []), statement
        found = search.known()
        assert {n: entry[:3] for n, entry in found.items()} == {n: entry[:3] for n, entry in expected.items()}, (
            statement
        )
        if not was_killed:
            break
        statement += step
    assert statement > 3 * step


# Failures


def the_first_two_fail(job: Job, count: int) -> dict[str, Any]:
    if count < 2:
        return {"status": "failed", "objective": None, "error": {"type": "RuntimeError", "message": "it broke"}}
    return well(job, count)


def test_failed_trials_are_run_again_if_asked(search: Stored, expected: Any) -> None:
    search.end = the_first_two_fail
    first, _ = search.search()
    again, _ = search.search()
    assert sorted(job.status for job in again) == ["completed", "completed", "failed", "failed"]
    assert len(search.trained) == 4
    second, _ = search.search(rerun="failed")
    assert [job.status for job in second] == ["completed"] * 4
    assert sorted(search.trained[4:]) == sorted(job.directory.name for job in first[:2])
    assert search.known() == expected


def test_everything_is_run_again_if_asked(search: Stored, expected: Any) -> None:
    search.search()
    search.search(rerun="all")
    assert len(search.trained) == 8
    assert search.known() == expected


def test_a_trial_is_made_unfinished_as_if_it_had_not_ended(url: str) -> None:
    database = Database(url)
    study = optuna.create_study(study_name="x", storage=database.storage())
    other = optuna.create_study(study_name="y", storage=database.storage())
    for each in (study, other):
        for _ in range(3):
            trial = each.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
            trial.report(0.5, 0)
            each.tell(trial, 0.25)
    reopen(database, {study.trials[1]._trial_id})
    seen = optuna.load_study(study_name="x", storage=database.storage()).trials
    assert [trial.state.name for trial in seen] == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert (seen[1].values, seen[1].intermediate_values, seen[1].datetime_complete) == (None, {}, None)
    assert seen[1].params == study.trials[1].params
    assert len(optuna.load_study(study_name="y", storage=database.storage()).get_trials(states=[seen[0].state])) == 3
    with database.storage().engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE trial_values RENAME TO results")
    with pytest.raises(ConfigError, match="the tables of this Optuna are not known"):
        reopen(database, {1})
    database.close()


# A database that goes away


class Away:
    """A database that refuses every statement from one on, up to another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.begin, self.end = 0, 10**9, 10**9
        monkeypatch.setattr("strobe.sweeps.supply._PATIENCE_S", 0.3)
        monkeypatch.setattr("strobe.sweeps.supply._PAUSE_S", 0.01)
        monkeypatch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)

    def __call__(self, *arguments: object) -> None:
        self.count += 1
        if self.begin <= self.count < self.end:
            raise OperationalError("SELECT 1", None, Exception("the server is gone"))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    fault = Away(monkeypatch)
    event.listen(Engine, "before_cursor_execute", fault)
    yield fault
    event.remove(Engine, "before_cursor_execute", fault)
    gc.collect()  # the connections that it has left, while their warnings are passed over


# Optuna's constructor, refused by a server that is there after all, leaves its connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_that_goes_away_is_one_line_and_loses_nothing(
    search: Stored, away: Away, expected: Any, tmp_path: Path
) -> None:
    search.search()
    whole = away.count
    for begin in range(1, whole, 47):
        search.directory = tmp_path / f"s{begin}"
        before = len(search.trained)
        away.count, away.begin = 0, begin
        try:
            _, troubles = search.search()
        except RunError as error:
            troubles = str(error).splitlines()
            assert len(troubles) == 1
        assert all("the server is gone" in line or "results are not in" in line for line in troubles), troubles
        away.begin = 10**9
        jobs, later = search.search()
        assert ([job.status for job in jobs], later) == (["completed"] * 4, []), begin
        found = search.known()
        assert {n: entry[:3] for n, entry in found.items()} == {n: entry[:3] for n, entry in expected.items()}, begin
        assert len(search.trained) == before + 4, f"{begin}: trained twice"


def test_a_database_that_is_back_soon_costs_nothing(
    search: Stored,
    away: Away,
    expected: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "strobe.sweeps.supply._PATIENCE_S", 60.0
    )  # it is away for so many questions, however long they take
    search.search()
    for begin in range(away.count // 2, away.count, 31):
        search.directory = tmp_path / f"s{begin}"
        away.count, away.begin, away.end = 0, begin, begin + 6
        jobs, troubles = search.search()
        assert ([job.status for job in jobs], troubles) == (["completed"] * 4, []), begin
        away.begin = away.end = 10**9
        assert {n: entry[:3] for n, entry in search.known().items()} == {n: entry[:3] for n, entry in expected.items()}
    assert "the server is gone (the search waits for it" in capsys.readouterr().out


@pytest.mark.parametrize("goes", ["once", "for good"])
def test_training_goes_on_without_its_database(
    compose_config: Compose,
    tiny_root: Path,
    tmp_path: Path,
    search: Stored,
    away: Away,
    goes: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    search.search(n_trials=1)
    assert search.url is not None
    database = Database(search.url)
    study = optuna.load_study(study_name="s", storage=database.storage())
    number = study.ask().number
    database.close()
    cfg = compose_config("data=tiny", f"data.root={tiny_root}", "trainer=cpu", "trainer.max_epochs=3")
    away.begin = away.count + 1
    away.end = away.begin + 1 if goes == "once" else 10**9
    train(cfg, tmp_path / "run", callbacks=[partial(Pruning, search.directory, number, "val/acc")])
    away.begin = 10**9
    assert "The search is not told of epoch 1, it may be later: " in caplog.text
    assert "the server is gone" in caplog.text
    fed = open_study(search.directory).trials[number].intermediate_values
    expected = {int(row["epoch"]): float(row["val/acc"]) for row in rows(tmp_path / "run")}
    assert fed == ({} if goes == "for good" else expected)


# Whose study it is


def test_a_study_of_another_directory_is_refused(search: Stored, tmp_path: Path, planner: Planner) -> None:
    search.search()
    other = Stored(tmp_path / "other" / "s", planner)
    with pytest.raises(ConfigError, match=r"has a study 's' of another sweep \(.*/s\): choose another sweep.name"):
        other.search(storage=search.url)
    assert len(search.trained) == 4
    third = Stored(tmp_path / "other" / "t", planner)
    assert len(third.search(storage=search.url)[0]) == 4


def test_a_directory_says_where_its_study_is(search: Stored, tmp_path: Path, expected: Any) -> None:
    search.search()
    shown = json.loads((search.directory / "optuna.json").read_text().splitlines()[0])["storage"]
    assert PASSWORD not in shown
    with pytest.raises(ConfigError, match=r"is in a database: give hydra\.sweeper\.storage=") as raised:
        search.search(storage=None)
    assert shown in str(raised.value)
    with pytest.raises(ConfigError, match=r"is in .*, not in sqlite:.*other.db: give that one, or remove optuna.json"):
        search.search(storage=f"sqlite:///{tmp_path}/other.db")
    (search.directory / "optuna.json").write_text("{")
    with pytest.raises(ConfigError, match=r"optuna.json is damaged: remove it"):
        search.search()
    (search.directory / "optuna.json").unlink()
    search.search()
    assert search.known() == expected
    (search.directory / "optuna.json").unlink()
    search.search(storage=None)
    assert search.known() == expected
    assert len(search.trained) == 4


def test_a_search_moves_from_its_directory_into_a_database(
    search: Stored, expected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    search.search(n_trials=3, storage=None)
    with pytest.raises(ConfigError, match="holds a search with another space"):
        search.search("seed=range(1,9)")
    jobs, _ = search.search()
    assert "the study moves from optuna.log to " in capsys.readouterr().out
    assert len(jobs) == len(search.trained) == 4
    assert search.known() == expected
    assert not search.journal.exists()


def test_a_directory_that_was_moved_keeps_its_study(search: Stored, tmp_path: Path, expected: Any) -> None:
    search.search(n_trials=3)
    search.directory = search.directory.rename(tmp_path / "moved")
    search.search()
    assert search.known() == expected


def test_the_study_is_found_by_the_report_if_this_user_wrote_where_it_is(
    tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored(tmp_path / "s", planner)
    stored.search(n_trials=9, storage=f"sqlite:///{tmp_path}/study.db")
    assert len(search_pictures(studies_in([stored.directory]))) == 2
    place = stored.directory / "optuna.json"
    strange = tmp_path / "strange.db"
    place.write_text(json.dumps({"storage": f"sqlite:///{strange}", "study": "s"}))
    assert studies_in([stored.directory]) == {}
    assert "is in a database: set STROBE_STORAGE to its URL, if you trust it" in caplog.text
    assert not strange.exists()
    monkeypatch.setenv("STROBE_STORAGE", f"sqlite:///{strange}")
    assert studies_in([stored.directory]) == {}
    assert not strange.exists()
    monkeypatch.setenv("STROBE_STORAGE", f"sqlite:///{tmp_path}/study.db")
    assert len(search_pictures(studies_in([stored.directory]))) == 2


def test_a_token_is_one_for_all_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(sweep_token(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {sweep_token(tmp_path, make=False)} == set(found)
    (tmp_path / ".sweep").write_text("something else\n")
    with pytest.raises(ConfigError, match=r"\.sweep is damaged"):
        sweep_token(tmp_path)
    with pytest.raises(FileNotFoundError):
        sweep_token(tmp_path / "none", make=False)


# Wrong input


def silent() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


WRONG = {
    "nonsense": "hydra.sweeper.storage='nonsense': must be sqlite:///<path> or postgresql+psycopg://",
    "3": "hydra.sweeper.storage='3': must be sqlite:///",
    "postgresql://me:secret1@host:port/db": "hydra.sweeper.storage='postgresql://***@host:port/db': must be",
    "foo://me:secret1@host/db": "hydra.sweeper.storage='foo://***@host/db': must be sqlite",
    "mysql://me:secret1@host/db": "or postgresql+psycopg://<user>@<host>/<database>, not mysql",
    "postgresql+nope://me:secret1@host/db": "its driver must be psycopg or psycopg2, not nope",
    "postgresql+psycopg2://me:secret1@host/db": "the package psycopg2 is needed: pip install 'psycopg2-binary'",
    "sqlite://": "must be sqlite:///<path>, of a file",
    "sqlite:///:memory:": "must be sqlite:///<path>, of a file",
    "sqlite:////nowhere/study.db": "sqlite:////nowhere/study.db: unable to open database file",
    "postgresql+psycopg://me:secret1@127.0.0.1:1/db": "postgresql+psycopg://me@127.0.0.1:1/db: connection failed: ",
}


@pytest.mark.parametrize("storage", WRONG)
def test_a_wrong_url_is_one_line_and_leaves_nothing(storage: str, tmp_path: Path, planner: Planner) -> None:
    stored = Stored(tmp_path / "s", planner)
    with pytest.raises(ConfigError) as raised:
        stored.search(storage=storage)
    assert WRONG[storage] in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert "secret1" not in redacted(str(raised.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:abc@h:1/d", "postgresql+psycopg://me@h:1/d"),
        ("postgresql://me:p%40x{y}@h/d", "postgresql+psycopg://me@h/d"),
        ("postgresql://me@h/d?password=abc&connect_timeout=3", "postgresql+psycopg://me@h/d?connect_timeout=3"),
        ("postgresql://me@h/d?sslpassword=abc", "postgresql+psycopg://me@h/d"),
        ("postgresql:///d?host=/run/pg", "postgresql+psycopg:///d?host=%2Frun%2Fpg"),
    ],
)
def test_what_is_shown_of_a_url_has_no_password(url: str, shown: str) -> None:
    database = Database(url)
    assert database.shown == shown
    assert repr(database) == f"Database({shown!r})"
    for text in (url, database.url):
        assert not any(secret in redacted(text) for secret in ("abc", "p%40x"))


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strobe.record.database.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the package psycopg is needed: pip install 'psycopg\[binary\]'"):
        Database("postgresql://host/db")


@pytest.mark.slow
def test_a_server_that_says_nothing_is_given_ten_seconds(tmp_path: Path, planner: Planner) -> None:
    for port in silent():
        with pytest.raises(ConfigError, match="connection timeout expired"):
            Stored(tmp_path / "s", planner).search(storage=f"postgresql://me@127.0.0.1:{port}/db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_written_is_one_line(tmp_path: Path, planner: Planner) -> None:
    path = tmp_path / "study.db"
    stored = Stored(tmp_path / "s", planner)
    stored.search(storage=f"sqlite:///{path}")
    content = path.read_bytes()
    path.write_bytes(content[:18] + b"\x03" + content[19:])  # a format that may only be read: root, too
    with pytest.raises(ConfigError, match=r"study.db: attempt to write a readonly database"):
        Stored(tmp_path / "t", planner).search(storage=f"sqlite:///{path}")
    path.write_bytes(b"something else" * 99)
    with pytest.raises(ConfigError, match=r"study.db: file is not a database"):
        stored.search(storage=f"sqlite:///{path}")


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////nowhere/study.db"])
def test_the_command_says_it_in_one_line(
    hydra_here: None, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STROBE_STORAGE", "")
    monkeypatch.setattr(sys, "argv", ["train", "sweep=optuna", f"hydra.sweeper.storage={storage}"])
    assert main() == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# NFS


@pytest.mark.parametrize(
    ("system", "options", "said"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", None),
        ("nfs", "rw,vers=3,local_lock=none", None),
        ("nfs", "rw,vers=3,nolock,local_lock=all", "nolock"),
        ("nfs", "rw,vers=3,local_lock=flock", "local_lock=flock"),
        ("nfs", "rw,vers=3,local_lock=posix", None),
        ("ext4", "rw,nolock", None),
    ],
)
def test_a_mount_says_whether_its_locks_hold_elsewhere(
    tmp_path: Path, system: str, options: str, said: str | None
) -> None:
    inside = tmp_path / "a b" / "c"
    inside.mkdir(parents=True)
    table = tmp_path / "mountinfo"
    point = str(tmp_path / "a b").replace(" ", "\\040")
    lines = [
        "1 0 0:1 / / rw - ext4 /dev/root rw",
        f"2 1 0:2 / {point} rw shared:1 - {system} server:/x {options}",
        f"3 1 0:3 / {tmp_path}/other rw - nfs server:/y nolock",
        "garbage",
    ]
    table.write_text("\n".join(lines))
    assert locks_stay_here(inside, table) == said
    assert locks_stay_here(tmp_path, table) is None
    assert locks_stay_here(inside, tmp_path / "none") is None


def test_where_locks_stay_on_their_machine_the_journal_is_locked_by_a_file_too(
    tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal, "_locks_stay_here", lambda directory: "nolock")
    monkeypatch.setattr("strobe.machine.mounts.locks_stay_here", lambda directory: "nolock")
    stored = Stored(tmp_path / "s", planner)
    assert len(stored.search()[0]) == 4
    assert "is on NFS mounted with nolock, so other machines don't see its locks" in capsys.readouterr().out
    lock = stored.directory / ".study.open.lock"
    assert not lock.exists()
    lock.touch()  # held by another machine
    writing = threading.Thread(target=Journal(stored.journal).append_logs, args=([],))
    writing.start()
    writing.join(0.5)
    assert writing.is_alive()
    lock.unlink()
    writing.join(120)
    assert not writing.is_alive()


# The real thing


class Command:
    """A search on tiny data as a person starts it, in a fresh directory."""

    def __init__(self, home: Path, data: Path) -> None:
        self.home = home
        self.directory = home / "outputs/sweeps/s"
        self._common = ["data=tiny", f"data.root={data}", "sweep.name=s", "trainer=cpu", "logger=none"]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "src.train", f"--config-dir={TEST_CONF}", "sweep=optuna", *self._common]
        return subprocess.Popen(
            [*command, "optimizer.lr=tag(log,interval(1e-4,1e-1))", *arguments],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def jobs(self) -> dict[str, dict[str, Any]]:
        found = {}
        for path in sorted(self.directory.glob("[0-9]*/report.json")):
            with suppress(FileNotFoundError):  # just moved away, to begin anew
                found[path.parent.name] = report(path.parent)
        return found


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=400)
    assert "Traceback" not in output, output
    return process.returncode, output


def holds(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.slow
def test_two_drivers_on_one_database_lose_nothing_when_one_is_killed(
    server: Server, tmp_path: Path, tiny_root: Path
) -> None:
    command = Command(tmp_path, tiny_root)
    arguments = [
        *("hydra.sweeper.n_trials=12", "hydra.sweeper.sampler=random", "hydra.launcher.slots=1"),
        *("trainer.max_epochs=4", f"hydra.sweeper.storage={server.new('two')}"),
    ]
    first, second = command.start(*arguments), command.start(*arguments)
    until(lambda: sum(each["status"] != "running" for each in command.jobs().values()) >= 3)
    first.kill()
    first.communicate()
    before = {name: each for name, each in command.jobs().items() if each["status"] in ("completed", "pruned")}
    ends = [finish(command.start(*arguments)), finish(second)]
    assert [code for code, _ in ends] == [0, 0], ends
    found = command.jobs()
    assert [name[:3] for name in found] == [f"{number:03d}" for number in range(12)]
    assert {each["status"] for each in found.values()} <= {"completed", "pruned"}
    assert before.items() <= found.items()
    replaced = [report(path.parent)["status"] for path in (command.directory / ".replaced").glob("*/report.json")]
    assert set(replaced) <= {"running"}, "killed before its first checkpoint"
    code, output = finish(command.start(*arguments))
    assert (code, command.jobs()) == (0, found)
    assert "12 finished before" in output
    assert "Importance" in (command.directory / "report.html").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STROBE_STORAGE", server.url("two"))
        trials = open_study(command.directory).trials
        assert open_trial(command.directory, 3).number == 3
    assert len(trials) == 12
    assert {trial.state.name.lower() for trial in trials} <= {"complete", "pruned"}
    for trial in trials:
        each = found[next(name for name in found if name.startswith(f"{trial.number:03d}"))]
        assert (each["status"] == "pruned") == (trial.state.name == "PRUNED")
        assert trial.value == each["objective"] or each["status"] == "pruned"
        assert trial.intermediate_values, "each epoch is told to the pruner"
    assert holds(tmp_path, PASSWORD) == []
    assert all(PASSWORD not in output for _, output in ends)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["file", "environment"])
def test_a_password_is_never_written_wherever_it_comes_from(
    server: Server, tmp_path: Path, tiny_root: Path, how: str
) -> None:
    command = Command(tmp_path, tiny_root)
    url = server.new(f"password_{how}")
    arguments = ["hydra.sweeper.n_trials=1", "trainer.max_epochs=1"]
    if how == "file":
        conf = tmp_path / "conf"
        (conf / "sweep").mkdir(parents=True)
        text = f"# @package _global_\ndefaults:\n  - optuna\nhydra:\n  sweeper:\n    storage: {url}\n"
        (conf / "sweep" / "mine.yaml").write_text(text)
        arguments += [f"hydra.searchpath=[file://{conf}]", "sweep=mine"]
    else:
        arguments += ["hydra.sweeper.storage=${oc.env:MY_DATABASE}"]
    code, output = finish(command.start(*arguments, MY_DATABASE=url))
    assert code == 0, output
    assert holds(tmp_path / "outputs", PASSWORD) == []
    assert PASSWORD not in output


@pytest.mark.slow
@pytest.mark.parametrize(("user", "password"), [("me", "wrong-w0rd"), ("nobody", PASSWORD)])
def test_a_wrong_password_is_one_line_without_it(
    server: Server, tmp_path: Path, tiny_root: Path, user: str, password: str
) -> None:
    command = Command(tmp_path, tiny_root)
    code, output = finish(command.start(f"hydra.sweeper.storage={server.url(password=password, user=user)}"))
    assert (code, len(output.splitlines())) == (2, 1), output
    assert f'password authentication failed for user "{user}"' in output
    assert password not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_is_restarted_in_mid_search_costs_nothing(
    server: Server, tmp_path: Path, planner: Planner, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new("restarted")
    monkeypatch.setenv("STROBE_STORAGE", url)
    stored = Stored(tmp_path / "s", planner)

    def restarted(job: Job, count: int) -> dict[str, Any]:
        if count == 1:
            server.stop()
            threading.Timer(2.0, server.start).start()
        return well(job, count)

    stored.end = restarted
    jobs, troubles = stored.search(storage=url)
    assert ([job.status for job in jobs], troubles) == (["completed"] * 4, [])
    assert stored.known() == expected


@pytest.mark.slow
def test_a_server_that_stays_away_is_told_in_lines_and_the_same_command_goes_on(
    server: Server, tmp_path: Path, planner: Planner, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new("gone")
    monkeypatch.setenv("STROBE_STORAGE", url)
    monkeypatch.setattr("strobe.sweeps.supply._PATIENCE_S", 1.0)
    stored = Stored(tmp_path / "s", planner)

    def gone(job: Job, count: int) -> dict[str, Any]:
        if count == 1:
            server.stop()
        return well(job, count)

    stored.end = gone
    _, troubles = stored.search(storage=url)
    server.start()
    assert "Connection refused" in troubles[0]
    assert troubles[1].startswith("1 results are not in postgresql+psycopg://me@127.0.0.1:")
    assert all("\n" not in line for line in troubles)
    stored.end = well
    jobs, troubles = stored.search(storage=url)
    assert ([job.status for job in jobs], troubles) == (["completed"] * 4, [])
    assert len(stored.trained) == 4
    assert stored.known() == expected
