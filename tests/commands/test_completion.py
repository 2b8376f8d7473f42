"""Tab: what is offered, in words and in real shells."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strobe.commands.candidates import FLAGS, VALUES, candidates, words_of
from strobe.commands.completion import main
from strobe.commands.names import COMMANDS
from strobe.record.layout import FORMATS
from strobe.record.shapes import STATUSES
from tests.commands.listed import write_run
from tests.conftest import ROOT, TEST_CONF


def offered(line: str) -> list[str]:
    return [candidate for candidate, _ in candidates(words_of(line))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("strobe ev", ["evaluate"]),
        ("python -m src.ev", ["src.evaluate"]),
        ("strobe train mod", ["model=", "model."]),
        ("python -m src.train optimizer.l", ["optimizer.lr="]),
        ("strobe train optimizer=sgd optimizer.mo", ["optimizer.momentum="]),
        ("strobe train experiment=mnist_cnn model.wi", ["model.widths="]),
        ("strobe train model=s", ["model=simple_nn"]),
        ("strobe train -m model=mlp,c", ["model=mlp,cnn"]),
        ("strobe train 'callbacks=[early_", ["callbacks=[early_stopping]"]),
        ("strobe train 'callbacks=[early_stopping,em", ["callbacks=[early_stopping,ema]"]),
        ("strobe train +optimizer=ad", ["+optimizer=adagrad", "+optimizer=adam", "+optimizer=adamw"]),
        ("strobe train data.augment=", ["data.augment=true", "data.augment=false"]),
        ("strobe train monitor.mode=", ["monitor.mode=max", "monitor.mode=min"]),
        ("strobe train model=cnn model.norm=", ["model.norm=none", "model.norm=batch", "model.norm=layer"]),
        ("strobe train trainer.prec", ["trainer.precision="]),
        ("strobe train hydra/l", ["hydra/launcher="]),
        ("strobe train hydra/launcher=s", ["hydra/launcher=slurm"]),
        ("strobe train sweep=optuna hydra.sweeper.pruner=h", ["hydra.sweeper.pruner=hyperband"]),
        ("strobe train data.augmentations.affine.d", ["data.augmentations.affine.degrees="]),
        ("strobe train --mu", ["--multirun"]),
        ("strobe train --cfg ", ["job", "hydra", "all"]),
        ("strobe train --help opt", ["optimizer"]),
        ("strobe train 'model=m", ["model=mlp"]),
        ("CUDA_VISIBLE_DEVICES=0 strobe train model=m", ["model=mlp"]),
        ("strobe train nonsense", []),
        ("strobe nonsense ", []),
        ("strobe completion f", ["fish"]),
        ("strobe export x --format t", ["torch_export", "torchscript"]),
        ("strobe evaluate x trainer.acc", ["trainer.accelerator=", "trainer.accumulate_grad_batches="]),
    ],
)
def test_tab_offers(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_tab_offers_every_command_and_group() -> None:
    assert offered("strobe ") == list(COMMANDS)
    everything = offered("strobe train ")
    assert {"model=", "data=", "seed=", "trainer.", "experiment=", "resume="} <= set(everything)


def test_tab_knows_ones_own_configs() -> None:
    assert offered(f"strobe train --config-dir={TEST_CONF} data=ti") == ["data=tiny"]
    assert offered(f"strobe train --config-dir {TEST_CONF} data=ti") == ["data=tiny"]


def test_tab_offers_runs_where_a_run_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered("strobe train resume=") == ["resume=latest"]
    older, newer = (str(write_run(Path("outputs") / "train" / day / "10-00")) for day in ("2026-11-20", "2026-11-21"))
    assert offered("strobe train resume=") == ["resume=latest", f"resume={newer}", f"resume={older}"]
    assert offered("strobe train resume=outputs/train/2026-11-20/") == [f"resume={older}"]
    for command in ("evaluate", "predict", "export", "report", "rm"):
        assert {"latest", newer, older} <= set(offered(f"strobe {command} "))
    (tmp_path / "elsewhere" / "inner").mkdir(parents=True)
    assert offered(f"strobe train resume={tmp_path}/else") == [f"resume={tmp_path}/elsewhere/"]
    assert offered("strobe evaluate else") == ["elsewhere/"]


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"train", "summary"}))
def test_the_flags_offered_are_those_that_a_command_has(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import import_module

    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit):
        import_module(f"strobe.commands.{command}").main()
    shown = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE))
    assert shown == set(FLAGS[command])


def test_the_words_offered_are_those_that_are_taken() -> None:
    assert set(VALUES["--format"]) == set(FORMATS)
    assert set(VALUES["--status"]) == set(STATUSES)


def test_an_answer_to_tab_needs_no_hydra() -> None:
    code = (
        "import sys; from strobe.commands.completion import main; main(['--answer', '--line', 'strobe train mod']);"
        "print({'hydra', 'omegaconf', 'torch', 'rich'} & set(sys.modules))"
    )
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.splitlines()[-1] == "set()"


_BASH = """
complete_line() {
  COMP_LINE="$1"; COMP_POINT=${#1}; COMPREPLY=()
  _strobe_complete "${1%% *}"
  echo "${COMPREPLY[*]}"
}
complete_line 'python -m src.train mod'
complete_line 'python -m src.train model=s'
complete_line 'python other.py mod'
complete -p python
"""
_ZSH = """
compdef() { :; }
compadd() { local last="${@[-1]}"; print -r -- ${(P)last}; }
_files() { print files; }
words=(python -m src.train mod); CURRENT=4; PREFIX=mod; _strobe_complete
words=(python -m src.train model=s); PREFIX=model=s; _strobe_complete
words=(python other.py mod); CURRENT=3; PREFIX=mod; _strobe_complete
"""
_FISH = """
complete -C'python -m src.train mod' | string replace -r '\\t.*' ''
complete -C'python -m src.train model=s'
complete -C'python -m src.tra' | string replace -r '\\t.*' ''
"""


@pytest.mark.parametrize(
    ("shell", "load", "typed", "expected"),
    [
        ("bash", 'eval "$(python -m src.completion bash)"', _BASH, ["model= model.", "simple_nn", ""]),
        ("zsh", 'compdef() { :; }; eval "$(python -m src.completion zsh)"', _ZSH, ["model= model.", "model=simple_nn"]),
        ("fish", "python -m src.completion fish | source", _FISH, ["model.", "model=", "model=simple_nn"]),
    ],
)
def test_a_shell_completes(shell: str, load: str, typed: str, expected: list[str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *quiet, "-c", f"{load}\n{typed}"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines[: len(expected)]] == [line.split() for line in expected], lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_says_how_it_is_loaded(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shell]) == 0
    assert f"strobe completion {shell}" in capsys.readouterr().out


ODD_NAMES = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    ";touch pwned;",
    "&touch pwned&",
    "|touch pwned",
    "<x>pwned",
    "*?[a]{b,c}",
    "back\\slash\\",
    "quo'te'$(touch pwned)'",
    'quo"te"$(touch pwned)"',
    "#comment !! ~",
]


def in_a_shell(shell: str, script: str, place: Path, *arguments: str) -> str:
    """What a shell without settings of its own prints for a script, with the place as its working directory."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "HOME": str(place)}
    command = [shell, *quiet, "-c", script, *([shell] if shell != "fish" else []), *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    return done.stdout


def script_of(shell: str) -> str:
    return (ROOT / "src/strobe/commands/shells" / f"strobe.{shell}").read_text()


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_bash_types_a_name_as_a_word_whatever_it_holds(name: str, quote: str, tmp_path: Path) -> None:
    typed = "candidate=$1 quote=$2; _strobe_escape; printf '%s' \"$candidate\""
    word = in_a_shell("bash", f"{script_of('bash')}\n{typed}", tmp_path, name, quote)
    assert "!" not in re.sub(r"'!+'|\\!", "", word) or quote == "'"
    assert in_a_shell("bash", f"printf '%s' {quote}{word}{quote}", tmp_path) == name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "quote", "cut"),
    [
        ("strobe train model=m", "", "model="),
        ("strobe train 'model=m", "'", ""),
        ("strobe train model='m", "'", "model="),
        ('strobe train resume="outputs/a b', '"', "resume="),
        (r"strobe train resume=outputs/a\ b", "", "resume="),
        ("strobe train name='a b' se", "", ""),
    ],
)
def test_bash_knows_what_readline_replaces(line: str, quote: str, cut: str, tmp_path: Path) -> None:
    typed = '_strobe_read "$1"; printf "%s\\n" "$quote" "$cut"'
    assert in_a_shell("bash", f"{script_of('bash')}\n{typed}", tmp_path, line) == f"{quote}\n{cut}\n"


