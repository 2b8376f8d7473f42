"""Another set than the one that a net was trained on: prepared as that was, or refused."""

import pytest

from strobe.errors import ConfigError
from strobe.run.evaluation import evaluate
from tests.conftest import Train
from tests.tiny import TinyDigits

HERE = "tests.run.test_evaluation"


class OtherFacts(TinyDigits):
    """The same images; somebody has given other numbers for their mean and spread."""

    mean = (0.9,)
    std = (0.05,)


class OtherNames(TinyDigits):
    """The same images, their classes in another order."""

    classes = tuple("9876543210")


def test_the_facts_of_the_training_apply_and_that_is_said(train_tiny: Train, caplog: pytest.LogCaptureFixture) -> None:
    run = train_tiny("trainer.max_epochs=1")
    own = evaluate(run)
    assert "Normalized as in training" not in caplog.text
    assert evaluate(run, [f"data.dataset._target_={HERE}.OtherFacts"]) == own
    assert "Normalized as in training, with mean [0.2] and std [0.25]; those of TinyDigits are others" in caplog.text


def test_none_is_no_change_where_there_is_none(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_epochs=1")
    assert evaluate(run, ["scheduler=none"]) == evaluate(run)
    with pytest.raises(ConfigError, match="not a whole group"):
        evaluate(run, ["scheduler=cosine"])


def test_other_classes_are_refused(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=r"has the classes .*'9', '8'.* trained on .*'0', '1'"):
        evaluate(run, [f"data.dataset._target_={HERE}.OtherNames"])
