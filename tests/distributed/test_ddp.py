"""Several processes that train one model: on the CPU, with gloo, as real as on GPUs."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from strobe.run.export import export
from strobe.run.saved import saved_net
from tests.conftest import ROOT, Command, report
from tests.run.test_faults import stopping
from tests.run.test_train import equal, weights
from tests.sweeps.test_sweeps import is_alive, until

pytestmark = pytest.mark.slow

DDP = ("trainer=ddp_cpu", "trainer.devices=2")


def start(cwd: Path, *arguments: str, program: tuple[str, ...] = ("-m", "src.train"), **env: str) -> Any:
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: Any, timeout: float = 600) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()  # else a later test is blamed for what is left of it
        output, _ = process.communicate()
        pytest.fail(f"hangs: {output}")
    return process.returncode, output


def columns(directory: Path) -> list[list[float]]:
    with (directory / "metrics.csv").open() as file:
        return [[float(row[name]) for name in ("train/loss", "val/loss", "val/acc")] for row in csv.DictReader(file)]


def steps(directory: Path) -> list[float]:
    with (directory / "csv" / "metrics.csv").open() as file:
        return [float(row["train/loss_step"]) for row in csv.DictReader(file) if row["train/loss_step"]]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("model", [("model=simple_nn",), ("model=cnn", "model.widths=[4,8]", "model.norm=layer")])
def test_two_ranks_train_as_one_process_with_the_same_global_batch(
    command: Command, tiny_arguments: list[str], tmp_path: Path, model: tuple[str, ...]
) -> None:
    # 539 training images: the last global batch has 27, which two ranks can't share out evenly.
    common = [*tiny_arguments, *model, "optimizer=sgd", "optimizer.lr=0.05", "trainer.log_every_n_steps=1"]
    one, two = tmp_path / "one", tmp_path / "two"
    single = command("train", *common, "logger=csv", "trainer=cpu", "data.batch_size=32", f"hydra.run.dir={one}")
    double = command("train", *common, "logger=csv", *DDP, "data.batch_size=16", f"hydra.run.dir={two}")
    assert single.returncode == double.returncode == 0, single.stderr + double.stderr
    assert len(steps(one)) == 2 * 17
    assert steps(one) == pytest.approx(steps(two), rel=1e-3)
    for first, second in zip(columns(one), columns(two), strict=True):
        assert first == pytest.approx(second, rel=1e-4)
    first_weights, second_weights = weights(one), weights(two)
    for key, tensor in first_weights.items():
        torch.testing.assert_close(tensor, second_weights[key], rtol=1e-3, atol=1e-4)
    found = report(two)
    assert found["metrics"]["test/acc"] == report(one)["metrics"]["test/acc"]
    effective = {key: found["effective"][key] for key in ("world_size", "batch_size_per_device", "global_batch_size")}
    assert effective == {"world_size": 2, "batch_size_per_device": 16, "global_batch_size": 32}
    assert double.stdout.count("epoch 1/2") == 1
    assert (two / "train_rank_1.log").exists()


FSDP = "trainer._target_=tests.fsdp_on_cpu.TrainerWithFsdp"


def test_what_any_strategy_has_saved_is_evaluated_exported_and_gone_on_with_alike(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    # SGD, which keeps one tensor a parameter: on a CPU, torch's FSDP gathers both of Adam's into the same memory.
    common = [*tiny_arguments, *DDP, "model=mlp", "optimizer=sgd", "decay_norm_and_bias=false"]
    for name, strategy in (("ddp", ()), ("fsdp", (FSDP,))):
        run = tmp_path / name
        done = command("train", *common, *strategy, f"hydra.run.dir={run}")
        assert done.returncode == 0, done.stderr
        assert "No graph" not in done.stdout
        measured = command("evaluate", str(run), "--json", "trainer._target_=lightning.pytorch.Trainer")
        found, metrics = json.loads(measured.stdout), report(run)["metrics"]
        assert found["test/acc"] == metrics["test/acc"]
        assert found["test/loss"] == pytest.approx(metrics["test/loss"], rel=1e-6)  # batches of another size
        net = saved_net(run)
        assert equal({f"net.{key}": value for key, value in net.net.state_dict().items()}, weights(run, "best.ckpt"))
        assert export(net, "torch_export", tmp_path / "model.pt2").difference == 0.0
        alone = ["trainer.devices=1", "trainer.strategy=auto", "trainer._target_=lightning.pytorch.Trainer"]
        done = command("train", f"resume={run}", "trainer.max_epochs=3", "data.batch_size=64", *alone)
        assert done.returncode == 0, done.stderr
        assert report(run)["effective"]["strategy"] == "single_device"
    assert report(tmp_path / "ddp")["parameters"] == report(tmp_path / "fsdp")["parameters"]
    ddp, fsdp = weights(tmp_path / "ddp"), weights(tmp_path / "fsdp")
    for key, tensor in ddp.items():
        torch.testing.assert_close(tensor, fsdp[key], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_batch_normalisation_is_synchronised_over_gpus(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    common = [*tiny_arguments, "model=cnn", "model.widths=[4,8]", "optimizer=sgd", "optimizer.lr=0.05"]
    one, two = tmp_path / "one", tmp_path / "two"
    command("train", *common, "trainer=gpu", "data.batch_size=32", f"hydra.run.dir={one}")
    double = ("trainer=ddp", "trainer.devices=2", "trainer.sync_batchnorm=true", "data.batch_size=16")
    command("train", *common, *double, f"hydra.run.dir={two}")
    for first, second in zip(columns(one), columns(two), strict=True):
        assert first == pytest.approx(second, rel=1e-3)


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook", "ddp_find_unused_parameters_true"])
def test_however_the_ranks_are_started_the_run_is_the_same(
    command: Command, tiny_arguments: list[str], tmp_path: Path, strategy: str
) -> None:
    run = tmp_path / "run"
    done = command("train", *tiny_arguments, *DDP, f"trainer.strategy={strategy}", f"hydra.run.dir={run}")
    assert done.returncode == 0, done.stderr
    found = report(run)
    assert found["status"] == "completed"
    assert found["effective"]["world_size"] == 2
    assert found["metrics"]["test/acc"] > 0.9
    assert {path.name for path in run.glob("*.log")} == {"train.log", "train_rank_1.log"}


NOTEBOOK = """
import sys
from pathlib import Path
sys.ps1 = ">>> "  # what a session is known by
from strobe.config.compose import composed
from strobe.run.story import train
import torch
torch.set_num_threads(2)
torch.rand(2000, 2000) @ torch.rand(2000, 2000)  # threads that no fork has
for name in ("first", "second"):
    print(name, train(composed(sys.argv[1:]), Path(name)))
