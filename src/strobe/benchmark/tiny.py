"""A table so small that what is measured is everything around the training."""

import random
from pathlib import Path

_ROWS, _NUMBERS, _KINDS = 240, 4, "xyz"


def write(path: Path) -> list[str]:
    """Write the table: numbers around a mean for each kind; the overrides that train on it, with a net of its size."""
    draw = random.Random(0)
    rows = [",".join([*(f"n{index}" for index in range(_NUMBERS)), "kind"])]
    for index in range(_ROWS):
        kind = index % len(_KINDS)
        rows.append(",".join([*(f"{draw.gauss(kind, 1):.3f}" for _ in range(_NUMBERS)), _KINDS[kind]]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["data=table", f"data.path={path}", "data.target=kind", "model=mlp", "model.hidden=[16]", "test=false"]
