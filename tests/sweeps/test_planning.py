"""Planning a sweep: the short way to a job's config leads where Hydra's leads, and costs the driver next to nothing."""

import gc
import itertools
import json
import pickle
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, ListConfig, OmegaConf

from strobe.config.checks import problems_with_libraries
from strobe.config.compose import resolved, settled
from strobe.config.plan import plan
from strobe.config.trial import problems_when_built
from strobe.config.values import problems
from strobe.errors import ConfigError, first_line
from strobe.record.identity import config_hash
from strobe.sweeps.engine import End, Engine
from strobe.sweeps.grid import run_grid
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import existing_runs, plan_jobs
from strobe.sweeps.planning import Planner
from tests.conftest import no_longer_than
from tests.sweeps.pretend import Pretend

# The same config

CHOICES = [
    *("model=mlp", "model=cnn", "optimizer=sgd", "scheduler=onecycle", "scheduler=plateau", "data=cifar10", "~logger"),
    *("+model.extra=3", "~optimizer.betas", "experiment=mnist_cnn", "task=gan", "debug=limit"),
]
KEYS = [
    *("seed", "name", "tags", "monitor.metric", "monitor.mode", "objective", "optimizer.lr", "optimizer.betas"),
    *("model.hidden", "model.norm", "data", "data.batch_size", "data.seed", "data.val_size", "scheduler.max_lr"),
    *("trainer.max_epochs", "trainer.max_time", "identity.also_ignore", "sweep.name", "nope", "data.nope"),
]
VALUES = [
    *("1", "0", "-1", "0.5", "1e-3", "nan", "null", "true", "abc", "''", "'two words'", "'1'", "???", "'***'"),
    *("[8,8]", "[]", "[a,null]", "[[1,2],3]", "{a: 1}", "val/loss", "00:00:01:00", "99999999999999999999"),
    *("${seed}", "${nope}", "${optimizer.lr}", "'x${seed}y'", "[${seed},0]", "${oc.env:HOME}", "${monitor}"),
]
values = st.builds("{}{}={}".format, st.sampled_from(["", "", "++"]), st.sampled_from(KEYS), st.sampled_from(VALUES))
drawn = st.tuples(st.lists(st.sampled_from(CHOICES), max_size=2, unique=True), st.lists(values, max_size=3)).flatmap(
    lambda both: st.permutations([*both[0], *both[1]])
)


def told(ask: Callable[..., Any], *about: Any) -> Any:
    """What is found, or how it is refused; NaN is equal to itself."""
    try:
        return repr(ask(*about))
    except Exception as error:  # whatever Hydra or OmegaConf raises
        return type(error).__name__, first_line(error)


