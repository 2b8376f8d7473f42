"""What the pages say works as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, report


def test_the_task_that_a_page_writes_trains_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    assert len(page.splitlines()) <= 60
    (code,) = re.findall(r"```python\n# words.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "words.py").write_text(code)
    for path, target in re.findall(r"`(conf/\w+/\w+\.yaml)` is `(_target_: [\w.]+)`", page):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(target)
    (line,) = re.findall(r"^    strobe (train --config-dir.*)$", page, re.MULTILINE)
    (metric,) = re.findall(r"`'(\+metrics.*?)'`", page)
    done = subprocess.run(
        [sys.executable, "-m", "strobe", *line.split(), metric, "trainer=cpu", "hydra.run.dir=run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert report(tmp_path / "run")["metrics"]["test/right"] > 0.9
    assert 0.9 < report(tmp_path / "run")["metrics"]["val/f1"] <= 1
