"""`--help`: what a person reads before the first run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strobe.commands.config_files import ConfigFiles
from strobe.commands.help import help_of_train
from strobe.commands.names import COMMANDS
from strobe.commands.train import main
from strobe.errors import ConfigError
from tests.commands.listed import write_run
from tests.conftest import TEST_CONF


def test_help_shows_what_the_yaml_says_with_its_comments() -> None:
    text = help_of_train(["--help"])
    for line in (
        "seed: 1                    # weights, order of the data, augmentation, dropout",
        "  num_nodes: 1 ",
        "# 32, 16-mixed, bf16-mixed, bf16-true, 64,",
        "  eval_batch_size: 1000  # validation and test; per device and step",
        "  model: cnn, lstm, mlp, resmlp, resnet, simple_nn*,",
    ):
        assert line in text


def test_help_names_every_command_as_it_is_typed() -> None:
    text = help_of_train(["--help"])
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []
    assert "strobe train" in text
    assert "python -m" not in text + help_of_train(["experiment=mnist_cnn", "--help"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *(["--help", group] for group in ("model", "data", "trainer", "experiment", "optimizer", "hydra/launcher")),
        *([choice, "--help"] for choice in ("model=cnn", "experiment=mnist_cnn", "sweep=optuna", "trainer=ddp")),
    ],
    ids=" ".join,
)
def test_help_fits_80_columns(arguments: list[str]) -> None:
    assert [line for line in help_of_train(arguments).splitlines() if len(line) > 80] == []


def test_help_on_a_group_tells_its_options_apart() -> None:
    text = help_of_train(["--help", "model"])
    assert "  cnn          Stages of 3x3 convolutions" in text
    assert "simple_nn*" in text
    assert "One process per GPU of this machine" in help_of_train(["--help", "trainer"])


def test_help_on_an_option_shows_its_keys_with_comments() -> None:
    text = help_of_train(["model=cnn", "--help"])
    assert text.startswith("model=cnn\n")
    assert "  stem_kernel: 3        # of the first convolution, odd" in text
    assert "max_epochs" not in text
    data = help_of_train(["data=mnist", "-h"])
    assert "  batch_size: 64" in data, "of the file that it begins with"
    assert "chooses model=cnn, optimizer=adamw, scheduler=onecycle" in help_of_train(["experiment=mnist_cnn", "-h"])


def test_help_on_a_key_shows_it() -> None:
    assert help_of_train(["--help", "trainer.precision"]).startswith("trainer.precision: 32  # 32, 16-mixed")
    assert "widths" not in help_of_train(["--help", "optimizer"])


def test_help_knows_ones_own_options() -> None:
    assert "tiny" in help_of_train([f"--config-dir={TEST_CONF}", "--help", "data"])
    assert "tiny" in help_of_train(["--config-dir", str(TEST_CONF), "--help"])
    assert "tiny" in help_of_train(["--config-di", str(TEST_CONF), "--help", "data"])


@pytest.mark.parametrize("flags", ["-c job", "--cfg job", "--info defaults", "-i searchpath", "--package optimizer"])
def test_help_takes_no_value_of_a_flag_for_a_topic(flags: str) -> None:
    assert help_of_train([*flags.split(), "--help"]) == help_of_train(["--help"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--help", "optimzer"], "did you mean --help optimizer?"),
        (["--help", "lr"], "did you mean --help optimizer.lr?"),
        (["model=cn", "--help"], "model=cn: no such option; did you mean model=cnn?"),
    ],
)
def test_help_on_what_there_is_not_names_what_there_is(arguments: list[str], word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        help_of_train(arguments)
    assert word in str(refused.value)


def test_help_ends_well_and_a_wrong_word_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["strobe train", "--help", "model"])
    assert main() == 0
    monkeypatch.setattr(sys, "argv", ["strobe train", "--help", "nonsense"])
    assert main() == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_projects_folder_holds_groups_and_much_that_is_none(tmp_path: Path) -> None:
    for name in (
        "model/net",
        "hydra/launcher/own",
        "outputs/train/1/.hydra/config",
        "outputs/train/2/config",
        ".git/x/y",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.yaml").touch()
    write_run(tmp_path / "runs/first")
    (tmp_path / "sweeps/s/0").mkdir(parents=True)
    (tmp_path / "sweeps/s/.sweep").touch()
    (tmp_path / "sweeps/s/0/config.yaml").touch()
    (deep := tmp_path.joinpath("a/b/c/d/e/f")).mkdir(parents=True)
    (deep / "x.yaml").touch()
    found = ConfigFiles([tmp_path]).groups()
    assert set(found) - {"hydra/launcher", "hydra/sweeper"} == {"model"}
    assert "own" in found["hydra/launcher"]


def test_a_folder_that_vanishes_while_groups_are_looked_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in ("first", "second"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "x.yaml").touch()
    look = os.scandir

    def gone(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "second":
            raise FileNotFoundError(path)
        return look(path)

    monkeypatch.setattr(os, "scandir", gone)
    found = ConfigFiles([tmp_path]).groups()
    assert "first" in found
    assert "second" not in found
