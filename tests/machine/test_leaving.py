"""The end of a command's process: the same for whoever sees it, but for the time it takes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

_PROGRAM = """
import atexit, ctypes, gzip, logging, multiprocessing, os, sys, threading, time, zipfile
from concurrent.futures import ThreadPoolExecutor
from strobe.machine.leaving import leave

class Taken:
    '''An object that is taken apart at Python's own end, where it is in use until then.'''
    def __del__(self):
        os.write(1, b'taken apart\\n')

taken = Taken()

def main():
    {body}

if __name__ == "__main__":
    leave(main)
"""


def left(
    tmp_path: Path, body: str, *flags: str, module: str = "program", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with this body as a program of its own, which has ended in time."""
    (tmp_path / "program.py").write_text(_PROGRAM.format(body=body.replace("\n", "\n    ")))
    command = [sys.executable, *flags, "-m", module] if module else [sys.executable, *flags, "program.py"]
    paths = os.pathsep.join([str(ROOT / "src"), str(tmp_path)])
    return subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("return 0", 0, ""),
        ("return 2", 2, ""),
        ("return 143", 143, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(130)", 130, ""),
        ("sys.exit('a text')", 1, "a text\n"),
        ("raise ValueError('no')", 1, "ValueError: no\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
    ],
    ids=str,
)
def test_a_command_ends_with_its_code_and_its_message(tmp_path: Path, body: str, code: int, told: str) -> None:
    done = left(tmp_path, body)
    assert done.returncode == code
    assert done.stderr.endswith(told)
    quickly = code >= 0 and not told
    assert (done.stdout == "") is quickly  # taken apart only where it is Python that ends it


def test_whoever_waits_for_the_end_is_served_before_it(tmp_path: Path) -> None:
    body = """
logging.basicConfig(handlers=[logging.StreamHandler(sys.stdout)])
atexit.register(lambda: logging.warning('an exit handler'))
atexit.register(lambda: 1 / 0)
def late(what):
    time.sleep(0.2)
    print(what)
threading.Thread(target=late, args=['a thread']).start()
ThreadPoolExecutor().submit(late, 'a pool')
multiprocessing.get_context('fork').Process(target=late, args=['a child']).start()
ctypes.CDLL(None).printf(b'C\\n')
sys.stdout.write('no end of line')
return 3
"""
    done = left(tmp_path, body)
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr  # as Python tells it
    assert [
        word for word in ("an exit handler", "a thread", "a pool", "a child", "C\n", "line") if word not in done.stdout
    ] == []
    assert "taken apart" not in done.stdout


def test_what_was_written_to_a_file_that_nobody_closed_is_in_it(tmp_path: Path) -> None:
    body = """
global text, packed, archive
text = open('text', 'w')
text.write('a' * 10)
packed = gzip.open('packed.gz', 'wt')
packed.write('b' * 10)
archive = zipfile.ZipFile('archive.zip', 'w')
archive.writestr('c', 'c' * 10)
own = [archive]
own.append(own)  # what nobody uses any more goes as it always does, also where it holds itself
del globals()['archive']
return 0
"""
    assert left(tmp_path, body).returncode == 0
    assert (tmp_path / "text").read_text() == "a" * 10
    read = "import gzip, zipfile; print(gzip.open('packed.gz', 'rt').read(), zipfile.ZipFile('archive.zip').namelist())"
    there = subprocess.run([sys.executable, "-c", read], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert there.stdout == "bbbbbbbbbb ['c']\n"


@pytest.mark.parametrize(
    ("flags", "module", "env"),
    [
        (("-X", "dev"), "program", {}),
        ((), "program", {"CUDA_INJECTION64_PATH": "a profiler's library"}),
        (("-m", "cProfile"), "", {}),
        (("-c", "import runpy; runpy.run_module('program', run_name='__main__')"), "", {}),
        (("-c", "import sys; sys.settrace(lambda *given: None); import runpy; runpy.run_path('program.py')"), "", {}),
    ],
    ids=str,
)
def test_python_ends_a_process_itself_where_someone_looks_on(
    tmp_path: Path, flags: tuple[str, ...], module: str, env: dict[str, str]
) -> None:
    done = left(tmp_path, "return 0", *flags, module=module, **env)
    assert "taken apart" in done.stdout


def test_a_stream_that_takes_nothing_is_told_of_as_ever(tmp_path: Path) -> None:
    done = left(tmp_path, "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('lost')\nreturn 0")
    assert done.returncode == 120
    assert "No space left on device" in done.stderr
