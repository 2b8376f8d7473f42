"""What a person finds in TensorBoard."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from strobe.callbacks import tensorboard
from strobe.callbacks.tensorboard_images import Outcomes, first_batch
from strobe.callbacks.tensorboard_logger import TensorBoard
from strobe.errors import ConfigError, PreemptedError
from tests.conftest import Command, Train, report


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def settings_shown(directory: Path) -> Any:
    content = events(directory).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    return HParamsPluginData.FromString(content).session_start_info.hparams


def shape_of(found: EventAccumulator, tag: str) -> tuple[int, int]:
    image = found.Images(tag)[-1]
    return image.width, image.height


def test_scalars_by_step_and_epoch_the_learning_rate_and_the_graph(train_tiny: Train) -> None:
    found = events(train_tiny("scheduler=cosine", "model=cnn", "model.widths=[4,8]"))
    tags = set(found.Tags()["scalars"])
    assert {"train/loss_step", "train/loss", "train/acc", "val/loss", "val/acc", "train/lr"} <= tags
    assert len(found.Scalars("train/loss_step")) == 2 * 17 // 5
    assert len(found.Scalars("val/acc")) == 2
    rates = [event.value for event in found.Scalars("train/lr")]
    assert rates == sorted(rates, reverse=True)
    assert found.Tags()["graph"]


def test_every_card_is_a_curve_of_the_one_run_and_pictures_come_after_them(train_tiny: Train) -> None:
    directory = train_tiny()
    assert not any(path.is_dir() for path in (directory / "tensorboard").iterdir()), "TensorBoard would list it too"
    found = events(directory)
    scalars = found.Tags()["scalars"]
    assert all(len(found.Scalars(tag)) > 1 for tag in scalars)
    assert min(scalars) == "train/acc"
    assert min(found.Tags()["images"]) > max(scalars), "TensorBoard goes by the alphabet"


def test_train_and_validation_of_a_metric_share_a_card(train_tiny: Train) -> None:
    layout = Layout.FromString(events(train_tiny()).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for chart in layout.category[0].chart}
    assert charts == {name: [f"train/{name}$", f"val/{name}$"] for name in ("acc", "loss")}


def test_hparams_show_the_real_final_metrics(train_tiny: Train) -> None:
    directory = train_tiny("optimizer.lr=0.01")
    settings = settings_shown(directory)
    assert settings["optimizer.lr"].number_value == 0.01
    assert settings["model"].string_value == "SimpleNN"
    metrics = report(directory)["metrics"]
    shown = {
        "val/acc": "val/acc (best)",
        "val/loss": "val/loss (best)",
        "test/acc": "test/acc",
        "test/loss": "test/loss",
    }
    assert {name: settings[title].number_value for name, title in shown.items()} == {
        name: pytest.approx(metrics[name]) for name in shown
    }
    assert not any(name.startswith("train/") for name in settings)
    assert len(events(directory).Scalars("val/acc")) == 2


def test_hparams_of_a_sweep_show_first_what_differs(train_tiny: Train, tmp_path: Path) -> None:
    runs = [train_tiny(f"optimizer.lr={lr}", f"seed={seed}") for lr, seed in ((0.01, 1), (0.02, 2))]
    found = {str(run): {tag: data.plugin_data.content for tag, data in metadata(run).items()} for run in runs}
    shown = Context(None).experiment_from_metadata(None, "", False, found, None)
    differ = [info.name for info in shown.hparam_infos if info.differs]
    assert differ == [info.name for info in shown.hparam_infos][: len(differ)]
    assert differ[:2] == ["optimizer.lr", "seed"]
    assert all(name.startswith(("test/", "val/")) for name in differ[2:])


def test_pictures_of_what_the_net_sees_and_of_its_mistakes(train_tiny: Train) -> None:
    directory = train_tiny("optimizer.lr=1e-5")
    found = events(directory)
    assert found.Tags()["images"] == ["view/first_batch", "view/confusion_matrix", "view/surest_mistakes"]
    assert all(len(found.Images(tag)) == 1 for tag in found.Tags()["images"])
    assert shape_of(found, "view/first_batch")[0] > 200


def test_pictures_change_no_number(train_tiny: Train) -> None:
    arguments = ("model=mlp", "model.dropout=0.3", "data.augment=true")
    runs = [
        train_tiny(*arguments, *more)
        for more in (("logger=none",), ("logger.tensorboard.images=false",), ("logger.tensorboard.histograms=true",))
    ]
    assert all(report(run)["metrics"] == report(runs[0])["metrics"] for run in runs)
    assert not events(runs[1]).Tags()["images"]
    shown = events(runs[2])
    tags = shown.Tags()["histograms"]
    assert {tag.partition("/")[0] for tag in tags} == {"weights", "weights.grad"}
    assert all(len(shown.Histograms(tag)) == 2 for tag in tags)


def test_the_config_and_the_result_are_there_to_be_read(train_tiny: Train) -> None:
    directory = train_tiny("optimizer.lr=0.0125")
    found = events(directory)
    config, result = (
        found.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode() for name in ("config", "result")
    )
    assert "      lr: 0.0125" in config
    assert f"| test/acc | {report(directory)['metrics']['test/acc']:.5g} |" in result


def test_lightnings_own_logger_goes_on_as_it_was(train_tiny: Train) -> None:
    directory = train_tiny(
        "logger=none",
        "+logger.own={_target_: lightning.pytorch.loggers.TensorBoardLogger, save_dir: null, name: null, "
        "version: tensorboard, default_hp_metric: false}",
    )
    found = events(directory)
    assert {"epoch", "test/acc", "final/test/acc"} <= set(found.Tags()["scalars"])
    assert not found.Tags()["images"]


def test_lightnings_logger_in_place_of_ours_says_what_to_leave_out(train_tiny: Train) -> None:
    lightnings = "logger.tensorboard._target_=lightning.pytorch.loggers.TensorBoardLogger"
    with pytest.raises(ConfigError, match=r"leave it out with ~logger.tensorboard.images") as raised:
        train_tiny(lightnings)
    further = re.findall(r"~\S+", str(raised.value))
    assert report(train_tiny(lightnings, *further, "trainer.max_epochs=1"))["status"] == "completed"


@pytest.mark.parametrize(("count", "numbers"), [(2, True), (10, True), (120, False)])
def test_a_confusion_matrix_counts_by_true_class(count: int, numbers: bool) -> None:
    labels = torch.arange(count).repeat(3)
    said = labels.clone()
    said[0] = 1
    logits = torch.nn.functional.one_hot(said, count).float() * 9
    parts = [Outcomes(), Outcomes(), Outcomes()]  # the last one of a rank without images
    parts[0].add([torch.rand(2, 1, 8, 8)], logits[:2], labels[:2])
    parts[1].add([torch.rand(len(labels) - 2, 1, 8, 8)], logits[2:], labels[2:])
    whole = Outcomes.merged(parts)
    assert whole.counts is not None
    assert whole.counts[0].tolist() == [2, 1, *[0] * (count - 2)]
    assert int(whole.counts.diagonal().sum()) == len(labels) - 1
    names = [f"the class {index}" for index in range(count)]
    assert whole.confusion({"classes": names}).shape[2] == 3
    assert whole.mistakes({"classes": names, "mean": (0.1,), "std": (0.3,)}).shape[2] == 3


def test_without_a_mistake_there_is_no_page_of_them() -> None:
    outcomes = Outcomes()
    assert outcomes.confusion({}) is None
    outcomes.add([torch.rand(3, 4)], torch.eye(3), torch.arange(3))
    assert outcomes.mistakes({}) is None


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (40, 3, 64, 64), (7, 2, 5, 9)])
def test_a_batch_is_shown_as_it_was_before_its_normalization(shape: tuple[int, ...]) -> None:
    pixels = torch.rand(shape)
    channels = shape[1]
    mean, std = [0.2] * channels, [0.5] * channels
    page = first_batch((pixels - 0.2) / 0.5, {"mean": mean, "std": std})
    assert page.dtype == torch.uint8
    assert page.shape[0] == (channels if channels in (1, 3) else 1)
    factor = page.shape[2] // (min(len(pixels), 8) * (shape[3] + 2) + 2)
    first = pixels[0] if channels in (1, 3) else pixels[0].mean(dim=0, keepdim=True)
    shown = page[:, 2 * factor :: factor, 2 * factor :: factor][:, : shape[2], : shape[3]].float() / 255
    assert torch.allclose(shown, first, atol=0.003)


@pytest.mark.parametrize("size", [(512, 512), (700, 30)])
def test_large_images_are_shown_small(size: tuple[int, int]) -> None:
    images = torch.rand(32, 3, *size)
    assert first_batch(images, {}).numel() < 3 * 600 * 1100
    outcomes = Outcomes()
    outcomes.add([images], torch.eye(32), torch.arange(32).roll(1))
    assert outcomes.mistakes({}).size < 3 * 900 * 700


def test_of_thousands_of_classes_only_mistakes_are_kept() -> None:
    outcomes = Outcomes()
    logits = torch.zeros(4, 5000)
    logits[:, 4321] = 1.0
    outcomes.add([torch.rand(4, 1, 8, 8)], logits, torch.arange(4))
    assert outcomes.counts is None
    assert outcomes.confusion({}) is None
    assert outcomes.mistakes({}).shape[2] == 3


def test_a_test_of_which_not_every_class_is_known_has_its_pictures(train_own: Train) -> None:
    own = ("data._target_=tests.tasks.modules.PartlyKnown", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1")
    directory = train_own("strobe.tasks.classifier.Classifier", *own)
    assert {"view/confusion_matrix", "view/surest_mistakes"} <= set(events(directory).Tags()["images"])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("strobe.callbacks.tensorboard.Outcomes.add", "No confusion matrix in TensorBoard: broken"),
        ("strobe.callbacks.tensorboard.Outcomes.merged", "No surest mistakes in TensorBoard: broken"),
        ("strobe.callbacks.tensorboard.first_batch", "No first batch in TensorBoard: broken"),
        ("torch.utils.tensorboard.SummaryWriter.add_image", "No first batch in TensorBoard: broken"),
        ("torch.utils.tensorboard.SummaryWriter.add_histogram", "No histograms in TensorBoard: broken"),
        ("torch.utils.tensorboard.SummaryWriter.add_text", "No HParams in TensorBoard: broken"),
        ("torch.utils.tensorboard.SummaryWriter.add_graph", "No graph in TensorBoard: broken"),
        ("strobe.callbacks.tensorboard_logger.hparams", "No HParams in TensorBoard: broken"),
    ],
)
def test_what_is_only_shown_costs_no_run(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str, words: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(broken, fails)
    directory = train_tiny("trainer.max_epochs=1", "logger.tensorboard.histograms=true")
    assert report(directory)["status"] == "completed"
    assert words in caplog.text


def test_a_signal_is_heard_while_something_is_shown() -> None:
    with pytest.raises(PreemptedError), tensorboard._told_instead_of_raised("graph"):
        raise PreemptedError("preempted")


@pytest.mark.parametrize("own", [None, Outcomes()])
def test_a_rank_whose_pictures_failed_keeps_the_others_from_waiting(
    monkeypatch: pytest.MonkeyPatch, own: Outcomes | None
) -> None:
    asked: list[Outcomes | None] = []
    monkeypatch.setattr(tensorboard, "of_all_ranks", lambda mine: asked.append(mine) or [mine, None])
    monkeypatch.setattr(tensorboard, "_show", lambda *_: pytest.fail("it would be of a part of the test"))
    pages = tensorboard.TensorBoardPages(None)
    pages._gathers, pages._results = True, own
    pages.on_test_end(SimpleNamespace(world_size=2, loggers=[]), None)  # type: ignore[arg-type]
    assert asked == [own]


def test_the_name_of_a_metric_is_no_regular_expression(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)
    names = ("train/f1(macro)", "val/f1(macro)", "train/lr")
    logger.log_metrics(dict.fromkeys(names, 0.5), 0)
    logger.experiment.flush()
    layout = Layout.FromString(events(tmp_path).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    tags = layout.category[0].chart[0].multiline.tag
    assert [[name for name in names if re.match(tag, name)] for tag in tags] == [[names[0]], [names[1]]]


def metadata(run: Path) -> Any:
    return events(run).summary_metadata


def test_a_resumed_run_has_no_gaps_and_no_doubled_points(train_tiny: Train, command: Command) -> None:
    whole = events(train_tiny("trainer.max_epochs=4"))
    part = train_tiny("trainer.max_epochs=2", "test=false")
    assert settings_shown(part)["trainer.max_epochs"].number_value == 2
    # In a process of its own: TensorBoard reads files by name, and within one process the tenth sorts before the ninth.
    resumed_run = command("train", f"resume={part}", "trainer.max_epochs=4")
    assert resumed_run.returncode == 0, resumed_run.stderr
    resumed = events(part)
    for name in ("train/loss_step", "train/loss", "train/lr"):
        points = [(event.step, event.value) for event in resumed.Scalars(name)]
        assert points == [(event.step, event.value) for event in whole.Scalars(name)]
    assert settings_shown(part)["trainer.max_epochs"].number_value == 4
    assert len(list((part / "tensorboard").glob("events.*.hparams"))) == 1
