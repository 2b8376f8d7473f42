"""Output that nobody reads, that is closed, full, or can't hold a character."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAD = "import sys; from strobe.machine.streams import answer, settle_streams; settle_streams()\n"


def shell(code: str, redirection: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a shell, with its streams redirected; the exit code is Python's."""
    script = f'set -o pipefail; "$0" -c "$1" {redirection}'
    command = ["bash", "-c", script, sys.executable, HEAD + code]
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False, timeout=300)


MANY = "for line in range(100_000): print('line', line)\n"
LATER = "import time; print('one', flush=True); time.sleep(0.3)\nprint('two', flush=True); print('three')\n"


@pytest.mark.parametrize("redirection", ["| head -1", "2>&1 | head -1", ">&-", ">&- 2>&- <&-", "2>&- >/dev/null"])
@pytest.mark.parametrize("code", [MANY, LATER, "print('to stderr', file=sys.stderr)\n"])
def test_output_that_nobody_reads_is_no_trouble(code: str, redirection: str) -> None:
    done = shell(code + "sys.exit(7)", redirection)
    assert done.returncode == 7
    assert done.stderr in ("", "to stderr\n")


def test_output_that_does_not_fit_is_told_in_one_line() -> None:
    done = shell(MANY, "> /dev/full")
    assert (done.returncode, done.stderr) == (0, "can't write to the standard output: No space left on device\n")
    assert shell(MANY, "> /dev/full 2>&1").returncode == 0


@pytest.mark.parametrize(
    ("redirection", "code"), [("> /dev/full", 1), ("| true", 0), ("> /dev/null", 0), (">&-", 0), ("| cat", 0)]
)
def test_an_answer_that_was_lost_is_a_failure_unless_nobody_wanted_it(redirection: str, code: int) -> None:
    assert shell("sys.exit(answer('the answer'))", redirection).returncode == code


def test_no_file_is_opened_in_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = f"""
import os, subprocess
file = open({str(tmp_path / "file")!r}, "w")
os.write(1, b"raw")
subprocess.run(["bash", "-c", "echo of a child; echo of a child >&2"], check=True)
file.write("mine")
"""
    assert shell(code, ">&- 2>&-").returncode == 0
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_the_terminal_lacks_is_an_escape(encoding: str) -> None:
    done = shell("print('± 漢 \\udcff')", "", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert done.stdout.isascii() or encoding != "ascii"
    assert "\\udcff" in done.stdout


def test_a_pipe_that_does_not_wait_loses_nothing() -> None:
    code = "import os; os.set_blocking(1, False)\n" + MANY
    done = shell(code, "| (sleep 0.3; wc -l)")
    assert (done.stdout.strip(), done.stderr) == ("100000", "")


def test_a_secret_is_masked_in_what_is_printed() -> None:
    code = "from strobe.machine.secrets import learn; learn('hunter2'); print('x hunter2'); raise ValueError('hunter2')"
    done = shell(code, "")
    assert (done.stdout, done.returncode) == ("x ***\n", 1)
    assert done.stderr.endswith("ValueError: ***\n")
