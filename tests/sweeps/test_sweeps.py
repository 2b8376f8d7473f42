"""Sweeps that survive their jobs, their driver and the person at the keyboard."""

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.started import LONG, Sweeps, finish, has_trained, is_alive, jobs, until


@pytest.fixture
def sweep(tmp_path: Path, tiny_root: Path) -> Sweeps:
    return Sweeps(tmp_path, tiny_root)


def test_a_job_that_ends_badly_ends_alone_and_the_table_says_it(sweep: Any, tmp_path: Path) -> None:
    expected = {
        "nothing": "completed",
        "raise": "failed",
        "exit": "failed",
        "os_exit": "failed",
        "segfault": "failed",
        "kill": "failed",
        "term": "preempted",
        "not_a_number": "diverged",
        "oom": "oom",
        "memory": "oom",
    }
    arguments = ("model=misbehaving", f"model.how={','.join(expected)}", "trainer.log_every_n_steps=1")
    code, output = finish(sweep(*arguments))
    found = jobs(tmp_path)
    assert {name.partition("=")[2]: each["status"] for name, each in found.items()} == expected
    assert code == 1
    assert f"{len(expected) - 1} of {len(expected)} jobs did not complete" in output
    errors = {name.partition("=")[2]: each["error"] for name, each in found.items()}
    assert errors["raise"]["message"] == "the net is broken"
    assert "SIGSEGV" in errors["segfault"]["message"]
    assert "SIGKILL" in errors["kill"]["message"]
    assert "data.batch_size=32" in errors["oom"]["message"]
    directory = tmp_path / "outputs/sweeps/s"
    assert "the net is broken" in (directory / "001_model.how=raise" / "train.log").read_text()
    assert "Segmentation fault" in (directory / "004_model.how=segfault" / "console.log").read_text()
    with (directory / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(expected)


@pytest.mark.slow
def test_every_job_fails_and_there_is_a_clean_summary(sweep: Any, tmp_path: Path) -> None:
    code, output = finish(sweep("model=misbehaving", "model.how=raise", "seed=1,2"))
    assert code == 1
    assert "2 of 2 jobs did not complete" in output
    assert "Traceback" not in output
    assert (tmp_path / "outputs/sweeps/s/summary.md").exists()


def test_the_same_command_again_repeats_nothing_and_runs_what_failed_if_asked(sweep: Any, tmp_path: Path) -> None:
    arguments = ("model=misbehaving", "model.how=nothing,raise")
    finish(sweep(*arguments))
    first = jobs(tmp_path)
    code, output = finish(sweep(*arguments))
    assert code == 1
    assert "2 finished before (1 of them failed" in output
    assert jobs(tmp_path) == first
    finish(sweep(*arguments, "sweep.rerun=failed"))
    second = jobs(tmp_path)
    assert second["000_model.how=nothing"] == first["000_model.how=nothing"]
    assert second["001_model.how=raise"]["started"] != first["001_model.how=raise"]["started"]


@pytest.mark.slow
def test_the_same_sweep_twice_at_once_is_refused(sweep: Any, tmp_path: Path) -> None:
    endless = ("seed=1,2", *LONG, "trainer.max_epochs=100000")
    process = sweep(*endless)
    until(lambda: has_trained(tmp_path, 1))
    code, output = finish(sweep(*endless))
    assert code == 2
    assert "another process is running the sweep" in output
    process.send_signal(signal.SIGINT)
    finish(process)


def test_a_wrong_job_is_found_before_any_starts(sweep: Any, tmp_path: Path) -> None:
    code, output = finish(sweep("optimizer.lr=0.1,-1", "data.batch_size=0,8"))
    assert code == 2
    assert "optimizer.lr=-1" in output
    assert "data.batch_size=0" in output
    assert not (tmp_path / "outputs" / "sweeps" / "s").exists()


@pytest.mark.parametrize("arguments", [["seed=1,2"], ["sweep=optuna"], ["sweep=optuna", "model.hidden=0"]])
def test_a_sweep_that_is_refused_leaves_nothing(sweep: Any, tmp_path: Path, arguments: list[str]) -> None:
    name = [] if "model.hidden=0" in arguments else ["sweep.name=../up"]
    code, output = finish(sweep(*arguments, *name, multirun="sweep=optuna" not in arguments))
    assert code == 2, output
    assert output.startswith("model.hidden=0: " if not name else "sweep.name='../up': must be the name of a directory")
    assert len(output.splitlines()) == 1
    assert [path for path in tmp_path.rglob("*") if "data" not in path.parts] == []


@pytest.mark.slow
def test_a_sweep_can_stop_at_the_first_failure(sweep: Any, tmp_path: Path) -> None:
    arguments = ("model=misbehaving", "model.how=raise,nothing", "seed=1,2,3", "hydra.launcher.slots=1")
    code, output = finish(sweep(*arguments, "sweep.on_failure=stop"))
    assert code == 1
    assert len(jobs(tmp_path)) == 1
    assert "sweep.on_failure=stop" in output


@pytest.mark.slow
def test_a_search_goes_on_after_failures_and_resumes(sweep: Any, tmp_path: Path) -> None:
    arguments = (
        "model=misbehaving",
        "model.how=nothing,raise,not_a_number",
        "optimizer.lr=tag(log,interval(1e-3,1e-1))",
    )
    search = ("sweep=optuna", *arguments, "trainer.log_every_n_steps=1")
    code, output = finish(sweep(*search, "hydra.sweeper.n_trials=6", multirun=False))
    statuses = [each["status"] for each in jobs(tmp_path).values()]
    assert len(statuses) == 6
    assert code == (0 if set(statuses) <= {"completed", "pruned"} else 1), output
    before = jobs(tmp_path)
    code, output = finish(sweep(*search, "hydra.sweeper.n_trials=8", multirun=False))
    after = jobs(tmp_path)
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_a_search_whose_driver_was_killed_goes_on_also_with_a_torn_journal(sweep: Any, tmp_path: Path) -> None:
    arguments = ("sweep=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler=random", *LONG)
    process = sweep(*arguments, "trainer.max_epochs=60", multirun=False)
    until(lambda: has_trained(tmp_path, 2))
    pids = [each["pid"] for each in jobs(tmp_path).values()]
    process.kill()
    process.communicate()
    until(lambda: not any(is_alive(pid) for pid in pids))
    before = jobs(tmp_path)
    journal = tmp_path / "outputs/sweeps/s/optuna.log"
    journal.write_bytes(journal.read_bytes()[:-25])
    code, output = finish(sweep(*arguments, "trainer.max_epochs=60", multirun=False))
    assert code == 0, output
    assert "the last line was never finished; it is cut" in output
    after = jobs(tmp_path)
    assert len(after) == 4
    assert set(before) <= set(after)
    assert {each["status"] for each in after.values()} <= {"completed", "pruned"}
    for name, each in before.items():
        if each["status"] in ("completed", "pruned"):
            assert after[name] == each
    code, output = finish(sweep(*arguments, "trainer.max_epochs=60", multirun=False))
    assert (code, jobs(tmp_path)) == (0, after)
    assert "4 finished before" in output


@pytest.mark.slow
def test_a_search_of_hyperparameters_prunes_and_draws_conditional_parameters(sweep: Any, tmp_path: Path) -> None:
    arguments = (
        "sweep=optuna",
        "optimizer=adam,sgd",
        "+optimizer.momentum=interval(0.5,0.95)",
        "hydra.sweeper.conditions=['optimizer.momentum if optimizer=sgd']",
        "hydra.sweeper.n_trials=8",
    )
    code, output = finish(sweep(*arguments, multirun=False, epochs=3))
    assert code == 0, output
    for each in jobs(tmp_path).values():
        typed = " ".join(each["overrides"])
        assert ("optimizer=sgd" in typed) == ("optimizer.momentum" in typed)


@pytest.mark.slow
def test_named_sweeps_need_no_flag(sweep: Any, tmp_path: Path) -> None:
    code, output = finish(sweep("sweep=seeds", multirun=False))
    assert code == 0, output
    assert [each["seed"] for each in jobs(tmp_path).values()] == [1, 2, 3, 4, 5]
    summary = (tmp_path / "outputs/sweeps/s/summary.md").read_text()
    assert "| 5 |" in summary


@pytest.mark.slow
def test_json_reports_stay_valid_in_every_directory(sweep: Any, tmp_path: Path) -> None:
    finish(sweep("model=misbehaving", "model.how=os_exit,kill,segfault"))
    for path in (tmp_path / "outputs/sweeps/s").glob("[0-9]*/report.json"):
        json.loads(path.read_text())


@pytest.mark.slow
def test_two_terminals_share_one_search(sweep: Any, tmp_path: Path) -> None:
    arguments = ("sweep=optuna", "hydra.sweeper.n_trials=6", "hydra.launcher.slots=1", "hydra.sweeper.pruner=none")
    processes = [sweep(*arguments, multirun=False, epochs=3) for _ in range(2)]
    ends = [finish(process) for process in processes]
    assert [code for code, _ in ends] == [0, 0], ends
    found = jobs(tmp_path)
    assert [name[:3] for name in found] == ["000", "001", "002", "003", "004", "005"]
    assert len({each["pid"] for each in found.values()}) == 6
    assert [each["status"] for each in found.values()] == ["completed"] * 6