def test_a_name_that_ends_a_line_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "with\nline", "with\ttab", "with\x1b[2J"):
        write_run(Path("outputs") / name)
    assert main(["--answer", "strobe", "train", "resume=outputs/"]) == 0
    assert capsys.readouterr().out == "resume=outputs/plain\n"


_ELSEWHERE = {
    "bash": "COMP_LINE='python -m src.train '; COMP_POINT=${#COMP_LINE}; _strobe_complete python",
    "zsh": "_files() { :; }; words=(python -m src.train ''); CURRENT=4; PREFIX=''; _strobe_complete",
    "fish": "complete -C'python -m src.train '; true",
}


@pytest.mark.parametrize("shell", _ELSEWHERE)
def test_tab_runs_nothing_of_another_project(shell: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/completion.py").write_text("open('pwned', 'w')")
    before = "compdef() { :; }\n" if shell == "zsh" else ""
    in_a_shell(shell, f"{before}{script_of(shell)}\n{_ELSEWHERE[shell]}", tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_what_completes_python_otherwise_is_kept(tmp_path: Path) -> None:
    loader = "_comp_load() { complete -F _of_another $1; }; _of_another() { echo other; }"
    typed = f"COMP_LINE='python x'; COMP_POINT=8; {_ELSEWHERE['bash'].rpartition(';')[2]}"
    assert in_a_shell("bash", f"{loader}\n{script_of('bash')}\n{typed}", tmp_path) == "other\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_zsh_shows_a_candidate_on_a_line(columns: int, tmp_path: Path) -> None:
    said = f"trainer.precision=\\t{'32 # 16-mixed, bf16-mixed ' * 5}\\nseed=\\t1\\n"
    stubs = f"compdef() {{ :; }}; strobe() {{ printf '{said}'; }}; compadd() {{ print -rl -- $goes_on_said; }}"
    typed = f"COLUMNS={columns}; words=(strobe train ''); CURRENT=3; PREFIX=''; _strobe_complete"
    long, short = in_a_shell("zsh", f"{stubs}\n{script_of('zsh')}\n{typed}", tmp_path).splitlines()
    assert len(long) == columns - 1, "the last column breaks the line"
    assert long.startswith("trainer.precision=  32 # 16-mixed")
    assert long.endswith("...")
    assert short == "seed=  1"
