"""`strobe.train`: the same numbers and files as the command, in a process that goes on."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import OmegaConf

import strobe
from strobe.errors import ConfigError, DivergedError
from tests.conftest import TEST_CONF, Command, report

MEASURED = ("metrics", "best", "objective", "overrides", "config_hash", "seed", "parameters", "effective", "requested")


def test_a_run_from_python_is_the_commands_digit_for_digit(
    here: Path, tiny: dict[str, Any], command: Command, tmp_path: Path
) -> None:
    run = strobe.train(tiny["overrides"], tiny["config_dir"])
    done = command("train", f"--config-dir={TEST_CONF}", *tiny["overrides"], "hydra.run.dir=typed")
    assert done.returncode == 0, done.stderr
    typed = tmp_path / "cwd" / "typed"
    of_python, of_command = ({key: made[key] for key in MEASURED} for made in (run.report, report(typed)))
    for made in (of_python, of_command):
        made["effective"].pop("threads_wait")  # the variables of this process are a person's own: left as they are
    assert of_python == of_command
    rows = [{name: row[name] for name in row if name != "seconds"} for row in run.metrics]
    assert rows == [{name: row[name] for name in row if name != "seconds"} for row in strobe.load_run(typed).metrics]
    assert _names(run.directory) == _names(typed)
    for name in ("config.yaml", ".hydra/config.yaml", ".hydra/overrides.yaml"):
        pair = [OmegaConf.load(folder / name) for folder in (run.directory, typed)]
        for each in pair:
            if "sweep" in each:
                each["sweep"]["name"] = None  # a time
        assert pair[0] == pair[1], name
    assert set(OmegaConf.load(run.directory / ".hydra" / "hydra.yaml").hydra) == set(
        OmegaConf.load(typed / ".hydra" / "hydra.yaml").hydra
    )
    assert run.directory.parts[-4:-2] == ("outputs", "train")


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "tfevents" not in path.name}


def test_training_twice_gives_equal_numbers_in_two_directories(here: Path, tiny: dict[str, Any]) -> None:
    cfg = strobe.compose(**tiny)
    one = strobe.train(cfg)
    began = time.monotonic()
    two = strobe.train(cfg)
    assert one.directory != two.directory
    assert one.report["metrics"] == two.report["metrics"]
    assert two.report["timing"]["total_s"] <= time.monotonic() - began + 0.1, (
        "its own time, and not that of the process"
    )


def test_a_config_that_was_changed_is_trained_and_recorded_as_such(here: Path, tiny: dict[str, Any]) -> None:
    cfg = strobe.compose(**tiny)
    cfg.seed = 7
    run = strobe.train(cfg)
    assert run.report["seed"] == 7
    assert run.report["overrides"] == [*tiny["overrides"], "seed=7"]
    assert run.config.seed == 7


def test_what_a_run_changes_in_the_process_is_given_back(here: Path, tiny: dict[str, Any]) -> None:
    def state() -> list[Any]:
        return [
            dict(os.environ),
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # type: ignore[index]
            warnings.filters[:],
            warnings.showwarning,
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
            sys.argv[:],
            [(logger.level, logger.handlers[:], logger.filters[:]) for logger in _loggers()],
        ]

    strobe.train(tiny["overrides"], tiny["config_dir"])  # modules that are imported make loggers and filters
    before = state()
    strobe.train([*tiny["overrides"], "trainer.deterministic=true", "matmul_precision=high"], tiny["config_dir"])
    assert state() == before


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in ("", "strobe", "lightning", "lightning.pytorch", "py.warnings")]


def test_a_thread_may_train(here: Path, tiny: dict[str, Any]) -> None:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(strobe.train(**_of(tiny)).status)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["completed"]


def _of(tiny: dict[str, Any]) -> dict[str, Any]:
    return {"config": tiny["overrides"], "config_dir": tiny["config_dir"]}


class Interrupts(Callback):
    """Sends this process what Ctrl-C sends, in the first step of the second epoch."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_is_saved_and_goes_on(here: Path, tiny: dict[str, Any]) -> None:
    several = [*tiny["overrides"], "trainer.max_epochs=3"]
    whole = strobe.train(several, tiny["config_dir"])
    interrupts = f"+callbacks.interrupts._target_={__name__}.Interrupts"
    with pytest.raises(KeyboardInterrupt, match="continue with resume="):
        strobe.train([*several, interrupts, "hydra.run.dir=stopped"], tiny["config_dir"])
    assert strobe.load_run("stopped").status == "interrupted"
    run = strobe.train(["resume=stopped", "callbacks.interrupts=null"])
    assert run.directory.resolve() == (here / "stopped").resolve()
    assert run.status == "completed"
    assert run.report["metrics"] == whole.report["metrics"]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (["optimizer.lrr=1"], ConfigError, "did you mean optimizer.lr=1"),
        (["model=cn"], ConfigError, "did you mean model=cnn"),
        (["validate=only"], ConfigError, "nothing would be trained"),
        (["-m", "seed=1,2"], ConfigError, "strobe.sweep"),
        (["resume=nowhere"], ConfigError, "nowhere"),
        (["optimizer=sgd", "optimizer.lr=1e30"], DivergedError, "loss|finite"),
    ],
)
def test_what_goes_wrong_is_an_exception(
    here: Path, tiny: dict[str, Any], wrong: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        strobe.train([*tiny["overrides"], *wrong], tiny["config_dir"])
    if error is ConfigError:
        assert not (here / "outputs").exists(), "nothing is left of what was refused"


def test_several_processes_that_something_else_has_started_are_told_the_command(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ConfigError, match="strobe train"):
        strobe.train()


def test_a_directory_that_holds_a_run_is_left_alone(first: Path, tiny: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="already holds a run"):
        strobe.train([*tiny["overrides"], f"hydra.run.dir={first / 'outputs' / 'first'}"], tiny["config_dir"])


@pytest.mark.slow
def test_several_processes_train_from_a_script(here: Path, tiny: dict[str, Any]) -> None:
    overrides = [*tiny["overrides"], "trainer=ddp_cpu", "trainer.max_epochs=1"]
    call = f"strobe.train({overrides!r}, {str(TEST_CONF)!r})"
    Path("guarded.py").write_text(f"import strobe\nif __name__ == '__main__':\n    print({call}.status)\n")
    Path("open.py").write_text(f"import strobe\n{call}\n")
    done = subprocess.run([sys.executable, "guarded.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("completed")
    done = subprocess.run([sys.executable, "open.py"], capture_output=True, text=True, check=False)
    assert "__main__" in done.stderr
    assert done.returncode != 0
