"""Which processes run."""

import os
import subprocess
import sys
import time

from strobe.machine.process import is_running, process_age_s


def test_a_process_runs_while_it_does_and_is_not_another_with_its_number() -> None:
    now = time.time()
    assert is_running(os.getpid(), now)
    assert not is_running(os.getpid(), now - process_age_s() - 60)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.1)
    started = time.time()
    while is_running(ended.pid, started) and time.time() < started + 120:
        time.sleep(0.05)  # a zombie until it is waited for
    assert not is_running(ended.pid, started)
    ended.wait()


def test_what_no_process_can_have_as_its_number_does_not_run() -> None:
    assert not any(is_running(pid, time.time()) for pid in (-1, 2**31 - 1, 10**30))


def test_the_age_grows() -> None:
    began = time.monotonic()
    first = process_age_s()
    time.sleep(0.05)
    second = process_age_s()
    assert 0 < first < second < first + time.monotonic() - began + 0.1
