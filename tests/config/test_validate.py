"""A wrong config is refused before anything is built, in words that help, and nothing that it names is ever called."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from strobe.config.checks import problems_with_libraries
from strobe.config.tasks import undirected
from strobe.config.values import objective, problems
from strobe.errors import ConfigError
from tests.conftest import Command, Compose, Train

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def found_in(compose_config: Compose, *overrides: str) -> list[str]:
    """What is wrong with a config, as `src.train` finds it: values first, then targets, arguments and the machine."""
    cfg = compose_config(*overrides)
    return problems(cfg) or problems_with_libraries(cfg)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `trap` whose callables leave this file behind when they are called; importing it leaves nothing."""
    mark = tmp_path / "called"
    (tmp_path / "trap.py").write_text(
        f"""
from pathlib import Path

def function(*args, **kwargs):
    Path({str(mark)!r}).touch()
    return 0.9

a_lambda = lambda *args, **kwargs: function()

class NoModule:
    def __init__(self, *args, **kwargs):
        function()

class Augmentation:
    def __init__(self):
        function()

    def __call__(self, images):
        return images
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("trap", None)


WRONG_VALUES = [
    # override, key, what is allowed, an override that is right
    ("trainer.max_epochs=abc", "a whole number of at least 1", "trainer.max_epochs=5"),
    ("trainer.max_epochs=0", "a whole number of at least 1", "trainer.max_epochs=5"),
    ("trainer.max_epochs=-3", "a whole number of at least 1", "trainer.max_epochs=5"),
    ("trainer.max_epochs=1.5", "a whole number", "trainer.max_epochs=5"),
    ("trainer.max_epochs=true", "a whole number", "trainer.max_epochs=5"),
    ("trainer.max_epochs=", "a whole number", "trainer.max_epochs=5"),
    ("trainer.limit_train_batches=0", "at least 1", "trainer.limit_train_batches=1.0"),
    ("trainer.limit_train_batches=0.0", "a share above 0", "trainer.limit_train_batches=1.0"),
    ("trainer.limit_val_batches=1.5", "up to 1.0", "trainer.limit_val_batches=1.0"),
    ("trainer.accumulate_grad_batches=0", "at least 1", "trainer.accumulate_grad_batches=1"),
    ("trainer.gradient_clip_val=0", "above 0", "trainer.gradient_clip_val=1.0"),
    ("trainer.enable_checkpointing=yes", "true, false", "trainer.enable_checkpointing=true"),
    ("optimizer.lr=-1e-3", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=0", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=nan", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=inf", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=fast", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=null", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.lr=true", "a number above 0", "optimizer.lr=0.001"),
    ("optimizer.weight_decay=-0.1", "at least 0", "optimizer.weight_decay=0.01"),
    ("data.batch_size=0", "at least 1", "data.batch_size=64"),
    ("data.batch_size=true", "a whole number", "data.batch_size=64"),
    ("data.batch_size=null", "a whole number", "data.batch_size=64"),
    ("data.val_size=-1", "at least 0", "data.val_size=5000"),
    ("data.loader=disk", "memory, torch", "data.loader=memory"),
    ("data.root=", "a text or null", "data.root="),
    ("seed=-1", "a whole number from 0", "seed=1"),
    ("seed=4294967296", "a whole number from 0", "seed=1"),
    ("test=maybe", "true, false", "test=true"),
    ("test=1", "true, false", "test=true"),
    ("compile=0", "false, true", "compile=false"),
    ("monitor.metric=val/f1", "val/loss, val/acc, train/loss, train/acc", "monitor.metric=val/acc"),
    ("monitor.metric=test/acc", "val/loss, val/acc, train/loss, train/acc", "monitor.metric=val/acc"),
    ("monitor.mode=best", "max, min", "monitor.mode=max"),
    ("objective=speed", "test/acc", "objective="),
    ("trainer.logger=true", "null", "logger=<option>"),
]


@pytest.mark.parametrize(("override", "allowed", "advice"), WRONG_VALUES, ids=[case[0] for case in WRONG_VALUES])
def test_a_wrong_value_is_named_with_what_is_allowed_and_an_override_that_is_right(
    compose_config: Compose, override: str, allowed: str, advice: str
) -> None:
    (line,) = problems(compose_config(override))
    key, _, value = override.partition("=")
    assert line.startswith(f"{key}=")
    assert str(float(value) if value == "-1e-3" else value) in line.partition(":")[0]
    assert allowed in line.partition(":")[2]
    assert advice in line.partition(":")[2]


@pytest.mark.parametrize(
    "name",
    [
        *("../up", "..", ".", "a/../../b", "/up", "a//b", "a/", "/", "a/.", "~/../..", "...", "a/..", " ", " a", "a "),
        *("a\nb", "a\x1b[2J", "a\rb", "a\u202eb", "a\x00b", "a\\b", "a\x9bb"),
        *("x" * 201, "x" * 300, "é" * 101, "/".join(["x" * 150] * 5)),
    ],
    ids=ascii,
)
def test_a_sweep_that_would_lie_elsewhere_is_refused(compose_config: Compose, name: str) -> None:
    cfg = compose_config()
    cfg.sweep.name = name
    (line,) = problems(cfg)
    assert line.startswith(f"sweep.name={name!r}: must be the name of a directory")
    assert line.isprintable()


@pytest.mark.parametrize(
    "name", ["first", "2026-11-26_10:00", "a/b", "größe", "漢字", "x" * 200, ".hidden", "a..b", "it's"]
)
def test_a_sweep_may_have_any_other_name(compose_config: Compose, name: str) -> None:
    cfg = compose_config()
    cfg.sweep.name = name
    assert problems(cfg) == []


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 201, "\u202e"], ids=ascii)
def test_a_label_that_can_not_be_printed_is_refused(compose_config: Compose, name: str) -> None:
    cfg = compose_config()
    cfg.name = name
    (line,) = problems(cfg)
    assert line.startswith(f"name={name!r}: must be a text of at most 200 characters")


@pytest.mark.parametrize("override", ["optimizer.eps=nan", "optimizer.eps=", "+model.label=", "tags=[a,'']"])
def test_nan_and_empty_values_are_refused_wherever_they_stand(compose_config: Compose, override: str) -> None:
    (line,) = problems(compose_config(override))
    assert line.startswith(override.lstrip("+").partition("=")[0])


def test_several_mistakes_are_all_reported_at_once(compose_config: Compose) -> None:
    lines = problems(compose_config("optimizer.lr=-1", "data.batch_size=0", "trainer.max_epochs=abc", "seed=x"))
    assert sorted(line.partition("=")[0] for line in lines) == [
        "data.batch_size",
        "optimizer.lr",
        "seed",
        "trainer.max_epochs",
    ]
    lines = problems_with_libraries(compose_config("model=mlp", "+model.widht=3", "model.norm=bach", "model.hidden=x"))
    assert sorted(line.partition(":")[0].partition("=")[0] for line in lines) == [
        "model.hidden",
        "model.norm",
        "model.widht",
    ]


@pytest.mark.parametrize("group", ["data", "trainer", "monitor"])
def test_what_every_run_reads_and_an_experiment_set_to_null_is_named(compose_config: Compose, group: str) -> None:
    cfg = compose_config()
    cfg[group] = None
    (line,) = problems(cfg)
    assert line.startswith((f"{group}: every run needs it", f"{group}=null: "))


@pytest.mark.parametrize("group", ["task", "data", "model", "scheduler", "callbacks", "metrics"])
@pytest.mark.parametrize("node", [[1, 2], 5, "x"])
def test_what_is_no_option_in_the_place_of_a_group_is_named(
    compose_config: Compose, group: str, node: list[int] | int | str
) -> None:
    cfg = compose_config()
    cfg[group] = node
    (line,) = problems(cfg)
    assert "is no option of this group" in line
    assert line.endswith(f"{group}=<option>")
    assert objective(cfg)[0] == "val/acc", "asked of a sweep before its jobs are looked through"
    cfg.monitor.metric = "val/f1"
    assert len(list(undirected(cfg, ["monitor.metric=val/f1"]))) <= 1


@pytest.mark.parametrize("group", ["scheduler", "trainer", "monitor"])
def test_a_group_that_is_an_interpolation_is_none_of_the_mistakes(compose_config: Compose, group: str) -> None:
    cfg = compose_config("data=table", "data.target=y", "+mine={}")
    with open_dict(cfg):
        cfg.mine[group] = cfg[group]
        cfg[group] = f"${{mine.{group}}}"
    lines = problems(cfg)
    assert any(line.startswith("data.path: has no value yet") for line in lines)
    assert not any("is no " in line for line in lines)


def test_a_value_left_open_is_named(compose_config: Compose) -> None:
    (line,) = problems(compose_config("optimizer.lr=???"))
    assert "optimizer.lr" in line
    assert "optimizer.lr=..." in line


def test_an_interpolation_that_leads_nowhere_is_named(compose_config: Compose) -> None:
    (line,) = problems(compose_config("name='${optimiser.lr}'"))
    assert line.startswith("name: ")
    assert "optimiser.lr" in line


WRONG_TOGETHER = [
    (["monitor.metric=val/loss"], "monitor.mode=min"),
    (["monitor.mode=min"], "monitor.mode=max"),
    (["scheduler=plateau", "data.val_size=0"], "data.val_size=5000"),
    # It ended the run after its first epoch: the metric is logged once the schedule has looked for it.
    (["scheduler=plateau", "monitor.metric=train/loss", "monitor.mode=min"], "monitor.metric=val/loss"),
    (["trainer.max_epochs=-1"], "trainer.max_steps=<n>"),
    (["trainer.max_epochs=-1", "trainer.max_time=00:01:00:00", "scheduler=onecycle"], "trainer.max_epochs"),
    (["test=false", "objective=test/acc"], "objective=val/acc"),
    (["data.num_workers=2"], "data.loader=torch"),
]


@pytest.mark.parametrize(("overrides", "advice"), WRONG_TOGETHER, ids=[" ".join(case[0]) for case in WRONG_TOGETHER])
def test_values_that_are_wrong_together_are_refused(compose_config: Compose, overrides: list[str], advice: str) -> None:
    (line,) = problems(compose_config(*overrides))
    assert advice in line


WRONG_ARGUMENTS = [
    ("model=mlp +model.droput=0.1", "model.droput", "model.dropout"),
    ("optimizer=sgd +optimizer.moment=0.9", "optimizer.moment", "optimizer.momentum"),
    ("optimizer=sgd +optimizer.betas=[0.9,0.99]", "optimizer.betas", "momentum"),
    ("model=mlp model.hidden=[64,big]", "model.hidden", "a list of whole numbers"),
    ("model=mlp model.activation=rleu", "model.activation='rleu'", "relu"),
    ("model=simple_nn model.hidden=true", "model.hidden=True", "a whole number"),
    ("optimizer=adam optimizer.betas=[0.9]", "optimizer.betas=[0.9]", "Adam takes a list of number"),
    ("data.augment=1", "data.augment", "true"),
    ("+data.colour=true", "data.colour", "takes no such argument"),
    ("trainer.precision=8", "trainer.precision=8", "32"),
    ("trainer.precision=16-mixd", "trainer.precision='16-mixd'", "16-mixed"),
    ("~loss._target_", "loss", "loss._target_=<module>.<Class>"),
    ("scheduler=step ~scheduler.step_size", "scheduler.step_size", "+scheduler.step_size=<value>"),
    ("data.val_size=60000", "data.val_size=60000", "59999"),
]


@pytest.mark.parametrize(
    ("overrides", "key", "advice"), WRONG_ARGUMENTS, ids=[case[0].replace(" ", "_") for case in WRONG_ARGUMENTS]
)
def test_a_wrong_argument_is_named_with_what_the_class_takes(
    compose_config: Compose, overrides: str, key: str, advice: str
) -> None:
    (line,) = found_in(compose_config, *overrides.split())
    assert line.startswith(key)
    assert advice in line.removeprefix(key)


NEGATIVE_OR_OUT_OF_RANGE = [
    "trainer.overfit_batches=-1",
    "trainer.val_check_interval=-1",
    "trainer.limit_predict_batches=-1",
    "trainer.max_time=soon",
    "optimizer.betas=[2.0,3.0]",
    "optimizer.eps=-1.0",
    "model=simple_nn model.hidden=-1",
    "model=lstm model.layers=0",
    "model=vit model.patch=5",
    "scheduler=step scheduler.step_size=0",
    "scheduler=warmup_cosine scheduler.warmup=2",
    "optimizer=adagrad scheduler=onecycle",
    "loss.label_smoothing=2.0",
    "data.augment=true data.augmentations.affine.zoom=3",
]


@pytest.mark.parametrize("overrides", NEGATIVE_OR_OUT_OF_RANGE)
def test_a_value_out_of_range_is_the_configs_fault_and_nothing_is_trained(train_tiny: Train, overrides: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train_tiny(*overrides.split())
    group = re.split(r"[.=]", overrides.split()[-1])[0]
    assert group in str(caught.value)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("trainer.accelerator=gpuu", "trainer.accelerator=gpu"),
        ("trainer.strategy=dpp", "trainer.strategy=ddp"),
        ("trainer.devices=0", "at least 1"),
        ("trainer.devices=-2", "at least 1"),
        ("trainer.devices=true", "a whole number"),
        ("trainer.devices=[]", "at least 1"),
        ("trainer.devices=many", "at least 1"),
        ("trainer.precision=16-true", "trainer.precision=bf16-mixed"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(compose_config: Compose, override: str, word: str) -> None:
    (line,) = found_in(compose_config, "trainer=cpu", override)
    assert line.startswith(override.partition("=")[0])
    assert word in line


@no_gpu
@pytest.mark.parametrize("override", ["trainer=gpu", "trainer.accelerator=cuda"])
def test_a_gpu_that_is_not_there_is_said_so(compose_config: Compose, override: str) -> None:
    (line,) = found_in(compose_config, override)
    assert "no GPU" in line
    assert "trainer=cpu" in line


@pytest.mark.gpu
def test_more_gpus_than_there_are_is_refused(compose_config: Compose) -> None:
    (line,) = found_in(compose_config, "trainer=gpu", f"trainer.devices={torch.cuda.device_count() + 1}")
    assert f"trainer.devices={torch.cuda.device_count()}" in line


def test_a_batch_of_one_image_and_batch_normalisation_is_explained(train_tiny: Train) -> None:
    with pytest.raises(ConfigError, match=r"batch of one example.*data\.batch_size"):
        train_tiny("model=mlp", "model.norm=batch", "data.batch_size=1")


@pytest.mark.parametrize("size", [1, 7, 539, 100_000])
def test_any_other_batch_size_trains(train_tiny: Train, size: int) -> None:
    train_tiny(f"data.batch_size={size}", "trainer.max_epochs=1", "trainer.limit_train_batches=20")


@pytest.mark.parametrize("overrides", ["trainer.limit_train_batches=0.001", "debug=limit data.batch_size=64"])
def test_a_share_of_no_batch_at_all_is_not_a_silent_success(train_tiny: Train, overrides: str) -> None:
    with pytest.raises(ConfigError, match="limit_train_batches"):
        train_tiny(*overrides.split())


NOT_OF_THEIR_KIND = [
    *(
        f"{node}._target_={target}"
        for node in ("data", "data.dataset", "model", "optimizer", "loss", "trainer", "callbacks.progress")
        for target in ("torch.load", "os.system", "trap.function")
    ),
    "model._target_=torch.hub.load",
    "model._target_=builtins.open",
    "model._target_=builtins.eval",
    "model._target_=trap.a_lambda",
    "model._target_=trap.NoModule",
    "model._target_=strobe.config.targets.resolve",
    "model._target_=lightning.pytorch.Trainer",
    "optimizer._target_=torch.nn.Linear",
    "logger.tensorboard._target_=trap.NoModule",
    "scheduler=cosine scheduler._target_=trap.function",
    "data.augmentations.affine._target_=trap.function",
    "data.augmentations.affine._target_=trap.NoModule",
    "data.augmentations.affine._target_=trap.Augmentation",
    "data.augment=true +data.augmentations.evil._target_=trap.function",
    "+callbacks.evil._target_=trap.function",
    "+logger.evil._target_=trap.function",
    "+trainer.plugins.evil._target_=trap.function",
    "trainer.plugins=[{_target_:trap.function}]",
    "+model.activation._target_=trap.function",
    "+model.activation.deeper._target_=trap.function",
    "model=mlp model.activation={_target_:trap.function}",
    "model=mlp model.hidden=[{_target_:trap.function}]",
    "optimizer.lr={_target_:trap.function}",
    "optimizer.betas=[{_target_:trap.function},0.9]",
    "optimizer.betas=[[{_target_:trap.function}],0.9]",
    "scheduler=step scheduler.gamma={_target_:trap.function}",
    "loss.class_weights=[{_target_:trap.function}]",
    "data.batch_size={_target_:trap.function}",
    "+data.dataset.files={_target_:trap.function}",
    "trainer.profiler={_target_:trap.function}",
    "trainer.devices=[{_target_:trap.function}]",
    "callbacks.progress.refresh_s={_target_:trap.function}",
    "+callbacks.evil={_target_:lightning.pytorch.callbacks.LambdaCallback,on_fit_start:{_target_:trap.function}}",
    "+callbacks.evil={_target_:lightning.pytorch.callbacks.GradientAccumulationScheduler,scheduling:[{_target_:trap.function}]}",
    "+callbacks.evil=[{_target_:trap.function}]",
    "+logger.evil=[{_target_:trap.function}]",
    "data.augment=true +data.augmentations.evil=[{_target_:trap.function}]",
    "+callbacks.evil=trap.function",
    "+model._args_=[{_target_:trap.function}]",
    "logger.tensorboard.version={_target_:trap.function}",
    "+logger.tensorboard.evil=[{_target_:trap.function}]",
]


@pytest.mark.parametrize("overrides", NOT_OF_THEIR_KIND)
def test_a_target_that_is_not_of_its_kind_is_refused_and_never_called(
    train_tiny: Train, trap: Path, overrides: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train_tiny("trainer.fast_dev_run=true", *overrides.split())
    assert overrides.split()[-1].lstrip("+").partition(".")[0].partition("=")[0] in str(caught.value)
    assert not trap.exists()


def test_a_target_that_does_not_exist_gets_the_nearest_name(compose_config: Compose) -> None:
    (line,) = found_in(compose_config, "optimizer._target_=torch.optim.Adan")
    assert "optimizer._target_='torch.optim.Adan'" in line
    assert "'Adam'" in line
    (line,) = found_in(compose_config, "model._target_=nowhere.Net")
    assert "there is no module 'nowhere'" in line


def test_a_module_of_ones_own_that_fails_to_import_says_why(
    compose_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_net.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = found_in(compose_config, "model._target_=broken_net.Net")
    assert "a_package_that_is_not_there" in line


def test_python_objects_in_yaml_are_refused_and_never_made(command: Command, tmp_path: Path) -> None:
    mark = tmp_path / "called"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "evil.yaml").write_text(f"x: !!python/object/apply:os.system ['touch {mark}']\n")
    done = command("train", f"--config-dir={tmp_path}", "model=evil")
    assert done.returncode == 2
    assert "python/object" in done.stderr
    assert "Traceback" not in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("overrides", ["", "trainer=cpu", "data=tiny", "name=x tags=[a] objective=test/acc"])
def test_the_shipped_defaults_have_no_problem(compose_config: Compose, overrides: str) -> None:
    assert found_in(compose_config, *overrides.split()) == []


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="deepspeed is installed")
@pytest.mark.parametrize("strategy", ["deepspeed", "deepspeed_stage_3"])
def test_a_strategy_whose_package_is_not_installed_says_so(compose_config: Compose, strategy: str) -> None:
    (found,) = problems_with_libraries(compose_config("trainer=ddp_cpu", f"trainer.strategy={strategy}"))
    assert "needs the package deepspeed" in found


@pytest.mark.parametrize("overrides", ["trainer.strategy=fsdp", "trainer.strategy=fsdp_cpu_offload trainer.devices=2"])
def test_a_strategy_for_gpus_is_refused_on_a_cpu(compose_config: Compose, overrides: str) -> None:
    (found,) = problems_with_libraries(compose_config("trainer=cpu", *overrides.split()))
    assert "needs GPUs; choose trainer=ddp_cpu" in found


def test_whole_matrices_and_shared_out_parameters_exclude_each_other(compose_config: Compose) -> None:
    found = problems_with_libraries(compose_config("trainer=cpu", "trainer.strategy=fsdp", "optimizer=muon"))
    assert any("optimizer=muon" in line and "choose optimizer=adamw" in line for line in found)


@no_gpu
@pytest.mark.parametrize("devices", ["-1", "[0,1]", "'0,1'"])
def test_devices_that_mean_nothing_on_a_cpu_are_explained(train_tiny: Train, devices: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices="):
        train_tiny(f"trainer.devices={devices}")


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook", "ddp_find_unused_parameters_true"])
def test_every_way_of_starting_ranks_is_accepted(compose_config: Compose, strategy: str) -> None:
    assert problems_with_libraries(compose_config("trainer=ddp_cpu", f"trainer.strategy={strategy}")) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer.min_epochs=9"], ["trainer.min_epochs=9", "trainer.max_epochs=5"]),
        (["trainer.min_steps=9", "trainer.max_steps=5"], ["trainer.min_steps=9", "at most 5"]),
        (["trainer.max_time=00:00:00:00"], ["trainer.max_time=00:00:00:00", "nothing would be trained"]),
        (["trainer.max_time={seconds: 0}"], ["nothing would be trained"]),
        (["trainer.max_time={seconds: null}"], ["must be <dd:hh:mm:ss>"]),
        (
            ["scheduler=plateau", "trainer.check_val_every_n_epoch=2"],
            ["scheduler=plateau", "check_val_every_n_epoch=1"],
        ),
        (["model=mlp", "model.hidden=[0]"], ["model.hidden=[0]", "at least 1"]),
        (["model=mlp", "model.hidden=[64,-1]"], ["model.hidden", "at least 1"]),
        (["model=cnn", "model.widths=[8,0]"], ["model.widths", "at least 1"]),
        (["model=cnn", "model.convs_per_stage=0"], ["model.convs_per_stage=0", "at least 1"]),
        (["model=lstm", "model.layers=0"], ["model.layers=0", "at least 1"]),
        (["model=lstm", "model.hidden=0"], ["model.hidden=0", "at least 1"]),
        (["model=vit", "model.heads=0"], ["model.heads=0", "at least 1"]),
    ],
    ids=str,
)
def test_what_would_train_nothing_or_contradicts_itself_is_refused(
    compose_config: Compose, overrides: list[str], words: list[str]
) -> None:
    (line,) = problems(compose_config(*overrides))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.max_time=00:00:00:01"],
        ["trainer.min_epochs=5"],
        ["trainer.min_epochs=7", "trainer.max_epochs=-1", "trainer.max_steps=10"],
        ["model=mlp", "model.hidden=[]"],
    ],
    ids=str,
)
def test_what_is_unusual_and_makes_sense_passes(compose_config: Compose, overrides: list[str]) -> None:
    assert problems(compose_config(*overrides)) == []


def test_weights_that_the_run_would_fetch_are_no_mistake(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing has been fetched yet
    assert problems_with_libraries(compose_config("model=torchvision", "model.weights=DEFAULT")) == []
