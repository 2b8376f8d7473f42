"""A search's pruner is fed what the search is about."""

from functools import partial
from pathlib import Path

import optuna
import pytest

from strobe.callbacks.pruning import Pruning
from strobe.errors import PrunedError
from strobe.record.study import NAME, open_study, study_storage
from strobe.run.story import train
from tests.conftest import Compose
from tests.run.test_train import rows


@pytest.mark.parametrize("objective", ["val/loss", "val/acc", "train/loss"])
def test_the_pruner_is_fed_the_objective(
    compose_config: Compose, tiny_root: Path, tmp_path: Path, objective: str
) -> None:
    direction = "maximize" if objective.endswith("acc") else "minimize"
    study = optuna.create_study(study_name=NAME, storage=study_storage(tmp_path), direction=direction)
    study.set_user_attr("pruner", "median")
    study.ask()
    cfg = compose_config("data=tiny", f"data.root={tiny_root}", "trainer=cpu", "trainer.max_epochs=3")
    train(cfg, tmp_path / "run", callbacks=[partial(Pruning, tmp_path, 0, objective)])
    fed = open_study(tmp_path).trials[0].intermediate_values
    assert fed == {int(row["epoch"]): float(row[objective]) for row in rows(tmp_path / "run")}


def test_a_trial_with_a_better_loss_than_the_others_is_not_given_up(
    compose_config: Compose, tiny_root: Path, tmp_path: Path
) -> None:
    study = optuna.create_study(study_name=NAME, storage=study_storage(tmp_path), direction="minimize")
    study.set_user_attr("pruner", "median")
    for loss in (100.0,) * 5:
        trial = study.ask()
        trial.report(loss, 0)
        study.tell(trial, loss)
    study.ask()
    cfg = compose_config("data=tiny", f"data.root={tiny_root}", "trainer=cpu", "trainer.max_epochs=2")
    train(cfg, tmp_path / "good", callbacks=[partial(Pruning, tmp_path, 5, "val/loss")])
    study.ask()
    worse = compose_config(
        "data=tiny",
        f"data.root={tiny_root}",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "optimizer=sgd",
        "optimizer.lr=1e-6",
    )
    for loss in (1e-9,) * 9:
        trial = study.ask()
        trial.report(loss, 0)
        study.tell(trial, loss)
    with pytest.raises(PrunedError, match=r"val/loss is \d+\.\d{4}, others"):
        train(worse, tmp_path / "bad", callbacks=[partial(Pruning, tmp_path, 6, "val/loss")])
