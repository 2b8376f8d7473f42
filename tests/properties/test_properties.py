"""What holds for every input of a kind: batch orders, identities, overrides, reports."""

import json
import math
import random
import string
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from strobe.data.order import BatchOrder
from strobe.record.identity import config_hash
from strobe.record.report import Report, read_report, write_report
from strobe.record.settings import leaves, strict

keys = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
numbers = st.one_of(st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False, width=32))
values = st.one_of(st.none(), st.booleans(), numbers, st.text(string.printable, max_size=12))
configs = st.dictionaries(
    keys,
    st.recursive(
        values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    ),
    max_size=6,
).map(lambda config: {**config, "seed": 1})


def shuffled(node: Any, draw: random.Random) -> Any:
    """The same mapping, its keys in another order at every depth."""
    if isinstance(node, dict):
        items = [(key, shuffled(value, draw)) for key, value in node.items()]
        draw.shuffle(items)
        return dict(items)
    return [shuffled(item, draw) for item in node] if isinstance(node, list) else node


orders = st.fixed_dictionaries(
    {
        "size": st.integers(1, 300),
        "batch_size": st.integers(1, 40),
        "seed": st.integers(0, 2**31),
        "shuffle": st.booleans(),
    }
)


@given(orders, st.integers(1, 5), st.integers(0, 4))
def test_ranks_share_an_epoch_out_without_a_gap_or_an_overlap(
    order: dict[str, Any], world_size: int, epoch: int
) -> None:
    ranks = [BatchOrder(**order, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen: list[int] = []
    for rank in ranks:
        rank.set_epoch(epoch)
    for batches in zip(*ranks, strict=True):
        if order["size"] >= world_size:
            assert all(len(batch.indices) for batch in batches)
        assert len({batch.seed for batch in batches}) == world_size
        seen += [int(index) for batch in batches for index in batch.indices]
    assert sorted(seen) == list(range(order["size"]))


@given(orders, st.integers(1, 4), st.data())
def test_an_epoch_gone_on_with_is_the_rest_of_the_epoch(
    order: dict[str, Any], world_size: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, world_size - 1))
    whole = BatchOrder(**order, rank=rank, world_size=world_size)
    done = data.draw(st.integers(0, len(whole)))
    rest = BatchOrder(**order, rank=rank, world_size=world_size)
    for each in (whole, rest):
        each.set_epoch(3)
    rest.skip(done)
    expected, found = list(whole)[done:], list(rest)
    assert [batch.seed for batch in found] == [batch.seed for batch in expected]
    assert [batch.indices.tolist() for batch in found] == [batch.indices.tolist() for batch in expected]


@given(orders)
def test_epochs_have_orders_of_their_own_and_again_the_same(order: dict[str, Any]) -> None:
    first, again = BatchOrder(**order), BatchOrder(**order)
    epochs = []
    for epoch in range(3):
        first.set_epoch(epoch)
        again.set_epoch(epoch)
        epochs.append(first.permutation().tolist())
        assert again.permutation().tolist() == epochs[-1]
    if order["shuffle"] and order["size"] > 20:
        assert epochs[0] != epochs[1] != epochs[2]


@given(configs, st.randoms(use_true_random=False))
def test_an_identity_does_not_change_with_order_or_spelling(config: dict[str, Any], draw: random.Random) -> None:
    expected = config_hash(config)
    assert config_hash(shuffled(config, draw)) == expected
    assert config_hash(json.loads(json.dumps(config))) == expected
    assert config_hash(yaml.safe_load(yaml.safe_dump(config, default_flow_style=draw.random() < 0.5))) == expected


@given(configs, keys, values, values)
def test_another_value_is_another_identity(config: dict[str, Any], key: str, first: Any, second: Any) -> None:
    one, two = ({**config, f"own_{key}": {"value": value}} for value in (first, second))
    same = first == second and isinstance(first, bool) == isinstance(second, bool)
    if not same and None not in (first, second):  # a key that is null is one that is not there
        assert config_hash(one) != config_hash(two)


@given(
    st.lists(st.tuples(keys, numbers | st.booleans() | st.text(string.ascii_letters + " ,=[]{}'\"\\$", max_size=12)))
)
def test_what_is_typed_in_quotes_is_what_arrives(pairs: list[tuple[str, Any]]) -> None:
    cfg = OmegaConf.create({})
    for key, value in pairs:
        text = value if isinstance(value, str) else json.dumps(value)
        quoted = "'" + text.replace("\\", "\\\\").replace("'", r"\'") + "'" if isinstance(value, str) else text
        (override,) = OverridesParser.create().parse_overrides([f"{key}={quoted}"])
        OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
        found = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(found, dict)
        if isinstance(value, str) and "\\" in value:
            continue  # Hydra takes a backslash that no quote follows as it is
        assert found[key] == value
        assert type(found[key]) is type(value)


fields = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), st.floats(-1e59, 1e59), st.text(max_size=20)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"requested": st.dictionaries(keys, fields, max_size=4), "name": st.text(max_size=30)}))
def test_a_report_that_was_written_is_read_as_strict_json(content: dict[str, Any]) -> None:
    report: Any = {"schema": 1, "status": "completed", "metrics": {"val/acc": math.nan}, **content}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_report(directory, Report(**report))
        json.loads((directory / "report.json").read_text(), parse_constant=lambda word: 1 / 0)
        found = read_report(directory)
        assert found["name"] == content["name"]
        assert found["requested"] == strict(content["requested"])
        assert json.dumps(found) == json.dumps(read_report(directory))


@given(configs)
def test_every_value_of_a_config_has_its_path(config: dict[str, Any]) -> None:
    for path, value in leaves(config):
        node: Any = config
        for part in path.split("."):
            node = node[part]
        assert node is value
