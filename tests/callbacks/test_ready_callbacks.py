"""The callbacks that have a word of their own do what they say, alone, together and in a run that is resumed."""

import math
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from strobe.callbacks.averaging import CURRENT, ExponentialAverage
from strobe.errors import ConfigError, PreemptedError
from strobe.record.checkpoints import load_checkpoint
from strobe.run.evaluation import evaluate
from strobe.run.story import train
from tests.conftest import Train, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, rows, weights

CLASSES = "lightning.pytorch.callbacks"

AVERAGES = {
    "ema": ("callbacks=ema", "callbacks.ema.decay=0.9"),
    "swa": ("callbacks=swa", "callbacks.swa.start=0.4"),
    "both": ("callbacks=[early_stopping,ema,lr_monitor]", "callbacks.early_stopping.patience=3"),
}


def current(run: Path, name: str = "last.ckpt") -> dict[str, Tensor]:
    """The weights that training goes on with."""
    found: dict[str, Tensor] = load_checkpoint(run / "checkpoints" / name)[CURRENT]
    return found


@pytest.mark.parametrize("kind", AVERAGES)
@pytest.mark.parametrize("step", [3, 29, 40])
def test_a_run_with_ready_callbacks_goes_on_as_if_it_had_not_been_stopped(
    train_tiny: Train, tmp_path: Path, kind: str, step: int
) -> None:
    settings = (*AVERAGES[kind], "model=cnn", "model.widths=[4,4]", "trainer.max_epochs=4", "data.val_size=100")
    whole, part = train_tiny(*settings), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*settings, *stopping(signal.SIGTERM, step=step), directory=part)
    train_tiny(*settings, f"resume={part}", directory=part)
    for name in ("last.ckpt", "best.ckpt"):
        assert equal(weights(whole, name), weights(part, name))
    assert equal(current(whole), current(part))
    assert rows(whole) == rows(part)
    assert report(whole)["metrics"] == report(part)["metrics"]


class Collect(Callback):
    """Collects the net's first weights after each step, and what validation sees of them."""

    def __init__(self, steps: list[Tensor], validated: list[Tensor]) -> None:
        self.steps, self.validated = steps, validated

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.steps.append(next(pl_module.parameters()).detach().clone())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.steps.append(next(pl_module.parameters()).detach().clone())

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.validated.append(next(pl_module.parameters()).detach().clone())


@pytest.fixture
def collected(compose_config: Callable[..., DictConfig], tiny_root: Path, tmp_path: Path) -> Any:
    def run(*settings: str) -> tuple[Path, list[Tensor], list[Tensor]]:
        steps: list[Tensor] = []
        validated: list[Tensor] = []
        cfg = compose_config("data=tiny", f"data.root={tiny_root}", "trainer=cpu", "data.val_size=100", *settings)
        train(cfg, tmp_path / "run", callbacks=[lambda: Collect(steps, validated)])
        return tmp_path / "run", steps, validated

    return run


