"""The commands, as a person types them: answers in time, exit codes, and where the files go."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from strobe.commands.arguments import with_absolute_path, without_trust
from strobe.commands.resumed import resumed_run
from strobe.config.overrides import idle_additions
from strobe.config.rules import TOP_LEVEL
from strobe.errors import ConfigError
from tests.conftest import ROOT, TEST_CONF, Command, Compose, Train, report
from tests.record.test_checkpoints import as_typed
from tests.run.test_train import equal, weights

_WITHOUT_TORCH = """
import runpy, sys
sys.argv[0] = "train"
try:
    runpy.run_module("src.train", run_name="__main__", alter_sys=True)
finally:
    print("IMPORTED", sorted({"torch", "lightning", "torchvision"} & set(sys.modules)))
    print("OURS", *(name for name in sys.modules if name.startswith("strobe.")))
"""


def light(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `src.train` with arguments that shouldn't need torch, and check that it wasn't imported."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "IMPORTED []" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(cwd.iterdir()) == []
    return done


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty directory."""
    directory = tmp_path / "empty"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["python -m src.train", "optimizer: adagrad, adam", "max_epochs: 5"]),
        (["--cfg", "job"], ["_target_: lightning.pytorch.Trainer", "lr: 0.001"]),
        (["--cfg", "job", "optimizer=sgd", "seed=7"], ["_target_: torch.optim.SGD", "seed: 7"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_looking_at_the_config_needs_no_torch_and_leaves_no_file(
    empty: Path, arguments: list[str], words: list[str]
) -> None:
    done = light(empty, *arguments)
    assert done.returncode == 0
    assert [word for word in words if word not in done.stdout] == []


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["optimzer.lr=0.1"]], ids=lambda value: " ".join(value))
def test_what_runs_and_sweeps_need_is_imported_for_them_alone(empty: Path, arguments: list[str]) -> None:
    (ours,) = (line.split() for line in light(empty, *arguments).stdout.splitlines() if line.startswith("OURS"))
    of_runs = {f"strobe.{name}" for name in ("config.saved", "record.lock", "sweeps.warm", "machine.compiler")}
    assert of_runs & set(ours) == set(), "a tenth of what such a command takes"