"""


def test_ranks_of_a_notebook_are_forked_from_it_as_often_as_asked(tmp_path: Path, tiny_root: Path) -> None:
    overrides = (f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "data=tiny", f"data.root={tiny_root}", *DDP)
    code, output = finish(
        start(tmp_path, *overrides, "trainer.strategy=ddp_notebook", "trainer.max_epochs=1", program=("-c", NOTEBOOK))
    )
    assert code == 0, output
    first, second = (report(tmp_path / name) for name in ("first", "second"))
    assert first["effective"]["world_size"] == second["effective"]["world_size"] == 2
    assert first["metrics"] == second["metrics"]


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_rank_that_fails_ends_the_job_soon_as_failed(tmp_path: Path, tiny_arguments: list[str], how: str) -> None:
    arguments = [*tiny_arguments, *DDP, "model=misbehaving", f"model.how={how}", "model.rank=1"]
    run = tmp_path / "run"
    process = start(tmp_path, *arguments, f"hydra.run.dir={run}")
    until(lambda: (run / "report.json").exists())
    code, output = finish(process, timeout=240)  # gloo would wait for half an hour for the other rank
    assert code == 1, output
    found = report(run)
    assert found["status"] == "failed"
    assert found["error"]["message"].startswith("rank 1")
    assert ("the net is broken" in found["error"]["message"]) == (how == "raise")


def test_a_killed_first_rank_takes_the_others_with_it(tmp_path: Path, tiny_arguments: list[str]) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *tiny_arguments, *DDP, "trainer.max_epochs=2000", f"hydra.run.dir={run}")
    until(lambda: (run / "metrics.csv").exists())
    ranks = children(process.pid)
    assert ranks
    process.kill()
    process.communicate()
    until(lambda: not any(is_alive(pid) for pid in ranks))


def test_sigterm_saves_once_for_all_ranks_and_the_run_can_go_on(tmp_path: Path, tiny_arguments: list[str]) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *tiny_arguments, *DDP, "trainer.max_epochs=3000", f"hydra.run.dir={run}")
    until(lambda: (run / "metrics.csv").exists())
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 143, output
    assert report(run)["status"] == "preempted"
    done = len(columns(run))
    code, output = finish(start(tmp_path, f"resume={run}", f"trainer.max_epochs={done + 2}"))
    assert code == 0, output
    assert report(run)["status"] == "completed"
    assert len(columns(run)) == done + 2


ONE, TWO = ("trainer=cpu", "data.batch_size=32"), (*DDP, "data.batch_size=16")


@pytest.mark.parametrize(("first", "then"), [(TWO, ONE), (ONE, TWO)])
def test_a_run_stopped_on_so_many_ranks_goes_on_with_another_number_of_them(
    command: Command, tiny_arguments: list[str], tmp_path: Path, first: tuple[str, ...], then: tuple[str, ...]
) -> None:
    common = [*tiny_arguments, "optimizer=sgd", "optimizer.lr=0.05"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert command("train", *common, *ONE, f"hydra.run.dir={whole}").returncode == 0
    stopped = command("train", *common, *first, *stopping(signal.SIGTERM, step=22), f"hydra.run.dir={part}")
    assert stopped.returncode == 143, stopped.stderr
    world = ["trainer.devices=2", "trainer.strategy=ddp"] if then is TWO else ["trainer.devices=1"]
    done = command("train", f"resume={part}", *world, then[-1], "~callbacks.stop")
    assert done.returncode == 0, done.stderr
    assert report(part)["effective"]["world_size"] == (2 if then is TWO else 1)
    for expected, found in zip(columns(whole), columns(part), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    first_weights, second_weights = weights(whole), weights(part)
    for key, tensor in first_weights.items():
        torch.testing.assert_close(tensor, second_weights[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("ranks", [ONE, TWO])
def test_a_deterministic_run_repeats_itself_bit_for_bit(
    command: Command, tiny_arguments: list[str], tmp_path: Path, ranks: tuple[str, ...]
) -> None:
    model = ("model=mlp", "model.hidden=[32]", "model.dropout=0.3", "data.augment=true", "trainer.deterministic=true")
    runs = [tmp_path / "first", tmp_path / "second"]
    for run in runs:
        done = command("train", *tiny_arguments, *model, *ranks, f"hydra.run.dir={run}")
        assert done.returncode == 0, done.stderr
    assert equal(*map(weights, runs))
    assert columns(runs[0]) == columns(runs[1])


def test_ddp_jobs_of_a_sweep_share_nothing_and_see_one_config(tmp_path: Path, tiny_arguments: list[str]) -> None:
    arguments = ["-m", *tiny_arguments, *DDP, "optimizer.lr=0.1,0.01", "sweep.name=s", "hydra.launcher.slots=2"]
    code, output = finish(start(tmp_path, *arguments))
    assert code == 0, output
    found = [report(path.parent) for path in sorted((tmp_path / "outputs/sweeps/s").glob("[0-9]*/report.json"))]
    assert [each["status"] for each in found] == ["completed", "completed"]
    assert [each["effective"]["lr"] for each in found] == [0.1, 0.01]
    assert all(each["effective"]["world_size"] == 2 for each in found)


def test_torchrun_with_two_nodes_on_one_machine_makes_one_run(
    tmp_path: Path, tiny_arguments: list[str], unused_port: int
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1")
    nodes = [
        start(
            tmp_path,
            *(f"--node-rank={rank}", f"--master-port={unused_port}", "-m", "src.train", *tiny_arguments),
            *("trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2"),
            program=torchrun,
        )
        for rank in (0, 1)
    ]
    ends = [finish(node) for node in nodes]
    assert [code for code, _ in ends] == [0, 0], ends
    (path,) = (tmp_path / "outputs").rglob("report.json")
    found = report(path.parent)
    assert (found["status"], found["effective"]["world_size"], found["effective"]["num_nodes"]) == ("completed", 2, 2)


def test_the_learning_rate_scales_with_the_processes_if_asked(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = command("train", *tiny_arguments, *DDP, "scale_lr=true", "optimizer.lr=0.01", f"hydra.run.dir={run}")
    assert done.returncode == 0, done.stderr
    assert report(run)["effective"]["lr"] == 0.02
    with (run / "metrics.csv").open() as file:
        assert {row["lr"] for row in csv.DictReader(file)} == {"0.02"}


class Draw(Callback):
    """Writes down a random number of each rank, drawn as dropout draws its masks."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            path = Path(trainer.default_root_dir) / f"drawn_{trainer.global_rank}"
            path.write_text(str(torch.rand(()).item()))


def test_ranks_draw_different_dropout(command: Command, tiny_arguments: list[str], tmp_path: Path) -> None:
    draw = "+callbacks.draw._target_=tests.distributed.test_ddp.Draw"
    done = command("train", *tiny_arguments, *TWO, draw, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert len({path.read_text() for path in (tmp_path / "run").glob("drawn_*")}) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_ranks_with_dropout_resume_bit_for_bit(
    command: Command, tiny_arguments: list[str], tmp_path: Path, number: int
) -> None:
    # 539 images: the last global batch is uneven.
    model = ("model=mlp", "model.hidden=[32]", "model.dropout=0.3", "data.augment=true", "trainer.max_epochs=3")
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert command("train", *tiny_arguments, *model, *TWO, f"hydra.run.dir={whole}").returncode == 0
    stop = stopping(number, step=22)
    stopped = command("train", *tiny_arguments, *model, *TWO, *stop, f"hydra.run.dir={part}")
    assert stopped.returncode == (143 if number == signal.SIGTERM else -number), stopped.stderr
    done = command("train", f"resume={part}", "~callbacks.stop")
    assert done.returncode == 0, done.stderr
    assert equal(weights(whole), weights(part))
    assert columns(whole) == columns(part)