def test_ema_is_what_it_says_and_what_is_validated_and_kept(collected: Any) -> None:
    run, steps, validated = collected("callbacks=ema", "callbacks.ema.decay=0.95", "trainer.max_epochs=2")
    average = steps[0].double()
    for step, weight in enumerate(steps[1:]):
        decay = min(0.95, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight.double()
    assert torch.allclose(validated[-1].double(), average, atol=1e-6)
    assert not torch.equal(validated[-1], steps[-1])
    (name,) = [key for key, value in weights(run).items() if value.shape == average.shape]
    assert torch.equal(weights(run)[name], validated[-1])
    assert torch.equal(current(run)[name], steps[-1])


def test_swa_is_the_mean_of_the_last_epochs(collected: Any) -> None:
    run, steps, validated = collected("callbacks=swa", "callbacks.swa.start=0.5", "trainer.max_epochs=4")
    per_epoch = (len(steps) - 1) // 4
    ends = steps[per_epoch::per_epoch]
    assert torch.equal(validated[1], ends[1])
    assert torch.allclose(validated[-1], (ends[2] + ends[3]) / 2, atol=1e-7)
    assert any(torch.equal(value, validated[-1]) for value in weights(run).values())


def test_an_average_of_weights_in_16_bits_follows_them_and_goes_on_exactly(
    collected: Any, train_tiny: Train, tmp_path: Path
) -> None:
    half = ("callbacks=ema", "callbacks.ema.decay=0.95", "trainer.max_epochs=2", "trainer.precision=bf16-true")
    run, steps, _ = collected(*half)
    average = steps[0].double()
    for step, weight in enumerate(steps[1:]):
        decay = min(0.95, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight.double()
    (name,) = [key for key, value in weights(run).items() if value.shape == average.shape]
    assert current(run)[name].dtype == torch.bfloat16
    assert torch.allclose(weights(run)[name].double(), average, atol=1e-6)
    whole, part = train_tiny(*half), tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*half, *stopping(signal.SIGTERM, step=5), directory=part)
    train_tiny(*half, f"resume={part}", directory=part)
    assert equal(weights(whole), weights(part))
    assert equal(current(whole), current(part))
    assert evaluate(whole)["test/acc"] == report(whole)["metrics"]["test/acc"]


def test_swa_takes_in_the_last_step_of_a_training_that_ends_within_an_epoch(collected: Any) -> None:
    run, steps, validated = collected("callbacks=swa", "trainer.max_epochs=-1", "trainer.max_steps=5")
    assert torch.equal(validated[-1], steps[-1])
    assert CURRENT in load_checkpoint(run / "checkpoints" / "last.ckpt")


def test_swa_says_that_it_has_averaged_nothing(train_tiny: Train, caplog: pytest.LogCaptureFixture) -> None:
    train_tiny("callbacks=[swa,early_stopping]", "+callbacks.early_stopping.stopping_threshold=0")
    assert "EqualAverage has averaged nothing" in caplog.text


def test_an_average_costs_no_look_at_the_whole_module_in_each_step(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    whole = LightningModule.state_dict
    monkeypatch.setattr(LightningModule, "state_dict", lambda *args, **kw: looked.append(args) or whole(*args, **kw))
    counts = []
    for batches in (2, 6):
        train_tiny("callbacks=ema", f"trainer.limit_train_batches={batches}")
        counts.append(len(looked))
        looked.clear()
    assert counts[0] == counts[1]


def test_buffers_are_averaged_whatever_they_are_and_also_where_they_are_replaced() -> None:
    class Buffers(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(2))
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
            self.register_buffer("mean", torch.zeros(2, 3, dtype=torch.float64))
            self.register_buffer("scale", torch.zeros(()))
            self.register_buffer("count", torch.tensor(0))

    module, average = Buffers(), ExponentialAverage(decay=0.5)
    average.on_train_start(SimpleNamespace(global_step=0), module)  # type: ignore[arg-type]
    for step in (1, 2):
        module.mean, module.scale, module.count = module.mean + 1, module.scale + 1, module.count + 1
        average.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, 0)  # type: ignore[arg-type]
    share = 1 - (1 + 1) / (10 + 1)
    average.on_train_end(SimpleNamespace(), module)  # type: ignore[arg-type]
    assert module.mask.tolist() == [0, -math.inf]
    assert torch.allclose(module.mean, torch.full((2, 3), 1 + share).double())
    assert module.scale.item() == pytest.approx(1 + share)
    assert module.count.item() == 2


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_what_is_tested_is_the_average_that_best_ckpt_holds(train_tiny: Train, kind: str) -> None:
    run = train_tiny(*AVERAGES[kind], "monitor.metric=null")
    assert not equal(weights(run, "best.ckpt"), current(run, "best.ckpt"))
    found = report(run)["metrics"]
    assert evaluate(run) == {name: value for name, value in found.items() if name.startswith("test/")}
    without = report(train_tiny(*AVERAGES[kind], "monitor.metric=null", "trainer.enable_checkpointing=false"))
    assert without["metrics"] == found


def test_averages_hold_for_gathered_batches_and_for_tasks_that_optimize_by_hand(train_tiny: Train) -> None:
    assert report(train_tiny(*AVERAGES["ema"], "trainer.accumulate_grad_batches=3"))["metrics"]["test/acc"] > 0.5
    gan = train_tiny(*AVERAGES["ema"], "task=gan", "trainer.limit_train_batches=4")
    assert not equal(weights(gan), current(gan))


def test_a_run_that_averages_is_not_resumed_without(train_tiny: Train) -> None:
    run = train_tiny(*AVERAGES["ema"])
    with pytest.raises(ConfigError, match=r"averages its weights.*leave callbacks as they were"):
        train_tiny("trainer.max_epochs=3", f"resume={run}", directory=run)


def test_a_run_goes_on_with_an_average_of_lightning(train_tiny: Train) -> None:
    theirs = f"+callbacks.x._target_={CLASSES}.EMAWeightAveraging"
    run = train_tiny(theirs)
    with pytest.raises(ConfigError, match=r"leave callbacks as they were"):
        train_tiny("callbacks=ema", "trainer.max_epochs=3", f"resume={run}", directory=run)
    train_tiny(theirs, "trainer.max_epochs=3", f"resume={run}", directory=run)
    assert len(rows(run)) == 3


@pytest.mark.parametrize(("kind", "other"), [("ema", "callbacks=swa"), ("swa", "callbacks=ema")])
def test_a_run_that_averages_is_not_resumed_with_another_average(train_tiny: Train, kind: str, other: str) -> None:
    run = train_tiny(*AVERAGES[kind])
    with pytest.raises(ConfigError, match=r"averages its weights.*leave callbacks as they were"):
        train_tiny(other, "trainer.max_epochs=3", f"resume={run}", directory=run)


def test_every_option_of_callbacks_can_stand_beside_the_others(compose_config: Callable[..., DictConfig]) -> None:
    names = ["early_stopping", "ema", "swa", "lr_monitor"]
    together = compose_config(f"callbacks=[{','.join(names)}]").callbacks
    assert list(together) == ["progress", *names]
    shipped = compose_config().callbacks.progress
    assert all(OmegaConf.to_yaml(compose_config(f"callbacks={name}").callbacks.progress) for name in names)
    assert all(compose_config(f"callbacks={name}").callbacks.progress == shipped for name in names)


GAN = ("task=gan", "monitor.metric=val/frechet_pixels", "monitor.mode=min")
F1 = (
    "callbacks=early_stopping",
    "+metrics.f1._target_=torchmetrics.classification.MulticlassF1Score",
    "+metrics.f1.num_classes=10",
)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["callbacks=early_stopping", "monitor.metric=null"],
            r"give monitor\.metric=<name>, or callbacks\.early_stopping",
        ),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/loss"], r"stopping\.mode=max: .*mode=min"),
        (
            [*F1, "callbacks.early_stopping.monitor=val/f1", "monitor.metric=val/loss", "monitor.mode=min"],
            r"add .*mode=max",
        ),
        (
            [f"+callbacks.x={{_target_: {CLASSES}.ModelCheckpoint, monitor: val/acc}}"],
            r"callbacks\.x\.mode=min: .* maximum",
        ),
        (
            [*GAN, "callbacks=early_stopping", "callbacks.early_stopping.monitor=val/loss"],
            r"for example callbacks\.early_stopping\.monitor=val/frechet_pixels callbacks\.early_stopping\.mode=min",
        ),
        (["callbacks=[ema,swa]"], r"callbacks\.ema, callbacks\.swa: one alone .* callbacks\.swa=null"),
        (
            ["callbacks=ema", f"+callbacks.x={{_target_: {CLASSES}.EMAWeightAveraging}}"],
            r"callbacks\.ema, callbacks\.x",
        ),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/f1"], r"must be val/loss, val/acc"),
        (["callbacks=early_stopping", "data.val_size=0"], r"must be train/loss, train/acc \(nothing is validated\)"),
        (["callbacks=lr_monitor", "logger=none"], r"callbacks\.lr_monitor: .* add logger=csv"),
        ([f"+callbacks.x._target_={CLASSES}.DeviceStatsMonitor", "logger=none"], r"callbacks\.x: .* add logger=csv"),
        ([f"+callbacks.x._target_={CLASSES}.LearningRateFinder"], r"debug=lr_find"),
        ([f"+callbacks.x._target_={CLASSES}.BatchSizeFinder"], r"data\.batch_size=64,128"),
        (["callbacks=ema", "callbacks.ema.decay=1"], r"callbacks\.ema: decay=1: must be"),
        (["callbacks=swa", "callbacks.swa.start=1.5"], r"callbacks\.swa: start=1\.5: must be"),
        (["callbacks=swa", "trainer.max_epochs=-1", "trainer.max_time=00:00:01:00"], r"give trainer\.max_epochs"),
    ],
)
def test_a_callback_that_can_do_nothing_is_refused_before_training(
    train_tiny: Train, tmp_path: Path, settings: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        train_tiny(*settings, directory=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_what_a_module_of_ones_own_does_not_log_is_said_in_a_line(train_own: Train) -> None:
    stop = f"+callbacks.stop={{_target_: {CLASSES}.EarlyStopping, monitor: val_f1}}"
    with pytest.raises(ConfigError, match=r"watches 'val_f1'.*there is: .*val_loss"):
        train_own("Own", stop, "monitor.metric=val_loss", "monitor.mode=min")


def test_a_metric_that_is_monitored_is_stopped_by_the_same_way(train_own: Train) -> None:
    stop = f"+callbacks.stop={{_target_: {CLASSES}.EarlyStopping, monitor: val_loss, mode: max}}"
    with pytest.raises(ConfigError, match=r"callbacks\.stop\.mode=max: the best val_loss is its minimum"):
        train_own("Own", stop, "monitor.metric=val_loss", "monitor.mode=min")


def test_device_stats_and_rates_are_logged(train_tiny: Train) -> None:
    run = train_tiny("callbacks=lr_monitor", f"+callbacks.x._target_={CLASSES}.DeviceStatsMonitor", "logger=csv")
    (table,) = run.glob("csv/metrics.csv")
    header = table.read_text().splitlines()[0]
    assert "lr-Adam" in header
    assert "DeviceStatsMonitor" in header