MISTAKES = [
    (["optimzer.lr=1"], ["optimzer.lr: no such key; did you mean optimizer.lr=1?"]),
    (["lr=1"], ["lr: no such key; did you mean optimizer.lr=1?"]),
    (["trainer.max_epoch=3"], ["did you mean trainer.max_epochs=3?"]),
    (["epochs=10"], ["epochs: no such key; did you mean trainer.max_epochs=10?"]),
    (["trainer.epochs=10"], ["trainer.epochs: no such key; did you mean trainer.max_epochs=10?"]),
    (["learning_rate=0.1"], ["did you mean optimizer.lr=0.1?"]),
    (["optimizer.learning_rate=0.1"], ["did you mean optimizer.lr=0.1?"]),
    (["model=mlp", "dropout=0.5"], ["did you mean model.dropout=0.5?"]),
    (["dropout=0.5"], ["simple_nn has no dropout; did you mean model=mlp model.dropout=0.5?"]),
    (["precision=16-mixed"], ["did you mean trainer.precision=16-mixed?"]),
    (["device=cuda"], ["did you mean trainer.accelerator=gpu?"]),
    (["trainer.gpus=1"], ["did you mean trainer.devices=1?"]),
    (["batch_size=8", "dataset=mnist"], ["did you mean data.batch_size=8?", "did you mean data=mnist?"]),
    (["modle=mlp"], ["modle: no such key; did you mean model=mlp?"]),
    (["model=simplenn"], ["did you mean model=simple_nn?", "cnn, lstm, mlp"]),
    (["experiment=mnist_ccn"], ["did you mean experiment=mnist_cnn?"]),
    (["optimizer.lr"], ["'optimizer.lr' is not an override: write key=value"]),
    (["name=a(b"], ["can't be read: quote a value"]),
    (["optimizer.lr=1e-2,1e-3"], ["several values make a sweep, which needs -m"]),
    (["model=mlp,cnn"], ["several values make a sweep, which needs -m"]),
    (
        ["optimizer=sgd", "optimizer.betas=[0.9,0.99]"],
        ["optimizer.betas: no such key", "sgd has no betas; did you mean optimizer=adam"],
    ),
    (
        ["optimzer.lr=1", "model=simplenn", "seed=1,2", "trainer.max_epoch=3"],
        ["optimizer.lr=1?", "model=simple_nn?", "seed=1,2: several values", "trainer.max_epochs=3?"],
    ),
    (["optimizer.lr=-1", "data.batch_size=0"], ["optimizer.lr=-1: must be", "data.batch_size=0: must be"]),
    (["data=null"], ["data=null: is no option of this group"]),
    (["task=gan", "optimizer.lr=0.1"], ["optimizer.lr: GAN takes no optimizer"]),
    (["task=gan", "loss=brier", "model=mlp"], ["loss: GAN takes no loss", "model: GAN takes no model"]),
    (["task=vae", "loss=mse"], ["loss: VAE takes no loss"]),
    (["task=clasification"], ["did you mean task=classification?"]),
    (["task=regression", "monitor.metric=val/acc"], ["must be val/loss, val/mae, val/rmse", "monitor.metric=val/"]),
    (["data=table", "data.path=x.csv"], ["data.target: has no value yet (???)"]),
    (["resume=nowhere"], ["nowhere is not a run directory"]),
    (["resume="], ["resume= is empty"]),
    (["-m", "resume=x"], ["can't be combined with -m"]),
    (["name='${optimiser.lr}'"], ["optimiser.lr"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_is_explained_without_torch_and_exits_with_2(
    empty: Path, arguments: list[str], words: list[str]
) -> None:
    done = light(empty, *arguments)
    assert [word for word in words if word not in done.stderr] == []
    assert done.returncode == 2


def test_a_mistake_beside_an_option_of_ones_own_is_the_only_one_reported(empty: Path) -> None:
    done = light(empty, f"--config-dir={TEST_CONF}", "data=tiny", "trainer.max_epoch=3")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["trainer.max_epoch: no such key; did you mean trainer.max_epochs=3?"]


@pytest.mark.parametrize("flags", [["-m"], ["--multirun"]])
def test_the_flag_for_a_sweep_may_stand_anywhere(empty: Path, flags: list[str]) -> None:
    done = light(empty, "optimizer=sgd", *flags, "optimzer.lr=1,2")
    assert done.returncode == 2
    assert "did you mean optimizer.lr=1,2?" in done.stderr


def test_a_person_trains_and_evaluates(command: Command, tiny_arguments: list[str], tmp_path: Path) -> None:
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    done = command("train", *tiny_arguments, HOME=str(home), XDG_CACHE_HOME="", XDG_STATE_HOME="", TMPDIR=str(home))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (run,) = (cwd / "outputs" / "train").glob("*/*")
    shown = run.relative_to(cwd)

    lines = done.stdout.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert all(re.search(r"train loss [\d.]+ acc .* val loss [\d.]+ acc ", line) for line in epochs)
    found = report(run)
    assert f"test accuracy  {found['metrics']['test/acc']:.4f}" in done.stdout
    assert f"run directory  {shown}" in done.stdout
    assert f"tensorboard --logdir {shown}" in done.stdout
    assert f"python -m src.evaluate {shown}" in done.stdout

    assert found["overrides"] == [argument for argument in tiny_arguments if not argument.startswith("--")]
    assert found["environment"]["command"].startswith("python -m src.train ")
    files = [path for path in (*cwd.rglob("*"), *home.rglob("*")) if path.is_file() and run not in path.parents]
    # torchmetrics imports matplotlib where that is installed, which lists the system's fonts once per home.
    files = [path for path in files if "matplotlib" not in path.parts]
    assert [str(path.relative_to(home)) for path in files] == [".local/state/strobe/key"]
    expected = {
        ".hydra",
        "checkpoints",
        "config.yaml",
        "metrics.csv",
        "packages.txt",
        "report.json",
        "tensorboard",
        "train.log",
    }
    assert {path.name for path in run.iterdir()} == expected

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    evaluated = command("evaluate", str(shown), "--json", HOME=str(home), XDG_CACHE_HOME="", XDG_STATE_HOME="")
    assert evaluated.returncode == 0, evaluated.stderr
    measured = json.loads(evaluated.stdout)
    assert measured == {name: found["metrics"][name] for name in ("test/loss", "test/acc")}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["nowhere"], "is not a run directory"), ([], "arguments are required: run"), (["."], "is not a run directory")],
)
def test_evaluating_what_is_no_run_exits_with_2(command: Command, arguments: list[str], word: str) -> None:
    done = command("evaluate", *arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "override",
    [
        *("data.bach_size=3", "trainer.accelerator=cpuu", "nonsense"),
        *("trainer.limit_test_batches=0", "data.eval_batch_size=-1"),  # refused as in training: nothing would be tested
    ],
)
def test_a_wrong_override_of_an_evaluation_is_explained(train_tiny: Train, override: str) -> None:
    from strobe.run.evaluation import evaluate

    directory = train_tiny("trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        evaluate(directory, [override])


def test_an_evaluation_runs_on_one_device_whatever_the_run_did(train_tiny: Train) -> None:
    from strobe.commands.trust import main as trust
    from strobe.run.evaluation import evaluate

    directory = train_tiny("trainer.max_epochs=1")
    config = directory / "config.yaml"
    elsewhere = config.read_text().replace("accelerator: cpu", "accelerator: gpu").replace("devices: 1", "devices: 8")
    config.write_text(elsewhere.replace("strategy: auto", "strategy: fsdp").replace("num_nodes: 1", "num_nodes: 4"))
    assert trust([str(directory)]) == 0
    measured = evaluate(directory, ["trainer.accelerator=cpu"])
    assert measured == {name: report(directory)["metrics"][name] for name in ("test/loss", "test/acc")}
    assert evaluate(directory).keys() == measured.keys()
    with pytest.raises(ConfigError, match="one device"):
        evaluate(directory, ["trainer.devices=2"])


def test_evaluating_another_checkpoint_that_is_not_there_is_a_failure(train_tiny: Train) -> None:
    from strobe.commands.evaluate import main

    directory = train_tiny("trainer.max_epochs=1")
    assert main([str(directory), "--checkpoint=epoch7.ckpt"]) == 1
    assert main([str(directory), "--checkpoint=last.ckpt", "data.eval_batch_size=10"]) == 0


def test_a_run_is_resumed_by_its_directory_alone(
    command: Command, train_tiny: Train, tiny_arguments: list[str], tmp_path: Path
) -> None:
    whole = train_tiny("model=mlp", "model.dropout=0.2", "trainer.max_epochs=4")
    run = tmp_path / "run"
    first = command("train", *tiny_arguments, "model=mlp", "model.dropout=0.2", f"hydra.run.dir={run}")
    assert first.returncode == 0, first.stderr
    finished = command("train", f"resume={run}")
    assert finished.returncode == 2
    assert "has trained 2 of 2 epochs" in finished.stderr
    assert report(run)["status"] == "completed"
    resumed = command("train", f"resume={run}", "trainer.max_epochs=4")
    assert resumed.returncode == 0, resumed.stderr
    assert equal(weights(whole), weights(run))
    assert report(run)["overrides"][-1] == "trainer.max_epochs=4"


def test_a_mistake_in_a_resumed_command_is_explained_like_any_other(train_tiny: Train, empty: Path) -> None:
    run = as_typed(train_tiny("model=mlp"))
    done = light(empty, f"resume={run}", "model.dropout=0.2", "trainer.max_epoch=4")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["trainer.max_epoch: no such key; did you mean trainer.max_epochs=4?"]


def test_a_refused_resume_leaves_a_run_that_can_be_resumed(command: Command, train_tiny: Train) -> None:
    run = as_typed(train_tiny())
    refused = command("train", f"resume={run}", "model.hidden=64", "trainer.max_epochs=3")
    assert refused.returncode == 1
    resumed = command("train", f"resume={run}", "trainer.max_epochs=3")
    assert resumed.returncode == 0, resumed.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", ["plain", "two words", "a,b", "it's (1)", "lr=0.1", "50%", "[x]"])
def test_a_run_directory_may_have_any_name(train_tiny: Train, tmp_path: Path, name: str) -> None:
    run = as_typed(train_tiny("trainer.max_epochs=1", directory=tmp_path / name))
    parser = OverridesParser.create()
    resumed = resumed_run([f"resume={run}"], [])
    assert resumed is not None
    parsed = {each.key_or_group: each.value() for each in parser.parse_overrides(resumed.arguments)}
    assert parsed == {
        "hydra.output_subdir": None,
        "hydra.run.dir": str(run),
        "resume": str(run),
    }


def test_only_flags_and_hydras_own_overrides_reach_hydra_when_a_run_is_resumed(train_tiny: Train) -> None:
    assert resumed_run(["seed=1", "resume=null"], []) is None
    directory = train_tiny("trainer.max_epochs=1")
    typed = ["--config-dir", "conf", "hydra.verbose=true", "test=false", f"resume={directory}", "+note=mine"]
    with pytest.raises(ConfigError, match="there is such a key already"):
        resumed_run(typed, [])
    resumed = resumed_run([*typed[:-1], "++note=mine"], [])
    assert resumed is not None
    ours = [f"hydra.run.dir='{directory}'", "hydra.output_subdir=null", f"resume='{directory}'"]
    assert resumed.arguments == ["--config-dir", "conf", "hydra.verbose=true", *ours]
    assert resumed.overrides == ["test=false", "++note=mine"]
    assert (resumed.cfg.test, resumed.cfg.note, resumed.cfg.trainer.max_epochs) == (False, "mine", 1)
    (directory / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"has no config\.yaml"):
        resumed_run([f"resume={directory}"], [])


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (["trainer.max_epoch=3"], "did you mean trainer.max_epochs=3?"),
        (["model=mlp"], "change single values, not a whole group"),
        (["debug=limit"], "change single values, not a whole group"),
        (["+experiment=mnist_cnn"], "nothing reads this key"),
        (["optimizer@x=sgd"], "change single values, not a whole group"),
        (["seed=1,2"], "a run that is there takes one"),
        (["~model.widht"], "model.widht: no such key"),
        (["~seed=77"], "its value is 1"),
        (["+foo=1"], "nothing reads this key"),
        (["trainer.max_epochs=0"], "must be a whole number"),
        (["nonsense"], "write key=value"),
        (["name=a(b"], "can't be read"),
        (["hydra.run.dir=elsewhere"], "in its own directory"),
        (["lr=1", "seed=1,2", "a(=b"], "a run that is there takes one"),
    ],
    ids=str,
)
def test_a_mistake_beside_a_resumed_run_is_told_before_hydra_is_asked(
    train_tiny: Train, typed: list[str], word: str
) -> None:
    directory = train_tiny("trainer.max_epochs=1")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as caught:
        resumed_run([f"resume={directory}", *typed], [])
    assert word in str(caught.value)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_a_resumed_run_is_changed_as_hydra_would_change_it(train_tiny: Train) -> None:
    directory = train_tiny("trainer.max_epochs=1", "scheduler=cosine")
    typed = ["scheduler=none", "callbacks=null", "~logger.tensorboard", "+logger.csv={flush: 3}", "tags=[a,'b c']"]
    typed += ["trainer.max_time={hours: 2}", "note='${name}'", "++model.more.deep=1"]
    resumed = resumed_run([f"resume={directory}", *typed], [])
    assert resumed is not None
    cfg = resumed.cfg
    assert cfg.scheduler is None
    assert cfg.callbacks is None
    assert cfg.logger == {"csv": {"flush": 3}}
    assert (cfg.tags, cfg.trainer.max_time, cfg.note) == (["a", "b c"], {"hours": 2}, None)
    assert cfg.model.more == {"deep": 1}


