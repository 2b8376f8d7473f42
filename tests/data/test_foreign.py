"""A data module of the user's own keeps what ours keeps: order, sharing, randomness, resuming."""

import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from strobe.data.foreign import Adopted, adopt
from strobe.data.foreign_batches import Key, SeededDataset, seeded
from strobe.data.foreign_loaders import copied, parts, shared, why_left
from strobe.data.foreign_order import FixedOrder, LoaderOrder
from strobe.data.order import BatchOrder
from strobe.errors import ConfigError
from strobe.record import lightning_state


def draws() -> tuple[float, float, float]:
    """One number of each global generator; numpy's is a normal one, which come in pairs."""
    return float(torch.rand(())), float(np.random.randn()), random.random()


class Noisy(Dataset[Tensor]):
    """Its number, and what a random transform draws."""

    def __init__(self, size: int = 23) -> None:
        self.size = size
        self.strength = 1.0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index, *(self.strength * number for number in draws())], dtype=torch.float64)


class Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(8.0))


class Buckets(Sampler[list[int]]):
    """Batches of unequal size in a random order, from a generator of its own."""

    def __init__(self, size: int = 23) -> None:
        self.batches = [list(range(start, min(start + 3 + start % 2, size))) for start in range(0, size, 4)]
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.rng.permutation(len(self.batches)):
            yield self.batches[index]


class Unsized(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(23))


class Repeating(Unsized):
    """Says how long an epoch is, and never ends."""

    def __len__(self) -> int:
        return 10

    def __iter__(self) -> Iterator[int]:
        while True:
            yield random.randrange(23)


def with_noise(examples: list[Tensor]) -> Tensor:
    return torch.stack(examples) + torch.rand(1)


def adopted(loader: DataLoader[Any], rank: int = 0, world_size: int = 1, training: bool = True) -> DataLoader[Any]:
    found = parts(loader)
    kind = {"are_keys": loader.batch_sampler is None, "training": training, "rank": rank, "world_size": world_size}
    return copied(loader, LoaderOrder(*found[:1], found.batch_size, seed=3, **kind, **rest(loader)))  # type: ignore[arg-type]


def rest(loader: DataLoader[Any]) -> dict[str, bool]:
    return {"shuffle": parts(loader).shuffle, "drop_last": parts(loader).drop_last}


def batches(loader: Iterable[Tensor], epoch: int = 0) -> list[Tensor]:
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as Lightning does
    return [batch.clone() for batch in loader]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def indices(batch: Tensor) -> list[int]:
    return [int(row[0]) for row in batch.reshape(-1, 4)]


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "shuffled": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
    "in order": lambda: DataLoader(Noisy(), batch_size=4),
    "subset": lambda: DataLoader(Subset(Noisy(46), range(23)), batch_size=4, shuffle=True),
    "batch sampler of torch": lambda: DataLoader(Noisy(), batch_sampler=BatchSampler(RandomSampler(Noisy()), 4, False)),
    "list": lambda: DataLoader(Noisy(), batch_size=4, sampler=list(reversed(range(23)))),  # type: ignore[arg-type]
    "subset in a random order": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=torch.utils.data.SubsetRandomSampler(range(23))
    ),
    "distributed": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=DistributedSampler(Noisy(), num_replicas=2, rank=1)
    ),
    "buckets": lambda: DataLoader(Noisy(), batch_sampler=Buckets()),
    "batches already": lambda: DataLoader(Noisy(), batch_size=None, shuffle=True),
    "random collation": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, collate_fn=with_noise),
}
DRAWN_TWICE: dict[str, Callable[[], DataLoader[Any]]] = {
    "weighted": lambda: DataLoader(Noisy(), batch_size=4, sampler=WeightedRandomSampler([1.0] * 23, 23)),
    "weighted, with a generator": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=WeightedRandomSampler([1.0] * 23, 23, generator=torch.Generator())
    ),
    "replacing": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=RandomSampler(Noisy(), replacement=True, num_samples=17)
    ),
    "never ending": lambda: DataLoader(Noisy(), batch_size=4, sampler=Repeating()),
}
IN_THE_SAME_ORDER = ("in order", "list")