def looked_at(cfg: DictConfig) -> list[Any]:
    """All that planning asks of a config."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    return [told(lambda: raw), told(problems, cfg), told(lambda: config_hash(settled(cfg)))]


@given(drawn)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_config_that_is_lent_is_the_one_that_hydra_composes(planner: Planner, overrides: list[str]) -> None:
    def lent() -> list[Any]:
        with planner.lent(overrides) as cfg:
            return looked_at(cfg)

    own = told(lambda: looked_at(planner.compose(overrides)))
    assert told(lent) == own
    by_hydra = told(lambda: looked_at(compose("train", overrides=overrides)))
    # What is added and taken away is Hydra's to compose, and comes before values are changed.
    if not isinstance(by_hydra, tuple) and not any(text.startswith(("+", "~")) for text in overrides):
        assert own == by_hydra


@pytest.mark.parametrize(
    "overrides",
    [["seed=7"], ["tags=[a,b]"], ["scheduler.mode=min"], ["monitor.mode=min", "note='${seed}'"], ["seed=???"], []],
    ids=" ".join,
)
def test_a_base_has_its_own_values_again_however_the_block_ends(planner: Planner, overrides: list[str]) -> None:
    choices = ["scheduler=plateau"]
    before = OmegaConf.to_container(planner.compose(choices), resolve=False)
    with pytest.raises(KeyError), planner.lent([*choices, *overrides]):
        raise KeyError
    with planner.lent([*choices, *overrides]) as cfg, pytest.raises(Exception, match="nope"):
        cfg.nope = 1
    assert OmegaConf.to_container(planner.compose(choices), resolve=False) == before


def test_what_a_resolver_gives_to_a_job_is_not_given_to_the_next(planner: Planner) -> None:
    count = itertools.count()
    OmegaConf.register_new_resolver("counted", lambda: next(count), use_cache=True)
    try:
        found = [(cfg.seed, cfg.seed) for cfg in planner.each([["seed=${counted:}"], ["seed=${counted:}", "name=b"]])]
    finally:
        OmegaConf.clear_resolver("counted")
    assert found == [(0, 0), (1, 1)]


# The config that a job is handed

TYPED = [
    [],
    ["seed=3"],
    ["optimizer.lr=0.01", "model=mlp", "model.hidden=[8,8]", "seed=2"],
    ["experiment=mnist_cnn", "trainer.max_epochs=1", "++model.extra={a: [1, null]}"],
    ["optimizer=sgd", "optimizer.momentum=0.5", "note='${seed}, a=b'", "tags=[b,a]"],
    ["data=cifar10", "scheduler=onecycle", "callbacks=none", "logger=none", "name='a=b'"],
    ["hydra.job.env_copy=[HOME]", "hydra.verbose=true", "seed=null", 'note="it\'s"'],
    ["hydra/job_logging=none", "sweep=lr", "trainer=ddp_cpu"],
]


def in_full(cfg: Any) -> Any:
    """A config with its flags and types, interpolations as text."""
    if not OmegaConf.is_config(cfg):
        return repr(cfg), type(cfg)
    empty = cfg._is_missing() or cfg._is_none() or cfg._is_interpolation()
    keys = [] if empty else range(len(cfg)) if isinstance(cfg, ListConfig) else list(cfg)
    flags = [
        OmegaConf.is_struct(cfg),
        OmegaConf.is_readonly(cfg),
        OmegaConf.get_type(cfg),
        repr(cfg) if empty else None,
    ]
    return flags, {key: in_full(cfg._get_node(key)) for key in keys}


@pytest.mark.parametrize("overrides", TYPED, ids=" ".join)
def test_a_job_is_handed_what_hydra_would_compose_of_its_command(planner: Planner, overrides: list[str]) -> None:
    placed = [*overrides, "hydra.run.dir='out/it\\'s, 000_a=b'", "hydra.mode=RUN"]
    handed = pickle.loads(pickle.dumps(planner.handed(placed)))
    assert handed is not None
    by_hydra = compose("train", overrides=placed, return_hydra_config=True)
    assert in_full(handed.config()) == in_full(by_hydra)


@given(drawn)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_handed_is_what_hydra_would_compose(planner: Planner, overrides: list[str]) -> None:
    by_hydra = told(lambda: in_full(compose("train", overrides=overrides, return_hydra_config=True)))
    if not isinstance(by_hydra, tuple) and (handed := planner.handed(overrides)) is not None:
        assert repr(in_full(handed.config())) == by_hydra


def test_groups_of_the_users_own_are_groups(planner: Planner, tmp_path: Path) -> None:
    files = {"head/small.yaml": "width: 1\n", "head/big.yaml": "width: 2\n"}
    files["experiment/mine.yaml"] = "# @package _global_\ndefaults:\n  - /head: small\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    searched = [f"hydra.searchpath=['file://{tmp_path}']"]
    typed = ["experiment=mine", "head=big", "hydra.run.dir=run", "hydra.mode=RUN"]
    own = Planner(GlobalHydra.instance().config_loader(), "train", searched)
    by_hydra = compose("train", overrides=[*searched, *typed], return_hydra_config=True)
    handed = own.handed(typed)
    assert handed is not None
    assert in_full(handed.config()) == in_full(by_hydra)
    assert own.compose(typed[:2]).head == {"width": 2}


@pytest.mark.parametrize("text", ["+model.extra=3", "~logger", "~optimizer.betas", "+experiment=mnist_cnn"])
def test_what_adds_or_takes_away_is_left_to_hydra(planner: Planner, text: str) -> None:
    assert planner.handed(["seed=1", text]) is None


# What is wrong with a plan


@pytest.mark.parametrize(
    "batch",
    [
        [["seed=1"], ["seed=2"]],
        [["seed=-1"], ["model=mlp", "model.norm=bach"], ["seed=-2"]],  # values are said before targets
        [["model=mlp", "model.norm=bach", f"seed={seed}"] for seed in (1, 2)],
        [["model=mlp", f"model.hidden=[{width}]"] for width in (8, "a", 16, "b")],
        [["optimizer=adam", f"optimizer.betas=[{beta},0.9]", f"seed={beta}"] for beta in (0, 2, 3)],
        [["optimizer=sgd", f"optimizer.nesterov={on}", f"optimizer.lr={on + 1}"] for on in (True, False, True)],
        [["task._target_=mine.Nothing"], ["optimizer=adam"]],
        [["scheduler=onecycle", f"scheduler.pct_start={share}"] for share in (0.3, 1.5)],
        [["task=gan"], ["model=torchvision"], ["+model.num_classes=7"]],
        [["data.val_size=60000"], ["data.val_size=5000", "trainer.devices=0"]],
    ],
    ids=lambda batch: "; ".join(map(" ".join, batch)),
)
def test_a_plan_of_many_finds_what_is_wrong_with_each(planner: Planner, batch: list[list[str]]) -> None:
    cfgs = [planner.compose(overrides) for overrides in batch]
    stages = (
        lambda cfg: problems(cfg),
        lambda cfg: problems_with_libraries(resolved(cfg)),
        lambda cfg: problems_when_built(resolved(cfg)),
    )
    by_stage = (list(dict.fromkeys(line for cfg in cfgs for line in stage(cfg))) for stage in stages)
    expected = next(filter(None, by_stage), [])
    found: list[str] = []
    try:
        assert plan(planner.each(batch)).splitlines()[0].split() == ["jobs", str(len(batch))]
    except ConfigError as error:
        found = str(error).splitlines()
    assert found == expected


def test_a_task_of_the_users_is_tried_with_each_optimizer(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "from strobe.tasks.classifier import Classifier",
        "class Choosy(Classifier):",
        "    def __init__(self, net, optimizer, loss):",
        "        super().__init__(net, loss)",
        "        if optimizer.keywords['lr'] > 1:",
        "            raise ValueError('too fast for me')",
    ]
    (tmp_path / "choosy.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    batch = [["task._target_=choosy.Choosy", f"optimizer.lr={lr}"] for lr in (0.1, 0.2, 2)]
    assert plan(planner.each(batch[:2]))
    with pytest.raises(ConfigError, match="task: too fast for me"):
        plan(planner.each(batch))


# What it costs


class AtOnce(Engine):
    """An engine with eight places, whose jobs have ended as soon as they are waited for."""

    described = "eight at a time"

    def __init__(self) -> None:
        self._running: list[Job] = []

    @property
    def has_room(self) -> bool:
        return len(self._running) < 8

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        self._running.append(job)

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        ended, self._running = self._running, []
        for job in ended:
            report = {
                **{"status": "completed", "config_hash": job.hash, "objective": 0.5, "error": None},
                **{"metrics": {f"val/{number}": 0.5 for number in range(20)}, "overrides": job.overrides},
                **{"environment": {"command": "x" * 2000}},  # a report is of a few thousand characters
            }
            (job.directory / "report.json").write_text(json.dumps(report))
        return [(job, End(code=0)) for job in ended]

    def ask(self, job: Job, number: int) -> None:
        """It has ended anyway."""

    def kill(self, job: Job) -> None:
        """Likewise."""


def grid_of(planner: Planner, jobs: int) -> list[list[str]]:
    """The jobs of a grid over a group, numbers, lists and seeds, as Hydra expands it."""
    typed = ["sweep.name=s", "model=mlp,simple_nn", "optimizer.lr=0.1,0.01,0.001,0.0001", f"seed=range({jobs // 40})"]
    typed.append("trainer.max_epochs=1,2,3,4,5")
    (batch,) = BasicSweeper.split_arguments(planner.parser.parse_overrides(typed), None)
    return batch


def milliseconds(work: Callable[[], object]) -> float:
    """Of CPU."""
    gc.collect()
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def kilobytes(work: Callable[[], object]) -> float:
    """Of memory, the most at once; other threads that these tests have left behind only add to it."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1024
    finally:
        tracemalloc.stop()