def test_a_saved_config_is_shown_and_planned_without_torch(
    train_tiny: Train, empty: Path, tiny_arguments: list[str]
) -> None:
    run = as_typed(train_tiny("model=mlp"))
    shown = light(empty, f"resume={run}", "--cfg", "job", "seed=7")
    assert shown.returncode == 0, shown.stderr
    assert "seed: 7\n" in shown.stdout
    assert "_target_: strobe.models.mlp.MLP" in shown.stdout
    part = light(empty, tiny_arguments[0], "--cfg=job", "--package=model", f"resume={run}")
    assert part.stdout.startswith("_target_: strobe.models.mlp.MLP")


@pytest.mark.parametrize("flag", ["--experimental-rerun=x.pickle", "--experimental-rerun", "--exp", "--e=x"])
def test_a_pickled_config_is_not_loaded(empty: Path, flag: str) -> None:
    done = light(empty, flag, "x.pickle")
    assert done.returncode == 2
    assert "a pickled config may run anything" in done.stderr


def test_resume_is_typed_and_not_read_from_a_file(command: Command, tiny_arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "on.yaml").write_text("# @package _global_\nresume: outputs/some/run\n")
    done = command("train", f"--config-dir={tmp_path}", "experiment=on")
    assert (done.returncode, done.stdout) == (2, "")
    assert "it has to be typed" in done.stderr
    assert list((tmp_path / "cwd").iterdir()) == []


