import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_CONF

TINY = ("model=mlp", "model.hidden=[32]", "trainer=cpu", "trainer.max_epochs=1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def tiny(tiny_root: Path) -> dict[str, Any]:
    """What makes `strobe.train` train on the tiny set: overrides and config directory."""
    return {"overrides": ["data=tiny", f"data.root={tiny_root}", *TINY], "config_dir": TEST_CONF}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Path:
    """A directory in which there is one run, `outputs/first`."""
    import strobe

    place, before = tmp_path_factory.mktemp("first"), Path.cwd()
    os.chdir(place)
    try:
        strobe.train(["data=tiny", f"data.root={tiny_root}", *TINY, "hydra.run.dir=outputs/first"], TEST_CONF)
    finally:
        os.chdir(before)
    return place
