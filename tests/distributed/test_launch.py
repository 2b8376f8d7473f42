"""How the ranks of a run are started; what takes several processes is in test_ddp.py."""

import os
from pathlib import Path

import pytest

from strobe.distributed import launch, ranks
from tests.conftest import Train, report


def test_a_run_of_one_process_starts_no_other(train_tiny: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    # A queue of multiprocessing's would start a process that outlives the run.
    monkeypatch.setattr(launch.multiprocessing, "get_context", None)
    before = dict(os.environ)
    assert report(train_tiny("trainer.fast_dev_run=true"))["status"] == "completed"
    assert {name: os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "MASTER_PORT")} == {
        name: before.get(name) for name in ("RANK", "LOCAL_RANK", "MASTER_PORT")
    }


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork", "ddp_notebook_find_unused_parameters_true"])
def test_a_strategy_for_several_ranks_trains_on_one(train_tiny: Train, strategy: str) -> None:
    effective = report(train_tiny("trainer=ddp_cpu", "trainer.devices=1", f"trainer.strategy={strategy}"))["effective"]
    assert effective["world_size"] == 1


def test_how_ranks_start_is_no_concern_of_the_trainer() -> None:
    assert ranks.strategy_for_trainer("ddp") == "ddp"
    assert ranks.strategy_for_trainer("fsdp") == "fsdp"
    forked = ranks.strategy_for_trainer("ddp_fork")
    assert isinstance(forked, ranks.StartedDDP)
    assert forked.launcher is None


@pytest.mark.parametrize("code", [None, 0, 1, 143])
def test_a_rank_in_a_process_of_its_own_leaves_at_once_with_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int | None
) -> None:
    def rank_main(*_: object) -> None:
        raise SystemExit(code)

    codes: list[int] = []
    monkeypatch.setattr(launch, "rank_main", rank_main)
    monkeypatch.setattr(launch, "end_process", codes.append)
    launch.fresh_rank_main(1, tmp_path, lambda: None, None)  # type: ignore[arg-type]
    assert codes == [code or 0]
