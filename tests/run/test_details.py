"""What a test shows beyond its means: the numbers are those of the test, and of torchmetrics."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import multiclass_calibration_error

from strobe.commands.evaluate import main
from strobe.errors import ConfigError
from strobe.record.details import DETAILS, ClassDetails, Details, as_plain, details_text, read_details
from strobe.report.details import class_rows, confusion_rows, headline, in_words
from strobe.run.details import BINS, _numbers, _Seen, evaluate_in_detail
from strobe.run.evaluation import evaluate
from strobe.run.saved import saved_net
from tests.conftest import Train
from tests.tiny import TinyDigits

HERE = "tests.run.test_details"


class WithMarkup(TinyDigits):
    """The same images; the names of their classes are a spreadsheet's formula and a page's tag."""

    classes = ("=1+1", "<b>one</b>", "$two$", *"3456789")


@pytest.fixture
def run(train_tiny: Train) -> Path:
    """A run that is right about half of the time."""
    return train_tiny("trainer.max_epochs=1", "optimizer.lr=0.00003")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_test(run: Path) -> None:
    tested = evaluate_in_detail(run)
    classes = tested.details.classes
    assert tested.metrics == evaluate(run)
    assert classes is not None
    assert 0 < classes.correct < classes.examples == 163
    assert classes.correct / classes.examples == tested.metrics["test/acc"]
    assert sum(classes.confusion.values()) == 163
    assert sum(count for (true, predicted), count in classes.confusion.items() if true == predicted) == classes.correct
    assert headline(classes) == f"{classes.correct} of 163 correct ({100 * classes.correct / 163:.2f} %)"


@pytest.mark.parametrize("loader", ["memory", "torch"])
def test_the_predictions_are_those_of_the_net(run: Path, tiny_root: Path, loader: str) -> None:
    tested = evaluate_in_detail(run, [f"data.loader={loader}", "data.eval_batch_size=50"])
    net = saved_net(run)
    images, labels = TinyDigits().load(tiny_root, "test")
    with torch.inference_mode():
        probabilities = net.net(net.normalized(images)).double().softmax(dim=1)
    rows = tested.predictions
    assert list(rows["index"]) == list(range(163))
    assert list(rows["true"]) == [str(label) for label in labels.tolist()]
    assert list(rows["predicted"]) == [str(label) for label in probabilities.argmax(dim=1).tolist()]
    assert rows["probability"] == pytest.approx(probabilities.max(dim=1).values.tolist(), abs=1e-5)
    of_true = probabilities.gather(1, labels[:, None])[:, 0].tolist()
    assert rows["probability_of_true"] == pytest.approx(of_true, abs=1e-5)
    classes = tested.details.classes
    assert classes is not None
    error = multiclass_calibration_error(probabilities, labels, num_classes=10, n_bins=BINS)
    assert classes.ece == pytest.approx(float(error), abs=1e-5)
    assert sum(each.count for each in classes.bins) == 163


def test_precision_recall_and_f1_follow_from_the_predictions(run: Path) -> None:
    tested = evaluate_in_detail(run)
    true, predicted = (list(tested.predictions[name]) for name in ("true", "predicted"))
    classes = tested.details.classes
    assert classes is not None
    for name, precision, recall, f1, support in class_rows(classes)[1:]:
        hits = sum(one == other == name for one, other in zip(true, predicted, strict=True))
        assert support == str(true.count(name))
        assert recall == f"{hits / true.count(name):.4f}"
        assert precision == (f"{hits / predicted.count(name):.4f}" if name in predicted else "-")
        assert f1 == f"{2 * hits / (true.count(name) + predicted.count(name)):.4f}"
    wrong = Counter(pair for pair in zip(true, predicted, strict=True) if pair[0] != pair[1])
    assert confusion_rows(classes)[1][2] == str(wrong.most_common(1)[0][1])


def test_the_surest_mistakes_are_shown_as_they_were_before_normalization(run: Path, tiny_root: Path) -> None:
    tested = evaluate_in_detail(run)
    classes = tested.details.classes
    assert classes is not None
    sure, rows = [mistake.probability for mistake in classes.mistakes], tested.predictions
    assert len(sure) == 25
    assert sure == sorted(sure, reverse=True)
    wrong = [p for p, a, b in zip(rows["probability"], rows["true"], rows["predicted"], strict=True) if a != b]
    assert sure == pytest.approx(sorted(map(float, wrong), reverse=True)[:25], abs=1e-5)
    images, labels = TinyDigits().load(tiny_root, "test")
    for mistake in classes.mistakes:
        assert mistake.picture is not None
        assert mistake.true == int(labels[mistake.index])
        path = run / "picture.png"
        path.write_bytes(mistake.picture)
        assert np.array_equal(np.asarray(Image.open(path)), images[mistake.index, 0].numpy())


def test_what_was_written_is_read_back(run: Path) -> None:
    details = evaluate_in_detail(run, ["trainer.accelerator=cpu"]).details
    path = run / DETAILS
    path.write_text(details_text(details))
    assert read_details(path) == details
    assert read_details(run / "nothing.json") is None


@pytest.mark.parametrize(
    "damage",
    [
        {"classes": None},
        {"classes": []},
        {"classes": {"classes": []}},
        {"overrides": 3},
        {"checkpoint": None},
        {"numbers": {"examples": -1, "numbers": []}},
    ],
)
def test_damaged_details_are_refused_in_a_line(run: Path, damage: dict[str, object]) -> None:
    plain = as_plain(evaluate_in_detail(run).details)
    path = run / DETAILS
    path.write_text(json.dumps({**plain, **damage}))
    with pytest.raises(ConfigError, match="is damaged") as raised:
        read_details(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("confusion", [[0, 10, 1]]),
        ("confusion", [[0, 0, -1]]),
        ("mistakes", [{"index": 0, "true": 0, "predicted": 1, "probability": 1.0, "picture": "PHNjcmlwdD4="}]),
        ("mistakes", [{"index": 0, "true": 0, "predicted": 99, "probability": 1.0, "picture": None}]),
        ("ece", "<b>"),
    ],
)
def test_details_of_a_stranger_hold_what_they_should(run: Path, key: str, value: object) -> None:
    plain = as_plain(evaluate_in_detail(run).details)
    plain["classes"][key] = value
    (run / DETAILS).write_text(json.dumps(plain))
    with pytest.raises(ConfigError, match="is damaged"):
        read_details(run / DETAILS)


def test_a_net_whose_outputs_are_no_numbers_has_details(run: Path) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    saved["state_dict"] = {name: torch.full_like(value, 3e38) for name, value in saved["state_dict"].items()}
    torch.save(saved, checkpoint)
    details = evaluate_in_detail(run).details
    assert "163 correct" in in_words(details)
    json.dumps(as_plain(details), allow_nan=False)


def test_a_regression_has_its_errors(train_own: Train, table: Path) -> None:
    task = "strobe.tasks.regression.Regression"
    run = train_own(
        *(task, "data=table", f"data.path={table}", "data.target=y", "model=mlp", "model.hidden=[8]", "loss=mse"),
        *("monitor.metric=val/rmse", "monitor.mode=min", "optimizer.lr=0.01"),
    )
    tested = evaluate_in_detail(run)
    numbers = tested.details.numbers
    assert numbers is not None
    (number,) = numbers.numbers
    assert number.name == "y"
    assert number.mae == pytest.approx(tested.metrics["test/mae"], rel=1e-6)
    assert number.rmse == pytest.approx(tested.metrics["test/rmse"], rel=1e-6)
    true, predicted = (np.array(tested.predictions[name]) for name in ("true", "predicted"))
    assert number.r2 == pytest.approx(1 - ((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    path = run / DETAILS
    path.write_text(details_text(tested.details))
    assert read_details(path) == tested.details


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["task=vae", "model=vae", "monitor.metric=val/loss", "monitor.mode=min", "task.pictures=0"],
            "VAE gives preds",
        ),
        (["task=gan", "monitor.metric=null", "task.pictures=0", "trainer.max_epochs=1"], "GAN"),
    ],
)
def test_other_tasks_are_refused_in_a_line(train_tiny: Train, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        evaluate_in_detail(train_tiny("trainer.max_epochs=1", "trainer.limit_train_batches=2", *overrides))
    assert "there are details of classifiers" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_module_that_is_no_task_is_refused(train_own: Train) -> None:
    with pytest.raises(ConfigError, match="Own is no Task of strobe"):
        evaluate_in_detail(train_own("Own", "monitor.metric=val_loss", "monitor.mode=min", "trainer.max_epochs=1"))


@pytest.mark.filterwarnings("ignore:Total length of `DataLoader`:UserWarning")
@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("GuessTwice", "Sums", "GuessTwice.test_step calls step 2 times for a batch"),
        ("GuessElsewhere", "Sums", "GuessElsewhere.test_step calls step 0 times for a batch"),
        ("Guess", "Untested", "its test split holds no examples"),
    ],
)
def test_a_test_that_is_no_step_by_batch_is_refused(train_own: Train, task: str, data: str, words: str) -> None:
    own = (f"data._target_=tests.tasks.modules.{data}", "model=mlp", "monitor.metric=val/loss", "monitor.mode=min")
    run = train_own(task, *own, "trainer.max_epochs=1", "test=false")
    with pytest.raises(ConfigError, match=words):
        evaluate_in_detail(run)


def test_examples_whose_class_is_not_known_hide_no_mistake(train_own: Train) -> None:
    own = ("data._target_=tests.tasks.modules.PartlyKnown", "model=mlp", "model.hidden=[8]")
    run = train_own("strobe.tasks.classifier.Classifier", *own, "trainer.max_epochs=1", "logger=none")
    tested = evaluate_in_detail(run)
    classes = tested.details.classes
    assert classes is not None
    assert classes.classes == ("a", "b", "c")
    assert (classes.examples, sum(classes.confusion.values()), sum(each.count for each in classes.bins)) == (64, 10, 10)
    true, predicted = (tested.predictions[name][:10] for name in ("true", "predicted"))
    wrong = {index for index, pair in enumerate(zip(true, predicted, strict=True)) if pair[0] != pair[1]}
    assert {mistake.index for mistake in classes.mistakes} == wrong


def test_what_is_written_of_many_numbers_or_classes_is_read_again(tmp_path: Path) -> None:
    seen = _Seen("Regression", independent=False)
    seen._note((), torch.rand(2500, 450), torch.rand(2500, 450))
    numbers, _ = _numbers(seen, {})
    path = tmp_path / DETAILS
    path.write_text(details_text(Details("best.ckpt", numbers=numbers)))
    assert read_details(path) == Details("best.ckpt", numbers=numbers)
    with pytest.raises(ConfigError, match="100,001 classes"):
        details_text(Details("best.ckpt", classes=ClassDetails(1, 1, ("x",) * 100_001, {}, 0.0, (), ())))
    with pytest.raises(ConfigError, match="bytes, it may have"):
        details_text(Details("x" * 33_000_000))


# The command


def test_the_command_prints_and_writes(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(run), "--details", f"data.dataset._target_={HERE}.WithMarkup"]) == 2  # other names, other classes
    capsys.readouterr()
    assert main([str(run), "--details"]) == 0
    told = capsys.readouterr().out
    assert "of 163 correct (" in told
    assert "most frequent confusions" in told
    assert "expected calibration error" in told
    out = run / "details"
    assert f"written: {out}/predictions.csv, confusion.png, calibration.png, mistakes.png, details.json" in told
    files = {"predictions.csv", "confusion.png", "calibration.png", "mistakes.png", "details.json"}
    assert {path.name for path in out.iterdir()} == files
    assert len(read(out / "predictions.csv")) == 163
    assert main([str(run), "--details", "--json", "--out", str(tmp_path / "elsewhere")]) == 0
    loaded = json.loads(capsys.readouterr().out)
    assert loaded["details"]["classes"]["correct"] / 163 == loaded["test/acc"]
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == files


def test_names_of_classes_are_text_in_the_files(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_epochs=1", "optimizer.lr=0.00003", f"data.dataset._target_={HERE}.WithMarkup")
    assert main([str(run), "--details"]) == 0
    rows = read(run / "details" / "predictions.csv")
    assert "'=1+1" in {row["true"] for row in rows}
    assert not any(row["predicted"].startswith("=") for row in rows)


def test_a_test_alone_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in run.rglob("*"))
    assert main([str(run)]) == 0
    assert sorted(path for path in run.rglob("*")) == before
    with pytest.raises(SystemExit) as raised:
        main([str(run), "--out", "x"])
    assert raised.value.code == 2
    assert "add --details" in capsys.readouterr().err


def test_details_that_lead_out_of_the_run_directory_are_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (run / "details").symlink_to(tmp_path / "other")
    assert main([str(run), "--details"]) == 2
    assert list((tmp_path / "other").iterdir()) == []