def test_what_is_trusted_is_taken_out_of_a_command() -> None:
    assert without_trust(["--trust", "a", "seed=1", "--trust=b.c"]) == (["seed=1"], ["a", "b.c"])
    for typed in (["--trust"], ["--trust="]):
        with pytest.raises(ConfigError, match="name a package"):
            without_trust(typed)
    with pytest.raises(ConfigError, match="a new run may name anything"):
        resumed_run(["seed=1"], ["a"])


def test_every_job_of_a_sweep_has_a_directory_of_its_own(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    sweep = ["-m", *tiny_arguments, "optimizer.lr=1e-2,1e-3", "hydra/launcher=basic", "hydra/sweeper=basic"]
    done = command("train", *sweep)
    assert done.returncode == 0, done.stderr
    outputs = tmp_path / "cwd" / "outputs"
    jobs = sorted(path.parent for path in outputs.glob("sweeps/*/*/report.json"))
    assert [report(job)["status"] for job in jobs] == ["completed", "completed"]
    assert ["optimizer.lr=0.01" in report(job)["overrides"] for job in jobs] == [True, False]
    assert len({report(job)["config_hash"] for job in jobs}) == 2
    assert not (outputs / "train").exists()


def test_two_commands_at_one_instant_never_share_a_directory(tiny_arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.train", *tiny_arguments, "hydra.run.dir=same"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2]
    assert "already holds a run" in errors[codes.index(2)]
    assert report(tmp_path / "same")["pid"] == processes[codes.index(0)].pid


def test_a_model_and_an_experiment_of_ones_own_need_one_class_and_one_file_each(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "my_models.py").write_text(
        """
import math
from torch import nn

class Wide(nn.Sequential):
    def __init__(self, *, in_shape, num_classes, width: int = 8):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(in_shape), width), nn.Tanh(), nn.Linear(width, num_classes))
"""
    )
    conf = tmp_path / "my_conf"
    (conf / "model").mkdir(parents=True)
    (conf / "experiment").mkdir()
    (conf / "data").mkdir()
    (conf / "model" / "wide.yaml").write_text("_target_: my_models.Wide\nwidth: 16\n")
    (conf / "data" / "tiny.yaml").write_text((TEST_CONF / "data" / "tiny.yaml").read_text())
    (conf / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: wide\noptimizer:\n  lr: 0.01\n"
    )
    arguments = [f"--config-dir={conf}", *tiny_arguments[1:], "experiment=mine", "hydra.run.dir=run"]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = command("train", *arguments, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "Wide on TinyDigits" in done.stdout
    found = report(tmp_path / "cwd" / "run")
    assert found["parameters"] == 784 * 16 + 16 + 16 * 10 + 10
    wrong = command("train", *arguments[:-1], "model.widht=3", PYTHONPATH=path)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines() == ["model.widht: no such key; did you mean model.width=3?"]


def test_a_plan_is_made_and_nothing_is_done(command: Command, tiny_arguments: list[str], tmp_path: Path) -> None:
    single = command("train", *tiny_arguments, "validate=only", "data.val_size=128", "data.batch_size=100")
    assert single.returncode == 0, single.stderr
    assert single.stdout.split() == ["jobs", "1", "architectures", "1", "optimizer", "steps", "12"]
    sweep = command("train", "-m", *tiny_arguments, "validate=only", "model=simple_nn,mlp", "seed=1,2,3")
    assert sweep.returncode == 0, sweep.stderr
    assert sweep.stdout.splitlines()[:2] == ["jobs             6", "architectures    2"]
    wrong = command("train", "-m", *tiny_arguments, "validate=only", "model=mlp", "model.norm=batch,bach")
    assert wrong.returncode == 2
    assert "model.norm='bach'" in wrong.stderr
    assert not (tmp_path / "cwd" / "outputs").exists()


def test_a_run_and_its_report_are_readable_in_a_locale_without_unicode(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}
    done = command("train", *tiny_arguments, "trainer.max_epochs=1", f"hydra.run.dir={run}", **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "test accuracy" in done.stdout
    compared = command("report", str(run), **plain)
    assert compared.returncode == 0, compared.stderr
    assert " · " in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("+optimzer.lr=0.1", ["nothing reads this key", "did you mean optimizer.lr?"]),
        ("++foo=1", ["nothing reads this key", "there are: seed, name"]),
        ("+epochs=10", ["nothing reads this key", "did you mean trainer.max_epochs?"]),
        ("+modell=mlp", ["nothing reads this key", "did you mean model?"]),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_a_plus_too(empty: Path, typed: str, words: list[str]) -> None:
    done = light(empty, typed)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert list(empty.iterdir()) == []


def test_the_top_of_a_config_is_what_the_rules_say(compose_config: Compose) -> None:
    assert {str(key) for key in compose_config()} | {"hydra"} == set(TOP_LEVEL)


def test_what_is_added_and_read_passes() -> None:
    typed = [
        "+width=64",
        "model.hidden=[${width}]",
        "+callbacks.x={}",
        "+own=small",
        "+optimizer.momentum=0.9",
        "seed=1",
    ]
    choices = {"own": "small", "hydra/launcher": "local"}
    hydra = OmegaConf.create({"overrides": {"task": typed}, "runtime": {"choices": choices}})
    assert idle_additions(hydra) == []
    hydra.overrides.task[0] = "+wdith=64"
    assert len(idle_additions(hydra)) == 1


def test_the_path_of_configs_is_relative_to_where_a_person_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path.resolve())
    assert with_absolute_path(["--config-path=conf", "seed=1"]) == [f"--config-path={here}/conf", "seed=1"]
    assert with_absolute_path(["-cp", "../conf"]) == ["-cp", str(tmp_path.parent.resolve() / "conf")]
    assert with_absolute_path(["-cp"]) == ["-cp"]
    assert with_absolute_path(["--config-dir=conf", "-m"]) == ["--config-dir=conf", "-m"]


def test_a_search_is_checked_and_nothing_is_begun(command: Command, tiny_arguments: list[str], tmp_path: Path) -> None:
    done = command("train", *tiny_arguments, "sweep=optuna", "validate=only")
    assert done.returncode == 0, done.stderr
    assert "optimizer steps" in done.stdout
    assert not (tmp_path / "outputs").exists()