@pytest.mark.parametrize("name", {**LOADERS, **DRAWN_TWICE})
def test_an_epoch_is_a_function_of_seed_and_epoch_alone(name: str) -> None:
    make = {**LOADERS, **DRAWN_TWICE}[name]
    first, second = adopted(make()), adopted(make())
    seen = [batches(first, epoch) for epoch in range(3)]
    draws()  # what the training draws says nothing of the data
    second.sampler.skip(2)  # type: ignore[union-attr]
    assert equal(batches(second, 2), seen[2][2:]), "nor does it matter where one begins"
    assert equal(batches(second, 0), seen[0])
    assert len(second) == len(seen[0])
    assert not equal(seen[0], seen[1]), "the transforms draw anew in each epoch"
    orders = [[indices(batch) for batch in each] for each in seen[:2]]
    assert name == "random collation" or (orders[0] == orders[1]) == (name in IN_THE_SAME_ORDER)


@pytest.mark.parametrize("name", ["shuffled", "buckets", "batches already", "random collation"])
def test_workers_yield_the_same_batches(name: str) -> None:
    alone, loader = adopted(LOADERS[name]()), LOADERS[name]()
    settings: dict[str, Any] = {"collate_fn": loader.collate_fn, "num_workers": 2, "persistent_workers": True}
    match name:
        case "buckets":
            several = adopted(DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, **settings))
        case _:
            several = adopted(DataLoader(loader.dataset, loader.batch_size, sampler=loader.sampler, **settings))
    for epoch in (0, 1, 5):
        assert equal(batches(alone, epoch), batches(several, epoch))


def test_the_order_of_a_shuffled_set_is_that_of_our_own_loaders() -> None:
    ours = BatchOrder(23, 4, seed=3, rank=1, world_size=2)
    order = LoaderOrder(range(23), 4, seed=3, shuffle=True, rank=1, world_size=2)
    for epoch in range(2):
        ours.set_epoch(epoch)
        order.set_epoch(epoch)
        assert [(key, key.seed) for key in order] == [(key.indices.tolist(), key.seed) for key in ours]
        assert [order.global_batch_size(step) for step in range(len(order))] == [8, 8, 7]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("name", {name: make for name, make in LOADERS.items() if name != "random collation"})
def test_ranks_share_the_examples(name: str, world_size: int, training: bool) -> None:
    ranks = [batches(adopted(LOADERS[name](), rank, world_size, training)) for rank in range(world_size)]
    seen = [index for batch in chain(*ranks) for index in indices(batch)]
    assert len(set(seen)) == len(seen), "disjoint"
    steps = [len(each) for each in ranks]
    if name not in ("buckets", "batches already"):
        assert sorted(seen) == list(range(23))
        assert len(set(steps)) == 1
    elif training:  # whole batches that are left over by the number of ranks are not trained on
        assert set(steps) == {len(adopted(LOADERS[name]())) // world_size}
    else:
        assert len(seen) == len(set(chain(*map(indices, batches(adopted(LOADERS[name]()))))))
        assert max(steps) - min(steps) <= 1
    assert steps == [len(adopted(LOADERS[name](), rank, world_size, training)) for rank in range(world_size)]
    if world_size > 1:
        assert not torch.equal(ranks[0][0].reshape(-1, 4)[0, 1:], ranks[1][0].reshape(-1, 4)[0, 1:])


@pytest.mark.parametrize("size", range(1, 40))
def test_global_batches_are_the_same_for_any_number_of_ranks(size: int) -> None:
    def global_batches(batch_size: int, world_size: int, drop_last: bool) -> list[list[int]]:
        settings: dict[str, Any] = {"shuffle": True, "drop_last": drop_last, "world_size": world_size}
        orders = [LoaderOrder(range(size), batch_size, **settings, rank=rank) for rank in range(world_size)]
        steps = [sorted(chain(*parts)) for parts in zip(*orders, strict=True)]
        assert [orders[0].global_batch_size(step) for step in range(len(steps))] == [len(step) for step in steps]
        return steps

    if size < 3:
        with pytest.raises(ConfigError, match=f"choose at most trainer.devices={size}"):
            global_batches(4, 3, False)
        return
    whole = global_batches(12, 1, False)
    if size > 12 and size % 12 in (1, 2):
        whole = [*whole[:-2], sorted(whole[-2] + whole[-1])]
    assert global_batches(4, 3, False) == whole
    assert global_batches(4, 3, True) == global_batches(12, 1, True)
    assert len(global_batches(4, 3, True)) == size // 12


def test_the_training_process_keeps_its_own_random_numbers() -> None:
    def trained(loader: Iterable[Any]) -> list[tuple[float, float, float]]:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        seen = []
        for step, _ in enumerate(loader):
            seen += [draws()] * (step % 3 != 1)
        return [*seen, draws()]

    assert trained(adopted(LOADERS["random collation"]())) == trained(range(6))
    assert trained(adopted(DRAWN_TWICE["weighted"]())) == trained(range(6))
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(1):
        _ = 1 / (draws() == draws())
    assert torch.equal(before, torch.get_rng_state())


def test_torch_and_numpy_draw_numbers_of_their_own() -> None:
    def in_common() -> set[int]:
        of_numpy = np.random.get_bit_generator().random_raw(8) % 2**31
        return set(torch.randint(2**31, (4,)).tolist()) & set(of_numpy.tolist())

    torch.manual_seed(12345)
    np.random.seed(12345)
    assert in_common(), "the generators of both are the same"
    for seed in (1, 12345, 2**62 + 12345):
        with seeded(seed):
            assert not in_common()


def test_the_dataset_stays_what_it_was() -> None:
    loader = adopted(LOADERS["subset"]())
    assert len(loader.dataset) == 23  # type: ignore[arg-type]
    assert loader.dataset.dataset.size == 46  # type: ignore[attr-defined]  # Subset's own attribute
    assert loader.dataset.indices == range(23)  # type: ignore[attr-defined]
    assert loader.dataset[3][0] == 3
    loader = adopted(LOADERS["shuffled"]())
    loader.dataset.strength = 0.0  # type: ignore[attr-defined]
    assert not any(batch[:, 1:].any() for batch in batches(loader))
    assert loader.collate_fn([torch.ones(2), torch.ones(2)]).shape == (2, 2)
    assert loader.batch_size == 4
    with pytest.raises(AttributeError, match="'Noisy' object has no attribute 'colour'"):
        _ = loader.dataset.colour  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(loader.dataset))
    assert isinstance(again, SeededDataset)
    assert again.size == 23
    key = pickle.loads(pickle.dumps(Key([1, 2], 7)))
    assert (key, key.seed) == ([1, 2], 7)