class Sweeps:
    """The work of a driver, measured by the number of jobs.

    Args:
        planner: Composes their configs.
        directory: Of the sweeps.
    """

    def __init__(self, planner: Planner, directory: Path) -> None:
        self.planner, self.directory = planner, directory

    def run(self, jobs: int, name: str = "") -> None:
        """A grid from the command's overrides to the end of its last job."""
        fields = Pretend(self.directory / f"{name}{jobs}", self.planner).settings()
        done = run_grid(grid_of(self.planner, jobs), 0, self.planner, replace(fields, engine=AtOnce()))
        assert [job.status for job in done] == ["completed"] * jobs

    def plan(self, jobs: int) -> None:
        """With validate=only."""
        plan(self.planner.each(grid_of(self.planner, jobs)))


@pytest.fixture
def sweeps(planner: Planner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Sweeps:
    made = Sweeps(planner, tmp_path)
    made.run(40, "first")  # what is imported, composed and cached once
    made.plan(40)
    return made


def test_a_driver_spends_little_on_each_job(sweeps: Sweeps) -> None:
    """Bounds that a busy machine keeps; those of an idle one are a tenth of them."""
    assert milliseconds(lambda: sweeps.run(120, "timed")) / 120 < 30
    assert milliseconds(lambda: sweeps.run(120, "timed")) / 120 < 30  # all of it finished before
    assert milliseconds(lambda: sweeps.plan(120)) / 120 < 40
    few, many = kilobytes(lambda: sweeps.run(40)), kilobytes(lambda: sweeps.run(120))
    assert (many - few) / 80 < 20
    few, many = (min(kilobytes(partial(sweeps.plan, jobs)) for _ in range(3)) for jobs in (40, 120))
    assert (many - few) / 80 < 5


@pytest.mark.slow
def test_ten_thousand_jobs_cost_five_milliseconds_and_twenty_kilobytes_each(sweeps: Sweeps) -> None:
    no_longer_than(3600)
    jobs = 10_000
    spent = {
        "run": milliseconds(lambda: sweeps.run(jobs)) / jobs,
        "again": milliseconds(lambda: sweeps.run(jobs)) / jobs,
        "plan": milliseconds(lambda: sweeps.plan(jobs)) / jobs,
    }
    assert max(spent.values()) < 5, spent
    assert kilobytes(lambda: sweeps.run(jobs, "weighed")) / jobs < 20


def test_of_reports_no_more_is_kept_than_decides_about_their_jobs(planner: Planner, tmp_path: Path) -> None:
    batch = [[f"seed={seed}"] for seed in range(2)]
    jobs = run_grid(batch, 0, planner, replace(Pretend(tmp_path, planner).settings(), engine=AtOnce()))
    assert [len(report) for _, report in existing_runs(tmp_path).values()] == [3, 3]
    again = plan_jobs(planner, batch, tmp_path, 0, None)
    assert [(job.plan, job.status, job.objective) for job in again] == [("skip", "completed", 0.5)] * len(jobs)
