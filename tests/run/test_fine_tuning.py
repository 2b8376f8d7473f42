"""Weights of another run, of a file, of torchvision; what is frozen, and rates by patterns of names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from strobe.errors import ConfigError
from strobe.run.evaluation import evaluate
from strobe.run.export import export
from strobe.run.prediction import predict
from strobe.run.saved import saved_net
from tests.conftest import Train, report
from tests.run.test_train import equal, weights

SMALL = ("model=mlp", "model.hidden=[16]")
STILL = ("optimizer=sgd", "optimizer.lr=1e-30", "trainer.max_epochs=1", "seed=7")
SQUEEZENET = ("model=torchvision", "model.name=squeezenet1_1", "model.size=32", "data.batch_size=32")


def test_a_run_begins_from_the_weights_of_another(train_tiny: Train, tmp_path: Path) -> None:
    source = train_tiny(*SMALL)
    for place in (source, source / "checkpoints" / "best.ckpt"):
        assert equal(
            weights(train_tiny(*SMALL, *STILL, f"init_from={place}"), "last.ckpt"), weights(source, "best.ckpt")
        )
    torch.save(
        {key.removeprefix("net."): value for key, value in weights(source, "best.ckpt").items()}, tmp_path / "w.pt"
    )
    fresh = train_tiny(*SMALL, *STILL, f"init_from={tmp_path / 'w.pt'}")
    (tmp_path / "w.pt").unlink()
    assert equal(weights(fresh, "last.ckpt"), weights(source, "best.ckpt"))
    assert evaluate(fresh) == {name: value for name, value in report(fresh)["metrics"].items() if "test/" in name}
    train_tiny(*SMALL, *STILL, f"resume={fresh}", "trainer.max_epochs=2", directory=fresh)  # the file is not needed


def test_what_does_not_fit_is_listed_and_left_out_on_request(
    train_tiny: Train, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = train_tiny(*SMALL)
    other = ("model=mlp", "model.hidden=[16,8]")
    with pytest.raises(ConfigError, match=r"init_from: .*does not fit the model: .*init_strict=false"):
        train_tiny(*other, f"init_from={source}")
    fresh = train_tiny(*other, *STILL, f"init_from={source}", "init_strict=false")
    kept = [key for key, value in weights(source, "best.ckpt").items() if key.endswith("1.weight")]
    assert torch.equal(weights(fresh, "last.ckpt")[kept[0]], weights(source, "best.ckpt")[kept[0]])
    assert "Begins with 2 weights" in caplog.text


def test_parameters_have_rates_by_their_names_or_are_frozen(train_tiny: Train) -> None:
    source = train_tiny(*SMALL)
    groups = "optimizer.groups=[{match: '1.*', freeze: true}, {match: '*.bias', lr: 0.5, weight_decay: 0.0}]"
    fresh = train_tiny(*SMALL, f"init_from={source}", groups, "trainer.max_epochs=1", "seed=7")
    before, after = weights(source, "best.ckpt"), weights(fresh, "last.ckpt")
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {key for key in before if not key.startswith("net.1.")}
    (state,) = torch.load(fresh / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert [group["lr"] for group in state["param_groups"]] == [0.001, 0.5]
    with pytest.raises(ConfigError, match="matches no parameter"):
        train_tiny(*SMALL, "optimizer.groups=[{match: 'layer9.*', freeze: true}]")
    with pytest.raises(ConfigError, match=r"optimizer\.groups\[0\]"):
        train_tiny(*SMALL, "optimizer.groups=[{match: '*', rate: 1}]")


@pytest.mark.parametrize("schedule", ["onecycle", "warmup_cosine", "step"])
def test_a_schedule_keeps_the_proportion_of_the_groups_rates(train_tiny: Train, schedule: str) -> None:
    groups = "optimizer.groups=[{match: '*.bias', lr_factor: 0.1}]"
    run = train_tiny(*SMALL, groups, f"scheduler={schedule}", "trainer.max_epochs=1")
    (state,) = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    first, second = (group["lr"] for group in state["param_groups"])
    assert second == pytest.approx(0.1 * first, rel=1e-6)


def test_a_net_of_torchvision_is_tuned_and_needs_its_file_no_more(train_tiny: Train, tmp_path: Path) -> None:
    file = tmp_path / "squeezenet.pt"
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1().state_dict(), file)
    chosen = (*SQUEEZENET, f"model.weights={file}", "model.freeze=true", "trainer.limit_train_batches=2")
    run = train_tiny(*chosen)
    published = torch.load(file, weights_only=True)
    trained = weights(run, "last.ckpt")
    assert torch.equal(trained["net.body.features.0.weight"], published["features.0.weight"])
    assert trained["net.body.classifier.1.weight"].shape[0] == 10
    shutil.move(file, tmp_path / "elsewhere.pt")
    net = saved_net(run)
    assert net.shape == (3, 32, 32)
    picture = tmp_path / "p.png"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(picture)
    assert len(predict(net, [picture]).pictures) == 1
    difference = export(net, "torch_export", tmp_path / "net.pt2").difference
    assert difference is not None
    assert difference < 1e-4
    assert evaluate(run) == {name: value for name, value in report(run)["metrics"].items() if "test/" in name}
    train_tiny(*chosen, f"resume={run}", "trainer.max_epochs=3", directory=run)
