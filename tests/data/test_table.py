"""Tables: what is read is what is in the file, and what can't be used is named by row and column."""

import csv
import hashlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from strobe.data import table_csv
from strobe.data.datamodule import ImageDataModule
from strobe.data.memory import MemoryDataModule
from strobe.data.table import TableDataModule
from strobe.data.table_column import MISSING, Mode, Texts
from strobe.data.table_file import column_names, read_table
from strobe.errors import ConfigError, DatasetError, RunError
from strobe.models.mlp import MLP
from strobe.models.simple_nn import SimpleNN
from tests.conftest import Compose
from tests.tiny import TinyDigits

Rows = Sequence[Sequence[object]]


def write(path: Path, header: Sequence[str], rows: Rows, **options: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def houses(count: int = 100) -> Rows:
    """Size, year, roof and price; the price tells the row."""
    return [
        [50 + row % 37, 1900 + row % 90, ("flat", "steep", "none at all")[row % 3], row + 0.5] for row in range(count)
    ]


HEADER = ["size", "year", "roof", "price"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "houses.csv", HEADER, houses())


def module(path: Path, **settings: Any) -> TableDataModule:
    made = TableDataModule(**{"path": str(path), "target": "price", "drop": ["roof"], **settings})
    made.setup()
    return made


def served(made: TableDataModule, split: str) -> tuple[Tensor, Tensor]:
    batches = list(getattr(made, f"{split}_dataloader")())
    return torch.cat([features for features, _ in batches]), torch.cat([targets for _, targets in batches])


def small(path: Path, text: str | bytes, **settings: Any) -> TableDataModule:
    """A table of this content, with target ``y`` and as many training rows as there are."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return module(path, **{"target": "y", "drop": [], "val_size": 0, "test_size": 0, **settings})


# What is served


def test_a_number_is_learnt_from_the_other_columns(file: Path) -> None:
    made = module(file, batch_size=32)
    features, targets = served(made, "train")
    assert (features.dtype, features.shape) == (torch.float32, (70, 2))
    assert (targets.dtype, targets.shape) == (torch.float32, (70,))
    assert [len(batch) for batch, _ in made.train_dataloader()] == [32, 32, 6]
    facts = made.facts()
    mean, std = torch.tensor(facts["mean"]), torch.tensor(facts["std"])
    for split in ("train", "val", "test"):
        features, targets = served(made, split)
        original = torch.tensor([houses()[int(price)][:2] for price in targets.tolist()], dtype=torch.float32)
        assert torch.allclose(features * std + mean, original, atol=1e-3), "each row keeps its own target"
    assert facts["kind"] == "numbers"
    assert (facts["num_outputs"], facts["num_classes"], facts["out_features"]) == (1, 1, 1)
    assert (facts["in_shape"], facts["num_features"], facts["features"]) == ([2], 2, ["size", "year"])
    assert (made.in_shape, made.num_classes) == ((2,), 1)
    assert facts["classes"] == []


def test_the_facts_are_plain_and_there_before_training(file: Path) -> None:
    made = TableDataModule(path=str(file), target="price", categorical=["roof"])
    facts = made.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["title"], facts["target"]) == ("houses.csv", "price")
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["split"] == {"train": 70, "val": 15, "test": 15, "seed": 0}
    file.unlink()
    assert made.facts() == facts, "the file is read once"
    made.setup()


def test_mean_and_deviation_are_those_of_the_training_rows(file: Path) -> None:
    made = module(file)
    features, _ = served(made, "train")
    assert torch.allclose(features.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(features.std(0, correction=0), torch.ones(2), atol=1e-5)
    rows = np.array([houses()[int(price)][:2] for price in served(made, "train")[1].tolist()], dtype=float)
    assert made.facts()["mean"] == pytest.approx(rows.mean(0).tolist())
    assert made.facts()["std"] == pytest.approx(rows.std(0).tolist())


def test_without_normalization_the_numbers_are_those_of_the_file(file: Path) -> None:
    made = module(file, normalize=False, shuffle=False, val_size=0, test_size=1)
    assert (made.facts()["mean"], made.facts()["std"]) == ([0.0, 0.0], [1.0, 1.0])
    features, targets = served(made, "train")
    assert features.tolist() == [houses()[int(price)][:2] for price in targets.tolist()]
    assert targets.tolist() == sorted(targets.tolist()), "unshuffled rows come in the order of the file"


def test_a_net_is_given_rows_as_those_it_was_trained_on(file: Path) -> None:
    made = module(file)
    made.trained_with = (0.0, 0.0), (2.0, 1.0)
    features, targets = served(made, "test")
    assert features[:, 0].tolist() == [houses()[int(price)][0] / 2 for price in targets.tolist()]  # type: ignore[operator]


@pytest.mark.parametrize("value", ["0.1", "7", "-1e30"])
def test_a_column_that_never_varies_becomes_zero(tmp_path: Path, value: str) -> None:
    lines = "".join(f"{value},{row},{row}\n" for row in range(50))
    features, _ = served(small(tmp_path / "t.csv", "a,b,y\n" + lines), "train")
    assert features[:, 0].unique().tolist() == [0]


def test_large_numbers_that_differ_by_little_keep_their_difference(tmp_path: Path) -> None:
    lines = "".join(f"{1_700_000_000 + row},{row}\n" for row in range(50))
    features, targets = served(small(tmp_path / "t.csv", "time,y\n" + lines), "train")
    assert torch.equal(features[:, 0].argsort(), targets.argsort())
    assert len(features.unique()) == 50


# Kinds of targets


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        (["cat", "dog", "ant"], "classes", ["ant", "cat", "dog"]),
        (["10", "9", "2"], "classes", ["2", "9", "10"]),
        (["1.0", "0.0"], "classes", ["0", "1"]),
        (["True", "False"], "classes", ["False", "True"]),
        (["1", "2", "many"], None, None),
        ([str(number) for number in range(20)], "classes", [str(number) for number in range(20)]),
        ([str(number) for number in range(21)], "numbers", []),
        (["0.5", "1"], "numbers", []),
    ],
)
def test_the_kind_of_a_target_follows_from_its_values(
    tmp_path: Path, values: list[str], kind: str | None, classes: list[str] | None
) -> None:
    text = "x,y\n" + "".join(f"{row},{values[row % len(values)]}\n" for row in range(60))
    if kind is None:  # numbers, but for some
        with pytest.raises(DatasetError, match=r"row 4, column 'y': 'many' is no number.*data\.kind=classes"):
            small(tmp_path / "t.csv", text)
        kind, classes = "classes", ["1", "2", "many"]
        made = small(tmp_path / "t.csv", text, kind="classes", shuffle=False)
    else:
        made = small(tmp_path / "t.csv", text, shuffle=False)
    facts = made.facts()
    assert (facts["kind"], facts["classes"]) == (kind, classes)
    _, targets = served(made, "train")
    if kind == "classes":
        assert targets.dtype == torch.int64
        names = [classes[target] for target in targets.tolist()]  # type: ignore[index]
        expected = [values[row % len(values)] for row in range(60)]
        assert names == [value.removesuffix(".0") for value in expected]
        assert facts["num_classes"] == facts["out_features"] == len(classes)  # type: ignore[arg-type]
    else:
        assert targets.dtype == torch.float32
        assert targets.tolist() == [float(values[row % len(values)]) for row in range(60)]


def test_a_person_may_say_what_kind_a_target_is(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row},{row % 40}\n" for row in range(80))
    assert small(tmp_path / "t.csv", text).facts()["kind"] == "numbers"
    assert small(tmp_path / "t.csv", text, kind="classes").facts()["num_classes"] == 40
    few = "x,y\n" + "".join(f"{row},{row % 3}\n" for row in range(80))
    made = small(tmp_path / "t.csv", few, kind="numbers")
    assert made.facts()["kind"] == "numbers"
    assert served(made, "train")[1].dtype == torch.float32


def test_several_targets_are_numbers_or_labels(tmp_path: Path) -> None:
    text = "x,a,b,c\n" + "".join(f"{row},{row % 2},{(row + 1) % 2}.0,{row % 3}\n" for row in range(30))
    made = small(tmp_path / "t.csv", text, target=["b", "a"], drop=["c"], shuffle=False)
    assert (made.facts()["kind"], made.facts()["classes"], made.facts()["target"]) == ("labels", ["b", "a"], ["b", "a"])
    _, targets = served(made, "train")
    assert (targets.dtype, targets[:2].tolist()) == (torch.float32, [[1, 0], [0, 1]])
    made = small(tmp_path / "t.csv", text, target=["a", "c"], drop=["b"], shuffle=False)
    assert (made.facts()["kind"], made.facts()["num_classes"], made.facts()["num_outputs"]) == ("numbers", 2, 2)
    assert served(made, "train")[1][:3].tolist() == [[0, 0], [1, 1], [0, 2]]
    assert made.facts()["features"] == ["x"]


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_a_list_of_one_target_has_a_dimension_of_its_own(tmp_path: Path, kind: str) -> None:
    text = "x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(30))
    assert served(small(tmp_path / "t.csv", text, target=["y"], kind=kind), "train")[1].shape == (30, 1)
    expected = (30,) if kind == "numbers" else (30, 1)
    assert served(small(tmp_path / "t.csv", text, kind=kind), "train")[1].shape == expected


def test_true_and_false_are_labels_and_features(tmp_path: Path) -> None:
    text = "x,a,b\n" + "".join(f"{row % 2 == 0},{row % 2 == 0},{row % 3 == 0}\n".lower() for row in range(30))
    made = small(tmp_path / "t.csv", text, target=["a", "b"], normalize=False)
    features, targets = served(made, "train")
    assert made.facts()["kind"] == "labels"
    assert torch.equal(features[:, 0], targets[:, 0])


# Features


def test_columns_of_texts_are_refused_unless_listed(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"'roof' in .*houses.csv holds texts \('flat', .*data\.categorical=\[roof\]"):
        module(file, drop=[])


def test_a_categorical_column_becomes_an_input_for_each_of_its_texts(file: Path) -> None:
    made = module(file, drop=[], categorical=["roof"], target="price")
    facts = made.facts()
    assert facts["features"] == ["size", "year", "roof=flat", "roof=none at all", "roof=steep"]
    assert facts["categorical"] == {"roof": ["flat", "none at all", "steep"]}
    assert (facts["mean"][2:], facts["std"][2:]) == ([0.0] * 3, [1.0] * 3), "they are not normalized"
    features, targets = served(made, "val")
    for row, price in zip(features.tolist(), targets.tolist(), strict=True):
        assert [facts["features"][2 + place] for place in range(3) if row[2 + place]] == [
            f"roof={houses()[int(price)][2]}"
        ]


def test_numbers_that_are_names_may_be_categorical(tmp_path: Path) -> None:
    text = "zip,y\n" + "".join(f"{('10115', '9')[row % 2]},{row / 2}\n" for row in range(30))
    made = small(tmp_path / "t.csv", text, categorical=["zip"])
    assert made.facts()["features"] == ["zip=9", "zip=10115"]


def test_a_text_that_no_training_row_has_is_zero_everywhere(tmp_path: Path, file: Path) -> None:
    test = write(tmp_path / "test.csv", HEADER, [[60, 1950, "thatched", 1], [60, 1950, "flat", 2]])
    made = module(file, drop=[], categorical=["roof"], test_path=str(test))
    features, _ = served(made, "test")
    assert features[:, 2:].tolist() == [[0, 0, 0], [1, 0, 0]]


def test_features_are_those_that_are_listed_in_that_order(file: Path) -> None:
    assert module(file, features=["year", "size"], drop=[]).facts()["features"] == ["year", "size"]
    assert module(file, features="year", drop=[]).facts()["features"] == ["year"], "one needs no brackets"


def test_columns_that_are_not_used_may_hold_anything(tmp_path: Path) -> None:
    text = "a,b,c,y\n" + "".join(f"{row},,{'x' * row},{row}\n" for row in range(30))
    for settings in ({"drop": ["b", "c"]}, {"features": ["a"]}):
        assert small(tmp_path / "t.csv", text, **settings).facts()["features"] == ["a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "prize"}, r"data\.target: .*houses\.csv has no column 'prize': did you mean 'price'\?"),
        ({"target": "q"}, "data.target: .* has no column 'q': it has 'size', 'year', 'roof', 'price'"),
        ({"drop": ["rof"]}, "data.drop: .* no column 'rof': did you mean 'roof'"),
        ({"features": ["sise"]}, "data.features: .* no column 'sise': did you mean 'size'"),
        ({"categorical": ["rooof"]}, "data.categorical: .* no column 'rooof': did you mean 'roof'"),
        ({"features": ["size", "price"]}, r"data\.features: 'price' is in data\.target too"),
        ({"drop": ["price"]}, "data.drop: 'price' is in data.target too"),
        ({"features": ["size", "roof"], "drop": ["roof"]}, "data.drop: 'roof' is in data.features too"),
        ({"categorical": ["roof"], "drop": ["roof"]}, "data.categorical: 'roof' is not among the features"),
        ({"features": ["size", "size"]}, "data.features: 'size' is named twice"),
        ({"features": []}, "no column left to learn from"),
        ({"drop": ["size", "year", "roof"]}, "no column left to learn from"),
        ({"target": []}, r"data\.target=\[\]"),
        ({"target": ["price", "roof"], "drop": []}, "data.target: 'roof' holds texts"),
        ({"target": ["price", "size"], "kind": "classes"}, "several columns can't be one class"),
        ({"kind": "regression"}, "data.kind='regression': choose classes, numbers or labels"),
    ],
)
def test_a_column_that_can_not_be_what_it_is_listed_for_is_named(
    file: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module(file, **{"drop": [], **settings} if settings.keys() & {"features", "categorical"} else settings)


# The split


def test_the_split_depends_on_its_seed_and_sizes_alone(tmp_path: Path, file: Path) -> None:
    def split(path: Path = file, **settings: Any) -> dict[str, list[float]]:
        made = module(path, **settings)
        return {name: sorted(served(made, name)[1].tolist()) for name in ("train", "val", "test")}

    first = split()
    assert sorted(chain(*first.values())) == [row + 0.5 for row in range(100)], "disjoint, and nothing is left out"
    assert split(seed=7, batch_size=3, normalize=False) == first
    other = [[1, 2000 - row, "x", price] for row, (*_, price) in enumerate(houses())]
    assert split(write(tmp_path / "other.csv", HEADER, other)) == first
    assert split(split_seed=1) != first
    assert split(val_size=0.3)["test"] == first["test"], "the test rows stay where there are other validation rows"
    assert split(val_size=15, test_size=15) == first, "a whole number is a number of rows"


def test_without_a_validation_set_its_rows_are_trained_on(file: Path) -> None:
    made = module(file, val_size=0)
    assert (len(made.splits["train"]), len(made.splits["val"]), len(made.splits["test"])) == (85, 0, 15)
    assert list(made.val_dataloader()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"val_size": 0.5, "test_size": 0.5},
            r"0\.5 .* are 50 and 50 rows of 100 in .*: there is none left to train on",
        ),
        ({"val_size": 100}, "none left to train on"),
        ({"test_size": 1000}, "none left to train on"),
        ({"val_size": 0.001}, r"data\.val_size=0\.001 of 100 rows is none"),
        ({"test_size": 0.001}, r"data\.test_size=0\.001 of 100 rows is none"),
        ({"val_size": -1}, r"data\.val_size=-1: choose a share"),
        ({"val_size": 1.0}, r"data\.val_size=1\.0"),
        ({"test_size": 1.5}, r"data\.test_size=1\.5"),
        ({"test_size": float("nan")}, r"data\.test_size=nan"),
        ({"test_size": True}, r"data\.test_size=True"),
        ({"val_size": "a few"}, r"data\.val_size='a few'"),
    ],
)
def test_sizes_that_leave_a_part_empty_are_refused(file: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        module(file, **settings)


def test_a_test_without_test_rows_says_so(file: Path) -> None:
    made = module(file, test_size=0)
    made.setup("fit")
    with pytest.raises(ConfigError, match=r"data\.test_size=0 leaves no rows to test on"):
        made.setup("test")


def test_a_file_of_test_rows_is_prepared_as_the_training_rows(tmp_path: Path, file: Path) -> None:
    header = ["price", "extra", "year", "size"]  # another order, and more
    test = write(tmp_path / "test.csv", header, [[row, "", 1900, 60.0] for row in range(5)])
    made = module(file, test_path=str(test))
    facts = made.facts()
    assert facts["split"] == {"train": 85, "val": 15, "test": 5, "seed": 0}
    assert facts["test_file"] == {"title": "test.csv", "sha256": hashlib.sha256(test.read_bytes()).hexdigest()}
    features, targets = served(made, "test")
    expected = [(value - mean) / std for value, mean, std in zip((60, 1900), facts["mean"], facts["std"], strict=True)]
    assert features[0].tolist() == pytest.approx(expected)
    assert targets.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["size", "price"], [1, 2], "it has no column 'year', and .*houses.csv has one"),
        (["size", "price", "year"], [1, 2, "old"], r"test\.csv, row 2, column 'year': 'old' is no number"),
        (["size", "price", "year"], [1, "", 3], r"test\.csv, row 2, column 'price': the cell is empty"),
    ],
)
def test_a_file_of_test_rows_that_does_not_fit_is_refused(
    tmp_path: Path, file: Path, header: list[str], row: list[object], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        module(file, test_path=str(write(tmp_path / "test.csv", header, [row])))


@pytest.mark.parametrize(
    ("train", "test", "codes"),
    [
        (["01", "x"], ["01"], [0]),
        (["1", "2"], ["2.0", "1"], [1, 0]),
        (["a", "b"], ["b"], [1]),
        (["1", "2"], ["3"], None),
    ],
)
def test_classes_of_a_file_of_test_rows_are_those_of_training(
    tmp_path: Path, train: list[str], test: list[str], codes: list[int] | None
) -> None:
    own = write(tmp_path / "test.csv", ["x", "y"], [[1, name] for name in test])
    text = "x,y\n" + "".join(f"{row},{train[row % 2]}\n" for row in range(20))
    settings: dict[str, Any] = {"test_path": str(own), "kind": "classes"}
    if codes is None:
        with pytest.raises(DatasetError, match=r"test\.csv, row 2, column 'y': its class is that of test rows alone"):
            small(tmp_path / "t.csv", text, **settings)
    else:
        assert served(small(tmp_path / "t.csv", text, **settings), "test")[1].tolist() == codes


def test_a_class_without_a_training_row_is_named(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(20))
    splits = {seed: small(tmp_path / "t.csv", text, test_size=5, split_seed=seed, normalize=False) for seed in range(3)}
    for seed, made in splits.items():
        row = int(served(made, "test")[0][0, 0])
        lines = text.splitlines()
        lines[row + 1] = f"{row},c"
        with pytest.raises(DatasetError, match=rf"row {row + 2}, column 'y': its class is that of test rows alone"):
            small(tmp_path / "t.csv", "\n".join(lines), test_size=5, split_seed=seed)


# Files


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_csv_of_every_dialect_is_read(tmp_path: Path, delimiter: str, end: str, mark: str, quoting: int) -> None:
    path = tmp_path / "t.csv"
    rows = [
        [row, f"{row}.25", ('with "quotes"', f"a{delimiter}b", "line\nbreak", "plain")[row % 4]] for row in range(40)
    ]
    write(path, ["first", "y", "naïve, name"], rows, delimiter=delimiter, lineterminator=end, quoting=quoting)
    path.write_bytes(mark.encode() + path.read_bytes())
    made = small(path, path.read_bytes(), categorical=["naïve, name"], normalize=False, shuffle=False)
    names = sorted({row[2] for row in rows})  # type: ignore[type-var]
    assert made.facts()["features"] == ["first", *(f"naïve, name={name}" for name in names)]
    features, targets = served(made, "train")
    assert features[:, 0].tolist() == [row[0] for row in rows]
    assert targets.tolist() == [row + 0.25 for row in range(40)]
    assert [names[code] for code in features[:, 1:].argmax(1)] == [row[2] for row in rows]


def few_lines(patch: pytest.MonkeyPatch, first: int, then: int) -> None:
    """Have a file of two or three columns read in small parts."""
    for name, value in (("_FEWEST_LINES", 1), ("_FIRST_CELLS", 2 * first), ("_CELLS", 2 * then)):
        patch.setattr(table_csv, name, value)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6).map(str.strip)
cells = st.tuples(
    st.floats(-1e30, 1e30, allow_subnormal=False),
    texts.filter(lambda text: text not in MISSING),
    st.integers(-(10**9), 10**9),
)


@given(
    st.lists(cells, min_size=1, max_size=30), st.sampled_from(",;\t"), st.integers(1, 5), st.lists(st.integers(0, 30))
)
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[Any, ...]],
    delimiter: str,
    at_once: int,
    blank: list[int],
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(["a", "b", "c"])
        for number, row in enumerate(rows):
            writer.writerow(row)
            file.write("\n" * blank.count(number))
    modes: dict[str, Mode] = {"a": "number", "b": "text", "c": "auto"}
    with pytest.MonkeyPatch.context() as patch:
        few_lines(patch, at_once, at_once)
        table = read_table(path, "data.path", modes)
    assert table.rows == len(rows)
    text = table.columns["b"]
    assert isinstance(text, Texts)
    assert [text.levels[code] for code in text.codes] == [row[1] for row in rows]
    for name, place in (("a", 0), ("c", 2)):
        column = table.columns[name]
        assert isinstance(column, np.ndarray)
        assert column.tolist() == [row[place] for row in rows]
    counted, expected = 2, []
    for number in range(len(rows)):
        expected.append(counted)
        counted += 1 + blank.count(number)
    assert [table.row(index) for index in range(len(rows))] == expected


FAULTS: dict[str, tuple[str, str]] = {
    "empty cell": ("", "the cell is empty: fill it in, remove the row"),
    "spaces": ("  ", "the cell is empty"),
    "NA": ("NA", "'NA' says that the value is missing"),
    "NaN": ("NaN", "'NaN' says that the value is missing"),
    "nan": ("nan", "'nan' says that the value is missing"),
    "null": ("null", "'null' says that the value is missing"),
    "text": ("many", "'many' is no number, and the column is one of numbers"),
    "infinite": ("inf", "'inf' is infinite"),
    "minus infinity": ("-Infinity", "'-Infinity' is infinite"),
    "beyond float64": ("1e999", "'1e999' is infinite, or as good as"),
    "beyond float32": ("-4e38", "'-4e38' is infinite, or as good as"),
    "decimal comma": ('"1,5"', "'1,5' has a comma: write numbers with a decimal point"),
    "thousands": ('"1,234.5"', "'1,234.5' has a comma"),
    "underscore": ("1_000", "'1_000' is no number"),
    "hexadecimal": ("0x10", "'0x10' is no number"),
    "other digits": ("١٢", "'١٢' is no number"),
    "long": ("z" * 1000, f"'{'z' * 40}...' is no number"),
    "control characters": ("\x1b[31m", r"'\\x1b\[31m' is no number"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("column", ["x", "y"])
@pytest.mark.parametrize("place", [2, 50, 99])
def test_a_cell_that_can_not_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, column: str, place: int
) -> None:
    few_lines(monkeypatch, 20, 30)
    value, message = FAULTS[fault]
    lines = ["x,y", *(f"{row}.5,{row}" for row in range(98))]
    lines[place - 1] = f"{value},1" if column == "x" else f"1,{value}"
    with pytest.raises(DatasetError, match=rf"t\.csv, row {place}, column '{column}': {message}") as caught:
        small(tmp_path / "t.csv", "\n".join(lines))
    assert "\n" not in str(caught.value)


def test_a_missing_text_is_named_too(tmp_path: Path) -> None:
    text = "x,y\n" + "a,1\n" * 3000 + ",1\nb,1\n"
    with pytest.raises(DatasetError, match="row 3002, column 'x': the cell is empty"):
        small(tmp_path / "t.csv", text, categorical=["x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty: it needs a header"),
        ("\n\n", "t.csv is empty"),
        ("x,y\n", "t.csv has no rows, only a header"),
        ("x,y\n\n\n", "t.csv has no rows, only a header"),
        ("x,y\n1,2\n3\n", "row 3: it has 1 cells, the header names 2 columns"),
        ("x,y\n1,2\n\n3,4,5\n", "row 4: it has 3 cells, the header names 2 columns"),
        ("\nx,y\n1,2\n1,a,3\n", "row 4: it has 3 cells"),
        ("x,y,x\n1,2,3\n", "row 1: two columns have the name 'x'"),
        ("x,,y\n1,2,3\n", "row 1: column 2 has no name"),
        (",x,y\n0,1,2\n", "row 1: column 1 has no name.*index=False"),
        ("1,2\n3,4\n", "row 1: it holds numbers alone; the first row has to name the columns"),
        ('x,y\n1,2\n3,"4\n5,6\n', "row 3: a quotation mark is opened and not closed"),
        ('x,y\n1,2\n3,"4"5\n', "row 3: it is no CSV"),
        ('x,"y\n1,2\n', "row 1: a quotation mark is opened and not closed"),
        (f"x,y\n1,{'9' * 200_000}\n", "row 2: a quotation mark .* or a cell is far too long"),
        ("x,y\n1,ja\n2,ja\n", "data.target=y: all rows are of the one class 'ja'"),
        (b"x,y\n1,2\n3,caf\xe9\n", "row 3: byte 0xe9 is no UTF-8: save the file as UTF-8"),
        ("x,y\n1,2\n".encode("utf-16"), "neither CSV in UTF-8 nor Parquet: it begins with ff fe"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither CSV in UTF-8 nor Parquet: it begins with 89 50 4e 47"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        small(tmp_path / "t.csv", text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [2, 21, 22, 51, 52, 99])
@pytest.mark.parametrize(("cells", "count"), [("1", 1), ("1,2,3", 3), ("1,2,", 3), (",", 2), ('"1",2,"3"', 3)])
def test_a_row_of_other_length_is_named_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: int, cells: str, count: int
) -> None:
    few_lines(monkeypatch, 20, 30)
    lines = ["x,y", *(f"{number}.5,{number}" for number in range(98))]
    lines[row - 1] = cells
    expected = f"row {row}: it has {count} cells" if count != 2 else f"row {row}, column 'x': the cell is empty"
    with pytest.raises(DatasetError, match=expected):
        small(tmp_path / "t.csv", "\n".join(lines))


def test_a_label_that_is_neither_0_nor_1_is_named(tmp_path: Path) -> None:
    for value in ("2", "0.5", "perhaps"):
        others = "no" if value == "perhaps" else "1"
        text = "x,a\n" + f"1,{others}\n" * 3 + f"1,{value}\n"
        with pytest.raises(DatasetError, match=r"row \d, column 'a': '(no|2|0\.5)' is no label"):
            small(tmp_path / "t.csv", text, target="a", kind="labels")


def test_paths_that_hold_no_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        ("nowhere.csv", "there is no such file"),
        (".", "it is a directory"),
        ("pipe", "it is a pipe or a device"),
    ):
        with pytest.raises(ConfigError, match=rf"data\.path=.*: {message}"):
            module(tmp_path / path)
    with pytest.raises(ConfigError, match=r"data\.test_path=.*there is no such file"):
        module(write(tmp_path / "t.csv", HEADER, houses()), test_path=str(tmp_path / "nowhere.csv"))


def test_a_file_that_memory_does_not_suffice_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.touch()
    os.truncate(path, 1 << 42)
    with pytest.raises(DatasetError, match=r"takes about .* GB of memory"):
        module(path)


def test_an_identifier_is_no_category(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"n{row},{row}\n" for row in range(1500))
    with pytest.raises(ConfigError, match=r"'x' has 1,500 different texts, at most 1,000"):
        small(tmp_path / "t.csv", text, categorical=["x"])


def test_a_users_home_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert module(Path("~/houses.csv")).facts()["title"] == "houses.csv"


# Parquet


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="needs the package pyarrow: pip install pyarrow"):
        small(tmp_path / "t.parquet", b"PAR1 and so on")


def test_a_parquet_file_is_served_as_the_same_csv(tmp_path: Path, file: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    columns: dict[str, Any] = dict(zip(HEADER, map(list, zip(*houses(), strict=True)), strict=True))
    columns["roof"] = pa.array(columns["roof"]).dictionary_encode()
    path = tmp_path / "t.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({**columns, "new": [True, False] * 50}), path)
    settings: dict[str, Any] = {"drop": [], "categorical": ["roof"]}
    first, second = module(file, **settings), module(path, **settings, features=["size", "year", "roof"])
    for split in ("train", "val", "test"):
        for one, other in zip(served(first, split), served(second, split), strict=True):
            assert torch.equal(one, other)
    facts = module(path, target="new", drop=["roof"]).facts()
    assert (facts["kind"], facts["classes"]) == ("classes", ["false", "true"])
    assert module(path, features=["new"], drop=[], normalize=False).facts()["features"] == ["new"]
    assert module(path, target=["new"], kind="labels").facts()["kind"] == "labels"
    assert module(path, features=["size"], drop=[], categorical=["size"]).facts()["features"][0] == "size=50"


def test_a_parquet_file_that_can_not_be_used_is_refused(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    good: list[object] = [float(row) for row in range(10)]
    cases: list[tuple[list[object], str]] = [
        ([*good[:4], None, *good[5:]], "row 5, column 'x': 'null' says that the value is missing"),
        ([*good[:4], float("nan"), *good[5:]], "row 5, column 'x': 'nan' says that the value is missing"),
        ([*good[:4], float("inf"), *good[5:]], "row 5, column 'x': 'inf' is infinite"),
        ([[1.0]] * 10, r"column 'x': it holds list<.*data\.drop=\[x\]"),
        (["a"] * 10, "'x' in .* holds texts"),
    ]
    path = tmp_path / "t.parquet"
    for values, message in cases:
        parquet.write_table(pa.table({"x": values, "y": good}), path)
        with pytest.raises(RunError, match=message):
            small(path, path.read_bytes())
    for content in (path.read_bytes()[:60], b"PAR1"):
        with pytest.raises(DatasetError, match="is damaged, or no Parquet file"):
            small(path, content)
    parquet.write_table(pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}), path)
    with pytest.raises(DatasetError, match="has no rows"):
        small(path, path.read_bytes())


# Order and resume, as pictures have them


def trainer(*, epoch: int = 0, batch: int = 0, rank: int = 0, world_size: int = 1) -> Any:
    """As much of a trainer as a datamodule asks for: where training stands, and who it is."""
    epochs = SimpleNamespace(current=SimpleNamespace(processed=epoch, started=epoch + bool(batch)))
    batches = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(processed=batch)))
    return SimpleNamespace(
        fit_loop=SimpleNamespace(epoch_progress=epochs, epoch_loop=batches),
        is_last_batch=False,
        global_rank=rank,
        world_size=world_size,
        is_global_zero=rank == 0,
        overfit_batches=0.0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize(("batch", "size"), [(0, 8), (1, 8), (5, 8), (5, 3), (7, 16)])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_rows_are_resumed_as_pictures_are(  # the same numbers of rows as of pictures
    tmp_path: Path, tiny_root: Path, epoch: int, batch: int, size: int, rank: int, world_size: int
) -> None:
    path = write(tmp_path / "t.csv", ["x", "y"], [[row, row / 2] for row in range(640)])

    def modules(batch_size: int) -> list[Any]:
        settings: dict[str, Any] = {"seed": 5, "batch_size": batch_size}
        table = module(path, target="y", drop=[], val_size=100, test_size=0, **settings)
        images = ImageDataModule(TinyDigits(), root=str(tiny_root), val_size=100, **settings)
        images.setup("fit")
        return [table, images]

    orders, states = [], []
    for before, after in zip(modules(8), modules(size), strict=True):
        before.trainer = trainer(epoch=epoch, batch=batch, world_size=world_size)
        states.append(before.state_dict())
        after.trainer = trainer(rank=rank, world_size=world_size)
        after.load_state_dict(states[-1])
        loader = after.train_dataloader()
        assert loader.sampler is after._train_order
        assert loader.batch_sampler is None
        first = after.resumes_at_batch
        orders.append(
            (first, loader.sampler.epoch, len(loader), [(key.seed, key.indices.tolist()) for key in loader.sampler])
        )
    assert states[0] == states[1] == {"epoch": epoch, "batch": batch, "global_batch_size": 8 * world_size}
    assert orders[0] == orders[1]


@pytest.mark.parametrize("batch", [0, 4])
def test_a_checkpoint_may_be_loaded_after_the_loader_was_built(file: Path, batch: int) -> None:
    made = module(file, batch_size=8)
    made.trainer = trainer()
    loader = made.train_dataloader()
    made.load_state_dict({"epoch": 2, "batch": batch, "global_batch_size": 8})
    late = [features.tolist() for features, _ in loader]
    again = module(file, batch_size=8)
    again.trainer = trainer()
    again.load_state_dict({"epoch": 2, "batch": batch, "global_batch_size": 8})
    assert late == [features.tolist() for features, _ in again.train_dataloader()]
    assert len(late) == 9 - batch


def test_another_batch_size_is_told_in_rows(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = module(file, batch_size=16)
    made.trainer = trainer()
    with caplog.at_level(logging.INFO):
        made.load_state_dict({"epoch": 0, "batch": 3, "global_batch_size": 8})
    assert "Global batches have 16 rows from here on, instead of 8" in caplog.text
    assert (made.resumes_at_batch, TableDataModule.resumes_within_epoch) == (1, True)
    assert isinstance(made, MemoryDataModule)


class Regression(LightningModule):
    """The smallest task there is."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        features, targets = batch
        loss = nn.functional.mse_loss(self.net(features).squeeze(1), targets)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


@pytest.mark.parametrize("net", [MLP, SimpleNN])
def test_a_shipped_net_learns_from_rows(tmp_path: Path, net: Any) -> None:
    rows = [[row % 7, row % 11, row % 7 - 2 * (row % 11)] for row in range(300)]
    made = TableDataModule(path=str(write(tmp_path / "t.csv", ["a", "b", "y"], rows)), target="y", kind="numbers")
    torch.manual_seed(0)
    model = Regression(net(in_shape=tuple(made.facts()["in_shape"]), num_classes=made.facts()["num_classes"]))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    Trainer(accelerator="cpu", max_epochs=10, log_every_n_steps=1, **quiet).fit(model, made)  # type: ignore[arg-type]
    assert model.losses[-1] < model.losses[0] / 4


def test_the_config_makes_the_datamodule(compose_config: Compose, file: Path) -> None:
    cfg = compose_config("data=table", f"data.path={file}", "data.target=price", "data.categorical=[roof]", "seed=3")
    made = instantiate(cfg.data)
    assert isinstance(made, TableDataModule)
    assert (made.seed, made.facts()["num_features"]) == (3, 5)
    settings = {name: value for name, value in cfg.data.items() if name not in ("_target_", "path", "target")}
    defaults = inspect.signature(TableDataModule).parameters
    assert set(settings) | {"path", "target"} == set(defaults)
    changed = {name for name, value in settings.items() if (value or None) != (defaults[str(name)].default or None)}
    assert changed == {"seed", "categorical"}, "the YAML says what the signature says"


def test_column_names_are_those_of_the_header(file: Path) -> None:
    assert column_names(file, "data.path") == HEADER
