"""Planning a sweep: the short way to a job's config leads where Hydra's leads, and costs the driver next to nothing."""

import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
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
from strobe.sweeps.grid import run_grid
from strobe.sweeps.jobs import existing_runs, plan_jobs
from strobe.sweeps.planning import Planner
from tests.conftest import ROOT, no_longer_than
from tests.sweeps.costs import AtOnce
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


def costs(directory: Path, jobs: str) -> dict[str, float]:
    """What is spent on each of a few or many jobs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.costs", str(directory), jobs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_driver_spends_little_on_each_job(tmp_path: Path) -> None:
    """Bounds of time that a busy machine keeps; those of an idle one are a tenth of them."""
    spent = costs(tmp_path, "few")
    assert spent["run ms"] < 30
    assert spent["again ms"] < 30
    assert spent["plan ms"] < 40
    assert spent["run kB"] < 20
    assert spent["plan kB"] < 5


@pytest.mark.slow
def test_ten_thousand_jobs_cost_five_milliseconds_and_twenty_kilobytes_each(tmp_path: Path) -> None:
    no_longer_than(3600)
    spent = costs(tmp_path, "many")
    assert max(spent[name] for name in ("run ms", "again ms", "plan ms")) < 5, spent
    assert spent["run kB"] < 20


def test_of_reports_no_more_is_kept_than_decides_about_their_jobs(planner: Planner, tmp_path: Path) -> None:
    batch = [[f"seed={seed}"] for seed in range(2)]
    jobs = run_grid(batch, 0, planner, replace(Pretend(tmp_path, planner).settings(), engine=AtOnce()))
    assert [len(report) for _, report in existing_runs(tmp_path).values()] == [3, 3]
    again = plan_jobs(planner, batch, tmp_path, 0, None)
    assert [(job.plan, job.status, job.objective) for job in again] == [("skip", "completed", 0.5)] * len(jobs)
