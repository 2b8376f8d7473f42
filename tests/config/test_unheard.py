"""A word that no config has is answered before Hydra composes anything; all others are left to it."""

import shutil
from pathlib import Path

import pytest

from strobe.config import unheard
from strobe.config.place import CONF
from strobe.config.unheard import unheard_of


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("optimzer.lr=0.1", "did you mean optimizer.lr=0.1?"),
        ("model=mlp model.widht=3", "model.widht"),
        ("model=mpl", "did you mean model=mlp?"),
        ("seed=2 trainer.max_epoch=3 model=mlp", "trainer.max_epochs=3"),
    ],
)
def test_a_word_that_no_config_has_is_a_mistake(hydra_here: None, typed: str, answer: str) -> None:
    (line,) = unheard_of(typed.split(), CONF)
    assert answer in line


def test_every_mistake_of_such_a_command_is_told(hydra_here: None) -> None:
    first, second = unheard_of(["optimzer.lr=0.1", "model.lr=3"], CONF)
    assert "optimzer.lr" in first
    assert "model.lr" in second


@pytest.mark.parametrize(
    "typed",
    [
        "seed=1 model=mlp model.hidden=[8,8] optimizer.lr=0.1 trainer.precision=16-mixed",
        "model=null data=image_folder data.root=/a/b.c=d",
        "-m model=mlp,mpl seed=1,2",
        "sweep=lr model.widht=3",
        "+model.extra={aa:1} model.extra.aa=2",
        "+model.widht=3",
        "++anything.else=3",
        "~logger",
        "experiment=mnist_cnn debug=limit sweep=lr",
        "hydra.nothing=3 hydra/launcher=slurm",
        "model=mine own.key=3 --config-dir elsewhere",
        "resume=a/run own.key=3",
        "model=mine own.key=3 hydra.searchpath=[file:///elsewhere]",
    ],
)
def test_what_is_heard_of_or_may_be_elsewhere_is_left_to_hydra(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unheard, "mistakes_of", lambda arguments, conf: pytest.fail(f"composed for {arguments}"))
    assert unheard_of(typed.split(), CONF) == []


def test_every_name_of_every_config_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unheard, "mistakes_of", lambda arguments, conf: ["composed"])
    for path in sorted(CONF.rglob("*.yaml")):
        group, option = path.parent.relative_to(CONF), path.stem
        if group != Path():
            assert unheard_of([f"{group}={option}"], CONF) == []


@pytest.mark.parametrize("name", [".#mine.yaml", "latin.yaml"])
def test_a_file_that_nobody_chooses_may_be_anything(tmp_path: Path, name: str) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    odd = tmp_path / "conf" / "experiment" / name
    if name.startswith("."):
        odd.symlink_to("nowhere")
    else:
        odd.write_bytes(b"note: caf\xe9\n")
    assert unheard_of(["optimzer.lr=0.1"], tmp_path / "conf") == []


def test_configs_that_are_looked_for_elsewhere_too_may_have_any_word(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    with (tmp_path / "conf" / "train.yaml").open("a") as file:
        file.write("\nhydra:\n  searchpath: [file:///elsewhere]\n")
    assert unheard_of(["model=mine"], tmp_path / "conf") == []
