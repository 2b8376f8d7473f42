"""From a sweep's overrides to its jobs: named, composed, matched with what is there, given a share of the machine."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from strobe.config.compose import CONF, plain
from strobe.errors import ConfigError
from strobe.machine import devices
from strobe.machine.devices import visible_gpus
from strobe.record.identity import config_hash
from strobe.sweeps.display import Display, best_job
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import (
    arguments_of,
    command_flags,
    existing_runs,
    job_name,
    plan_jobs,
    prepare_directory,
    varying_keys,
)
from strobe.sweeps.planning import Planner
from strobe.sweeps.slots import Slot, share_out


def job(directory: Path, number: int = 0, **fields: Any) -> Job:
    return Job(number, [], [], directory, hash="", **fields)


# Names


def test_a_name_says_what_varies() -> None:
    assert job_name(3, ["optimizer.lr=0.01", "seed=2"]) == "003_optimizer.lr=0.01,seed=2"
    assert job_name(0, []) == "000"
    assert job_name(1234, ["model=mlp"]) == "1234_model=mlp"
    assert job_name(7, ["model.hidden=[64,32]"]) == "007_model.hidden=[64,32]"


def test_the_digits_of_a_draw_are_rounded_in_the_name() -> None:
    name = job_name(0, ["lr=0.012345678901", "wd=-1.23456789e-05", "p=0.25", "n=123456789"])
    assert name == "000_lr=0.01235,wd=-1.235e-05,p=0.25,n=123456789"


@pytest.mark.parametrize(
    "varying",
    [
        ["data.root=/tmp/some where/else"],
        ["name='two words'"],
        ["+x={a: 1, b: 2}"],
        ["x=${oc.env:HOME}"],
        ["x=../../etc"],
        ["x=a\nb"],
        ['x=*?<>|:"\\'],
        ["x=🜁"],
        ["x=" + "a" * 400],
        ["x=" + "字" * 400],
        ["x=" + "é" * 400],
    ],
)
def test_a_name_is_one_that_a_file_system_takes(tmp_path: Path, varying: list[str]) -> None:
    name = job_name(5, varying)
    assert name.startswith("005_")
    assert not set(name) & set("/\\\n\"'*?<>|:${} ")
    assert len(name) <= 120
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_keys_that_all_jobs_share_are_not_among_those_that_vary() -> None:
    batch = [["model=mlp", "seed=1", "+x=1"], ["model=mlp", "seed=2", "+x=1"]]
    assert varying_keys(batch) == {"seed"}
    assert varying_keys([["seed=1", "+x=1"], ["seed=1", "+x=2"]]) == {"x"}
    assert varying_keys([["seed=1"]]) == varying_keys([]) == set()


# Command lines


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ([], []),
        (["-m", "seed=1,2"], []),
        (["--config-dir=my", "-m", "seed=1"], ["--config-dir=my"]),
        (["--config-dir", "my", "seed=1"], ["--config-dir=my"]),
        (["-cd", "my", "-cn", "other", "-m"], ["--config-dir=my", "--config-name=other"]),
        (["-cd=my", "-cp=there"], ["--config-dir=my", "--config-path=there"]),
        (["--config-name=a=b"], ["--config-name=a=b"]),
    ],
)
def test_jobs_look_for_configs_where_the_sweep_did(arguments: list[str], flags: list[str]) -> None:
    assert command_flags(arguments) == flags


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    """One for all tests: what it keeps of one job must not show in another."""
    overrides = ["sweep.name=s", "hydra.sweep.dir=x", "hydra.verbose=false", "hydra/launcher=local"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides, return_hydra_config=True)
        hydra = config.hydra
        yield Planner(GlobalHydra.instance().config_loader(), hydra.job.config_name, hydra.overrides.hydra)
    GlobalHydra.instance().clear()


def test_a_job_is_a_run_in_its_own_directory(planner: Planner, tmp_path: Path) -> None:
    assert planner.hydra_overrides == ["hydra.verbose=false"], "what made it a sweep is not passed on"
    mine = job(tmp_path / "it's 000_seed=1")
    mine.overrides = ["seed=1"]
    arguments = arguments_of(mine, planner, ["--config-dir=my"])
    directory = str(tmp_path / r"it\'s 000_seed=1")
    assert arguments == [
        "--config-dir=my",
        "hydra.verbose=false",
        "seed=1",
        f"hydra.run.dir='{directory}'",
        "hydra.mode=RUN",
    ]
    mine.plan = "resume"
    assert arguments_of(mine, planner, ["--config-dir=my"]) == ["--config-dir=my", f"resume={mine.directory}"]
    mine.overrides = ["model._target_=my_models.Net", "optimizer._target_=torch.optim.SGD"]
    assert arguments_of(mine, planner, []) == ["--trust=my_models", f"resume={mine.directory}"]


# Composing


COMMANDS = [
    [],
    ["seed=3", "optimizer.lr=0.5"],
    ["model=mlp", "model.hidden=[8,8]", "model.dropout=0.25"],
    ["model.hidden=[8,8]", "model=mlp"],
    ["experiment=mnist_cnn", "optimizer.lr=0.5"],
    ["experiment=mnist_cnn", "optimizer=sgd", "optimizer.momentum=0.5"],
    ["data=cifar100", "data.augmentations.flip=null", "model=resnet"],
    ["data=image_folder", "data.dataset.folder=/pictures", "data.dataset.size=[8,8]"],
    ["+model.extra=3", "++data.batch_size=7", "++data.new=1"],
    ["~optimizer.betas", "~model.hidden=128"],
    ["~logger"],
    ["logger=none", "callbacks=none", "debug=limit"],
    ["scheduler=onecycle", "scheduler.max_lr=0.1"],
    ["optimizer.lr=${seed}", "name='two words'", "tags=[a,b]"],
    ["seed=1", "seed=2"],
    ["data.augmentations.crop={_target_: strobe.data.augment.Crop, padding: 2}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_job_has_the_config_that_hydra_composes(planner: Planner, command: list[str]) -> None:
    for _ in range(2):  # a group that was composed before must not have kept anything
        expected = compose("train", overrides=["sweep.name=s", *command])
        found = planner.compose(["sweep.name=s", *command])
        assert OmegaConf.to_container(found) == OmegaConf.to_container(expected)
        assert config_hash(plain(found)) == config_hash(plain(expected))


def test_jobs_do_not_see_each_others_values(planner: Planner) -> None:
    planner.compose(["model=mlp", "seed=7", "+data.extra=1"])
    found = planner.compose(["model=mlp"])
    assert found.seed == 1
    assert "extra" not in found.data


@pytest.mark.parametrize("command", [["nope=1"], ["model=nope"], ["~nope"], ["model.nope=1"], ["experiment=nope"]])
def test_what_hydra_refuses_is_refused(planner: Planner, command: list[str]) -> None:
    for refused in (lambda: compose("train", overrides=command), lambda: planner.compose(command)):
        with pytest.raises(Exception, match="nope"):
            refused()


# Planning

BATCH = [["sweep.name=s", f"optimizer.lr={lr}", f"seed={seed}"] for lr in (0.1, 0.01) for seed in (1, 2)]


def ran(planned: Job, status: str, *, checkpoint: bool = False, **fields: Any) -> None:
    """Leave behind what a job with this end leaves."""
    (planned.directory / "checkpoints").mkdir(parents=True)
    report = {"status": status, "config_hash": planned.hash, "objective": None, "error": None, **fields}
    (planned.directory / "report.json").write_text(json.dumps(report))
    if checkpoint:
        (planned.directory / "checkpoints" / "last.ckpt").touch()


def plans(jobs: list[Job]) -> list[str]:
    return [each.plan for each in jobs]


def test_a_new_sweep_runs_every_job(planner: Planner, tmp_path: Path) -> None:
    jobs = plan_jobs(planner, BATCH, tmp_path, 0, None)
    assert plans(jobs) == ["run"] * 4
    assert [each.directory.name for each in jobs] == [
        "000_optimizer.lr=0.1,seed=1",
        "001_optimizer.lr=0.1,seed=2",
        "002_optimizer.lr=0.01,seed=1",
        "003_optimizer.lr=0.01,seed=2",
    ]
    assert len({each.hash for each in jobs}) == 4
    assert list(tmp_path.iterdir()) == []
    assert [each.number for each in plan_jobs(planner, BATCH[:2], tmp_path, 5, None)] == [5, 6]


def test_a_sweep_goes_on_where_it_stopped(planner: Planner, tmp_path: Path) -> None:
    first = plan_jobs(planner, BATCH, tmp_path, 0, None)
    ran(first[0], "completed", objective=0.9)
    ran(first[1], "failed", error={"type": "ValueError", "message": "broken"})
    ran(first[2], "interrupted", checkpoint=True)
    again = plan_jobs(planner, BATCH, tmp_path, 0, None)
    assert plans(again) == ["skip", "skip", "resume", "run"]
    assert (again[0].status, again[0].objective) == ("completed", 0.9)
    assert (again[1].status, again[1].error) == ("failed", "broken")


STATUSES = {
    "completed": {None: "skip", "failed": "skip", "all": "run"},
    "pruned": {None: "skip", "failed": "skip", "all": "run"},
    "failed": {None: "skip", "failed": "run", "all": "run"},
    "diverged": {None: "skip", "failed": "run", "all": "run"},
    "oom": {None: "skip", "failed": "run", "all": "run"},
    "interrupted": {None: "resume", "failed": "resume", "all": "run"},
    "preempted": {None: "resume", "failed": "resume", "all": "run"},
    "died": {None: "resume", "failed": "resume", "all": "run"},
}


@pytest.mark.parametrize("rerun", [None, "failed", "all"])
def test_how_a_job_ended_decides_what_becomes_of_it(planner: Planner, tmp_path: Path, rerun: str | None) -> None:
    batch = [[f"seed={seed}"] for seed in range(len(STATUSES))]
    first = plan_jobs(planner, batch, tmp_path, 0, None)
    for each, status in zip(first, STATUSES, strict=True):
        ran(each, status, checkpoint=True)
    again = plan_jobs(planner, batch, tmp_path, 0, rerun)
    assert plans(again) == [plan[rerun] for plan in STATUSES.values()]
    assert [each.directory for each in again] == [each.directory for each in first]


def test_a_job_that_was_interrupted_before_its_first_checkpoint_begins_anew(planner: Planner, tmp_path: Path) -> None:
    (first,) = plan_jobs(planner, BATCH[:1], tmp_path, 0, None)
    ran(first, "interrupted")
    assert plans(plan_jobs(planner, BATCH[:1], tmp_path, 0, None)) == ["run"]


def test_a_run_is_known_by_its_config_not_by_its_name_or_place(planner: Planner, tmp_path: Path) -> None:
    first = plan_jobs(planner, BATCH, tmp_path, 0, None)
    ran(first[3], "completed", objective=0.5)
    other_order = [["tags=[new]", "seed=2", "optimizer.lr=1e-2"], ["seed=3", "optimizer.lr=1e-2"]]
    again = plan_jobs(planner, other_order, tmp_path, 0, None)
    assert plans(again) == ["skip", "run"]
    assert again[0].directory == first[3].directory


def test_a_changed_setting_is_another_job(planner: Planner, tmp_path: Path) -> None:
    (first,) = plan_jobs(planner, BATCH[:1], tmp_path, 0, None)
    ran(first, "completed", objective=0.9)
    assert plans(plan_jobs(planner, [[*BATCH[0], "trainer.max_epochs=7"]], tmp_path, 0, None)) == ["run"]


def test_damaged_reports_are_passed_over(planner: Planner, tmp_path: Path) -> None:
    first = plan_jobs(planner, BATCH, tmp_path, 0, None)
    for each, text in zip(first, ['{"status": "comp', "", "[]", "{}"], strict=True):
        each.directory.mkdir()
        (each.directory / "report.json").write_text(text)
    assert existing_runs(tmp_path) == {}
    assert plans(plan_jobs(planner, BATCH, tmp_path, 0, None)) == ["run"] * 4


def test_all_that_is_wrong_is_said_once_before_anything_starts(planner: Planner, tmp_path: Path) -> None:
    batch = [[f"optimizer.lr={lr}", "data.batch_size=0", f"seed={seed}"] for lr in (0.1, -1) for seed in (1, 2)]
    with pytest.raises(ConfigError) as raised:
        plan_jobs(planner, batch, tmp_path / "sweep", 0, None)
    lines = str(raised.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["data.batch_size=0", "optimizer.lr=-1"]
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("name", ["000_seed=1", "001_model.hidden=[64,32]", "002_x=[a]"])
def test_what_a_rerun_replaces_is_kept_every_time(tmp_path: Path, name: str) -> None:
    for attempt in range(4):
        prepare_directory(job(tmp_path / name))
        assert list((tmp_path / name).iterdir()) == []
        (tmp_path / name / "report.json").write_text(f"{attempt}")
    kept = sorted((tmp_path / ".replaced").glob("*/report.json"))
    assert [path.read_text() for path in kept] == ["0", "1", "2"]


def test_a_job_that_goes_on_keeps_its_directory(tmp_path: Path) -> None:
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "report.json").touch()
    prepare_directory(job(tmp_path / "000", plan="resume"))
    assert (tmp_path / "000" / "report.json").exists()
    assert not (tmp_path / ".replaced").exists()


@pytest.mark.parametrize("same", [["seed=1"], ["++seed=1"], ["name=other"], ["tags=[a]"], ["data.root=elsewhere"]])
def test_equal_experiments_are_one_job(planner: Planner, tmp_path: Path, same: list[str]) -> None:
    jobs = plan_jobs(planner, [["seed=1"], same, ["seed=2"]], tmp_path, 0, None)
    assert [job.overrides for job in jobs] == ([["seed=1"], ["seed=2"]])


# Slots


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def set_to(count: int) -> None:
        monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: set(range(count)), raising=False)

    return set_to


@pytest.mark.parametrize(
    ("count", "devices", "wanted", "expected"),
    [
        (8, 1, "auto", [1] * 8),
        (8, 1, 4, [2] * 4),
        (8, 1, 3, [2] * 3),
        (8, 1, 1, [8]),
        (2, 1, 5, [1] * 5),
        (8, 2, "auto", [1] * 4),
        (8, 2, 1, [4]),
        (2, 4, "auto", [1]),
        (1, 1, "auto", [1]),
        (8, "auto", "auto", [1] * 8),
    ],
)
def test_cores_are_shared_out(
    cores: Callable[[int], None], count: int, devices: int | str, wanted: int | str, expected: list[int]
) -> None:
    cores(count)
    found = share_out({"accelerator": "cpu", "devices": devices}, wanted)
    assert found == [Slot(threads) for threads in expected]


@pytest.mark.parametrize("wanted", [0, -1, 1.5, "2", "all", True, None])
def test_a_number_of_slots_that_is_none_is_refused(wanted: Any) -> None:
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.slots={wanted}: must be a whole number"):
        share_out({"accelerator": "cpu"}, wanted)
    if wanted != "all":
        with pytest.raises(ConfigError, match=rf"hydra\.launcher\.jobs_per_gpu={wanted}: must be"):
            share_out({"accelerator": "cpu"}, "auto", wanted)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
@pytest.mark.parametrize(
    ("visible", "devices", "jobs_per_gpu", "expected", "threads"),
    [
        ("0,1,2", 1, 1, ["0", "1", "2"], 5),
        ("3, 5", 1, 1, ["3", "5"], 8),
        ("0,1", 1, 2, ["0", "0", "1", "1"], 4),
        ("0,1,2,3", 2, 1, ["0,1", "2,3"], 4),
        ("0,1,2,3", [0, 1], 1, ["0,1", "2,3"], 4),
        ("0,1,2", 2, 1, ["0,1"], 8),
        ("0", 2, 1, ["0"], 8),
        ("GPU-5f3a,MIG-77", "auto", 1, ["GPU-5f3a", "MIG-77"], 8),
    ],
)
def test_each_job_gets_its_own_of_the_gpus_that_may_be_used(
    cores: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    devices: Any,
    jobs_per_gpu: int,
    expected: list[str],
    threads: int,
    accelerator: str,
) -> None:
    cores(16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    trainer: Any = OmegaConf.create({"accelerator": accelerator, "devices": devices})
    found = share_out(trainer, "auto", jobs_per_gpu)
    assert sorted(str(slot.gpus) for slot in found) == expected
    assert {slot.threads for slot in found} == {threads}


def test_as_many_slots_as_are_wanted_spread_over_the_gpus(
    cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    for jobs_per_gpu in (1, 2):
        for wanted in (1, 2, 3, 4):
            found = share_out({"accelerator": "gpu", "devices": 1}, wanted, jobs_per_gpu)
            assert [slot.gpus for slot in found] == ["4", "6", "4", "6"][:wanted]


@pytest.mark.parametrize(("visible", "accelerator"), [("", "auto"), ("-1", "gpu"), ("0,1", "cpu")])
def test_without_a_gpu_to_use_jobs_share_the_cores(
    cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, visible: str, accelerator: str
) -> None:
    cores(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert share_out({"accelerator": accelerator, "devices": 1}, "auto") == [Slot(1)] * 4


def test_a_job_sees_its_share_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,-1,")
    assert visible_gpus() == ["2"]
    assert Slot(3, "2").environment()["CUDA_VISIBLE_DEVICES"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in Slot(3).environment()
    assert {Slot(3).environment()[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL", "OPENBLAS")} == {"3"}


# Display


@pytest.fixture
def plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("plain_output")
def test_where_there_is_no_terminal_every_job_gets_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = job(tmp_path / "000_model.hidden=[64,32]", 0)
    bad = job(tmp_path / "001_x=[b]", 1)
    with Display(3, mode="max") as display:
        display.say("3 jobs [in] all " + "x" * 200)
        for each in (good, bad):
            each.status = "running"
            display.started(each)
        good.status, good.objective = "completed", 0.98765
        display.ended(good)
        bad.status, bad.error = "failed", "it broke\nTraceback"
        display.ended(bad)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "3 jobs [in] all " + "x" * 200,
        "[1/3] completed   000_model.hidden=[64,32]  0.9877",
        "[2/3] failed      001_x=[b]  it broke",
    ]


@pytest.mark.usefixtures("plain_output")
def test_the_summary_counts_what_ended_otherwise_and_names_the_best(tmp_path: Path) -> None:
    display = Display(None, mode="min")
    for number, (status, objective) in enumerate(
        [("completed", 0.5), ("completed", 0.25), ("failed", None), ("pruned", None), ("running", None)]
    ):
        display.started(job(tmp_path / f"{number:03d}", number, status=status, objective=objective))
    line = display.summary_line()
    assert line == "4 done   1 failed   1 pruned   1 running   best 0.2500 (001)"
    display.total = 9
    assert display.summary_line().startswith("4/9 done")
    assert display.summary_line().endswith("to go")


def test_nobody_waits_for_jobs_that_were_done_before(tmp_path: Path) -> None:
    display = Display(2, mode="max")
    display.started(job(tmp_path / "000", status="completed", objective=0.5, plan="skip"))
    assert display.summary_line() == "1/2 done   best 0.5000 (000)"


def test_a_table_of_a_thousand_jobs_is_drawn_now_and_then_and_is_right_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    clock = itertools.count(start=100, step=0.001)  # seconds; it is read at each change
    monkeypatch.setattr("strobe.sweeps.display.time.monotonic", lambda: next(clock))
    drawn: list[str] = []
    display = Display(1000, mode="max")
    table = display._table
    monkeypatch.setattr(display, "_table", lambda: (drawn.append(display.summary_line()), table())[1])
    with display:
        for number in range(1000):
            each = job(tmp_path / f"{number:03d}", number, status="running")
            display.started(each)
            each.status, each.objective = ("failed", None) if number % 10 == 9 else ("completed", number / 1000)
            display.ended(each)
    assert len(drawn) < 40
    assert drawn[-1].startswith("1000/1000 done   100 failed   best 0.9980 (998)")
    assert "998" in capsys.readouterr().out.splitlines()[-3]


def test_the_best_job_is_the_best_of_those_that_completed(tmp_path: Path) -> None:
    ends = [("completed", 0.5), ("completed", -1.0), ("failed", 9.0), ("pruned", -9.0), ("completed", None)]
    jobs = [job(tmp_path / str(place), status=status, objective=value) for place, (status, value) in enumerate(ends)]
    highest, lowest = best_job(jobs, mode="max"), best_job(jobs, mode="min")
    assert (highest, lowest) == (jobs[0], jobs[1])
    zero = job(tmp_path / "zero", status="completed", objective=0.0)
    assert best_job([zero, jobs[1]], mode="max") is zero
    assert best_job(jobs[2:], mode="max") is None
    assert best_job([], mode="max") is None
