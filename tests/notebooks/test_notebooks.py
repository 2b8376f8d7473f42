"""The notebooks run from top to bottom as they are in the repository, and are kept there without what they show."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT, TEST_CONF

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"quickstart", "autograd"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    for cell in read(path).cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)
    assert "colab" not in path.read_text().lower()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid(path: Path) -> None:
    nbformat.validate(read(path))


def executed(cells: list[Any], place: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the cells show, run in a fresh kernel on the tiny set."""
    monkeypatch.setenv("STROBE_NOTEBOOK", f"--config-dir={TEST_CONF} data=tiny data.root={data} trainer=cpu")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(place)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the client's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = read(path).cells
    if path.stem == "quickstart":
        cells.append(nbformat.v4.new_code_cell("button.click(); assert len(tried) == 1, tried"))
    shown = executed(cells, tmp_path, tiny_root, monkeypatch)
    pages = [each.get("data", {}).get("text/html", "") for each in shown]
    assert not [page for page in pages if page.strip().endswith("></pre>")], "no empty output"
    assert len([each for each in shown if "image/png" in each.get("data", {})]) >= 4, "it has figures"
    if path.stem == "quickstart":
        assert any("<table" in each.get("data", {}).get("text/html", "") for each in shown)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_interrupting_the_kernel_saves_the_run_and_the_next_cell_goes_on(
    tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        "import os, signal, threading, time, strobe\nMINE = os.environ['STROBE_NOTEBOOK'].split()",
        """
def interrupt():
    while not os.path.exists("stopped/metrics.csv"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
try:
    strobe.train([*MINE, "model=mlp", "trainer.max_epochs=5000", "hydra.run.dir=stopped"])
    raise AssertionError("it was not interrupted")
except KeyboardInterrupt as stop:
    assert "resume=" in str(stop), stop
run = strobe.load_run("stopped")
assert run.status == "interrupted", run.status
""",
        """
before = len(run.metrics)
run = strobe.train(["resume=stopped", f"trainer.max_epochs={before + 2}"])
assert run.status == "completed", run.status
""",
    ]
    executed([nbformat.v4.new_code_cell(text) for text in cells], tmp_path, tiny_root, monkeypatch)