def test_settings_of_a_loader_are_kept() -> None:
    given = DataLoader(Noisy(), 4, num_workers=1, prefetch_factor=5, timeout=9, multiprocessing_context="spawn")
    kept = ("num_workers", "prefetch_factor", "timeout", "multiprocessing_context", "batch_size", "drop_last")
    assert [getattr(adopted(given), name) for name in kept] == [getattr(given, name) for name in kept]
    dropping = adopted(DataLoader(Noisy(), 4, drop_last=True), world_size=2)
    assert [len(batch) for batch in batches(dropping)] == [4, 4]


class OwnArguments(DataLoader[Any]):
    """As those of libraries for graphs or medical images are: other arguments, the same batches."""

    def __init__(self, things: Dataset[Any], extra: int) -> None:
        super().__init__(things, batch_size=extra, shuffle=True)


class OwnBatches(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter(())


def test_a_loader_that_only_takes_other_arguments_is_adopted_too() -> None:
    loader = adopted(OwnArguments(Noisy(), 4))
    assert type(loader) is OwnArguments
    assert equal(batches(loader, 1), batches(adopted(LOADERS["shuffled"]()), 1))


LEFT: dict[str, Callable[[], Any]] = {
    "an iterable dataset": lambda: DataLoader(Endless(), batch_size=2),
    "a list_iterator instead of a DataLoader": lambda: iter([torch.ones(1)]),
    "a sampler without a length (Unsized)": lambda: DataLoader(Noisy(), sampler=Unsized()),
    "a loader that makes its batches in its own way (OwnBatches)": lambda: OwnBatches(Noisy()),
    "a sampler that shares out by itself (Shares)": lambda: DataLoader(Noisy(), sampler=Shares(Noisy(), 2, 0)),
}


class Shares(DistributedSampler[Any]):
    pass


class Stateful:
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Module(LightningDataModule):
    """Gives whatever it is given."""

    def __init__(self, train: Callable[[], Any], **others: Callable[[], Any]) -> None:
        super().__init__()
        self.train, self.others = train, others
        self.loaded: dict[str, Any] = {}

    def train_dataloader(self) -> Any:
        return self.train()

    def val_dataloader(self) -> Any:
        return self.others.get("val", LOADERS["in order"])()

    def predict_dataloader(self) -> Any:
        return self.others["predict"]()

    def state_dict(self) -> dict[str, Any]:
        return {"mine": 5}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict


@pytest.mark.parametrize("why", LEFT)
def test_what_has_no_order_is_left_as_it_is_and_can_t_be_taken_up_within_an_epoch(why: str) -> None:
    given = LEFT[why]()
    assert why_left(given) == why
    data = Module(lambda: given)
    known = adopt(data, seed=3)
    assert known.resumes_within_epoch
    assert data.train_dataloader() is given
    assert (known.resumes_within_epoch, known.unresumable) == (False, why)


def test_loaders_that_keep_their_state_are_left_to_lightning() -> None:
    given = Stateful()
    data = Module(lambda: given)
    known = adopt(data, seed=3)
    assert data.train_dataloader() is given
    assert known.resumes_within_epoch
    assert known.batch_size is None


def test_each_of_several_loaders_gets_an_order_of_its_own() -> None:
    def pair() -> dict[str, Any]:
        return {"a": LOADERS["shuffled"](), "b": [LOADERS["shuffled"]()]}

    data = Module(lambda: CombinedLoader(pair(), "min_size"), val=pair)
    known = adopt(data, seed=3)
    combined = data.train_dataloader()
    first, second = (batches(loader) for loader in combined.flattened)
    assert equal(first, batches(adopted(LOADERS["shuffled"]())))
    assert sorted(chain(*map(indices, first))) == sorted(chain(*map(indices, second))) == list(range(23))
    assert not equal(first, second)
    assert known.unresumable == "several training loaders"
    validation = data.val_dataloader()
    assert equal(batches(validation["a"], 0), batches(validation["a"], 1)), "weights always get the same number"
    assert known.unresumable == "several training loaders"


def test_ranks_are_told_of_what_they_can_t_share(caplog: pytest.LogCaptureFixture) -> None:
    data = Module(LOADERS["shuffled"], val=lambda: [LEFT["an iterable dataset"](), LOADERS["in order"]()])
    adopt(data, seed=3)
    shares = []
    for rank in range(2):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, is_global_zero=rank == 0, overfit_batches=0)  # type: ignore[assignment]
        shares.append(list(chain(*map(indices, batches(data.val_dataloader()[1])))))
    assert shares == [list(range(0, 23, 2)), list(range(1, 23, 2))]
    assert [record.getMessage()[:60] for record in caplog.records] == [
        "val_dataloader gives an iterable dataset, which can't be shar"[:60]
    ]


