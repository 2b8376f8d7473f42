"""A directory in which the commands of pages find what they name: a run, pictures, a table."""

from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from strobe.config.place import CONF
from tests.conftest import TEST_CONF

RUN = "outputs/train/2026-11-27/10-00-00"
FOLDER = "pictures_by_class"


def make(place: Path, data_root: Path) -> Path:
    """Make it.

    Args:
        place: An empty directory.
        data_root: Holds `tests.tiny.TinyDigits`.
    """
    from strobe.run.story import train

    random = np.random.default_rng(0)
    pictures = ["seven.png", "digit.png", "picture.png", "scans/a.png", "scans/b/c.png"]
    pictures += [f"{FOLDER}/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(12)]
    pictures += [f"flowers/{kind}/{number}.png" for kind in ("daisy", "rose") for number in range(150)]
    for name in pictures:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28)).astype(np.uint8)).save(place / name)
    rows = [f"{size},{rooms},{1000 * size + 500 * rooms}" for size, rooms in random.integers(1, 100, (200, 2))]
    (place / "houses.csv").write_text("\n".join(["size,rooms,price", *rows, ""]), encoding="utf-8")
    rows = [
        f"{length},{width},{'setosa' if length < 50 else 'virginica'}"
        for length, width in random.integers(1, 100, (200, 2))
    ]
    (place / "iris.csv").write_text("\n".join(["length,width,species", *rows, ""]), encoding="utf-8")
    tiny = [f"hydra.searchpath=[file://{TEST_CONF}]", "data=tiny", f"data.root={data_root}", "trainer=cpu"]
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none"]
    found_again = ["name=cnn", "tags=[paper]", "note='first try, lr lower'"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        train(compose("train", overrides=[*tiny, *short, *found_again]), place / RUN, [])
    GlobalHydra.instance().clear()
    return place