def test_what_is_to_be_predicted_is_shared() -> None:
    for name in ("in order", "buckets", "batches already", "shuffled"):
        loader, seen = LOADERS[name](), []
        found = parts(loader)
        for rank in range(2):
            settings: dict[str, Any] = {"training": False, "rank": rank, "world_size": 2, "shuffle": found.shuffle}
            order = LoaderOrder(found.source, found.batch_size, **settings, are_keys=loader.batch_sampler is None)
            seen += [index for batch in shared(loader, order) for index in indices(batch)]
        assert sorted(seen) == sorted(chain(*map(indices, LOADERS[name]())))


class Net(LightningModule):
    """A linear layer on noisy numbers; draws from the global generators in every step as a mixup would."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.seen: list[Tensor] = []
        self.validated: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch.clone())
        loss: Tensor = (self.layer(batch.reshape(-1, 4)[:, 1:].float()) - 1).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(batch.clone())

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class SaveAt(Callback):
    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step and batch_idx > 0:
            # Lightning has counted this batch as begun: `EpochRecorder` takes that back in the same way.
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        lightning_state.forget_fetched_batch(checkpoint)


class TakeUp(Callback):
    """What `EpochRecorder` does with a checkpoint."""

    def __init__(self, known: Adopted) -> None:
        self.known = known

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        lightning_state.close_epoch(checkpoint)
        if self.known.resumes_at_batch is not None:
            lightning_state.set_saved_batches(checkpoint, self.known.resumes_at_batch)


def fit(data: Module, callback: Callback, root: Path, checkpoint: Path | None = None, **settings: Any) -> Net:
    net = Net()
    trainer = Trainer(
        **{"max_epochs": 3, **settings},
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[callback],
        default_root_dir=root,
    )
    trainer.fit(net, data, ckpt_path=checkpoint, weights_only=True)
    return net


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*your dataloader is not resumable", "ignore:.*sampler has shuffling"
)


@pytest.mark.parametrize("step", [6, 8, 12], ids=["end of an epoch", "within the second", "end of the second"])
@pytest.mark.parametrize(("sampler", "num_workers"), [("shuffled", 0), ("shuffled", 2), ("weighted", 0)])
def test_a_resumed_run_sees_and_learns_the_same(tmp_path: Path, sampler: str, num_workers: int, step: int) -> None:
    def loader() -> DataLoader[Any]:
        if sampler == "weighted":
            return DRAWN_TWICE["weighted"]()
        return DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=num_workers)

    data = Module(loader, val=LOADERS["in order"])
    path = tmp_path / "at.ckpt"
    adopt(data, seed=3)
    whole = fit(data, SaveAt(path, step), tmp_path)
    state = torch.load(path, weights_only=True)["Module"]
    assert state == {"own": {"mine": 5}, "epoch": step // 6, "batch": step % 6, "global_batch_size": 4}
    data = Module(loader, val=LOADERS["in order"])
    known = adopt(data, seed=3)
    torch.rand(7)
    part = fit(data, TakeUp(known), tmp_path, path)
    assert data.loaded == {"mine": 5}
    assert known.resumes_at_batch == (step % 6 or None)
    assert (known.batch_size, known.unresumable) == (4, None)
    assert equal(part.seen, whole.seen[step:])
    assert all(map(torch.equal, part.state_dict().values(), whole.state_dict().values()))
    assert equal(part.validated[-6:], whole.validated[:6])


def test_a_run_with_larger_batches_begins_at_the_last_of_their_boundaries(tmp_path: Path) -> None:
    path = tmp_path / "at.ckpt"
    data = Module(lambda: DataLoader(Noisy(), batch_size=4, shuffle=True))
    adopt(data, seed=3)
    whole = fit(data, SaveAt(path, 9), tmp_path)
    data = Module(lambda: DataLoader(Noisy(), batch_size=8, shuffle=True))
    known = adopt(data, seed=3)
    part = fit(data, TakeUp(known), tmp_path, path, max_epochs=2)
    assert (known.resumes_at_batch, known.batch_size) == (1, 8)
    assert list(chain(*map(indices, part.seen))) == list(chain(*map(indices, whole.seen[8:12])))


def test_an_epoch_that_can_t_be_taken_up_is_trained_again(tmp_path: Path) -> None:
    def pair() -> list[DataLoader[Any]]:
        return [LOADERS["in order"](), LOADERS["in order"]()]

    class First(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch[0], batch_idx)

    data, path = Module(pair), tmp_path / "at.ckpt"
    known = adopt(data, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Net", First)
        whole = fit(data, SaveAt(path, 8), tmp_path)
        data = Module(pair)
        known = adopt(data, seed=3)
        part = fit(data, TakeUp(known), tmp_path, path)
    assert known.resumes_at_batch == 0
    assert equal(part.seen, whole.seen[6:])


def test_overfitting_sees_the_same_batches_in_every_epoch(tmp_path: Path) -> None:
    for name in ("shuffled", "buckets", "batches already"):
        data = Module(LOADERS[name], val=LOADERS[name])
        adopt(data, seed=3)
        net = fit(data, Callback(), tmp_path, overfit_batches=2)
        assert [indices(batch) for batch in net.seen] == [indices(batch) for batch in net.seen[:2]] * 3
        assert isinstance(data.train_dataloader().sampler, FixedOrder)
        assert isinstance(data.train_dataloader().sampler, SequentialSampler)


def test_lightning_predicts_with_a_data_module_that_was_adopted(tmp_path: Path) -> None:
    data = Module(LOADERS["shuffled"], predict=LOADERS["in order"])
    adopt(data, seed=3)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    predictions = trainer.predict(Net(), data)
    assert list(chain(*map(indices, predictions))) == list(range(23))  # type: ignore[arg-type]


def test_a_hook_that_the_user_has_not_written_stays_unwritten(tmp_path: Path) -> None:
    data = Module(LOADERS["shuffled"])
    adopt(data, seed=3)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    with pytest.raises(Exception, match=r"test_step|test_dataloader"):
        trainer.test(Net(), data)


def test_a_checkpoint_that_was_taken_without_us_is_the_user_s_own(tmp_path: Path) -> None:
    data, path = Module(LOADERS["in order"]), tmp_path / "at.ckpt"
    fit(data, SaveAt(path, 6), tmp_path)
    data = Module(LOADERS["in order"])
    known = adopt(data, seed=3)
    fit(data, TakeUp(known), tmp_path, path)
    assert data.loaded == {"mine": 5}
    assert known.resumes_at_batch is None
