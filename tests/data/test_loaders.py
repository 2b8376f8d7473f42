"""Which images are served, in which order, and that both loaders serve the same numbers as torchvision."""

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from strobe.data.augment import Affine, Compose, Cutout, Mixup
from strobe.data.datamodule import ImageDataModule
from strobe.data.dataset import SplitName
from strobe.data.loaders import Augmentation, Batch, Batches, MemoryLoader, TensorSplit, torch_loader
from strobe.data.order import BatchOrder
from strobe.data.root import default_root
from strobe.errors import ConfigError
from tests.conftest import Train, report
from tests.tiny import TinyDigits

MEAN, STD = (0.1307, 0.2, 0.3), (0.3081, 0.25, 0.17)


def random_split(size: int, channels: int = 1, side: int = 8) -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, channels, side, side), dtype=torch.uint8, generator=generator)
    return TensorSplit(images, torch.randint(0, 10, (size,), generator=generator))


def equal(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        torch.equal(images, other_images) and torch.equal(targets, other_targets)
        for (images, targets), (other_images, other_targets) in zip(first, second, strict=True)
    )


def datamodule(root: Path, **settings: object) -> ImageDataModule:
    module = ImageDataModule(TinyDigits(), root=str(root), download=False, **{"val_size": 101, **settings})  # type: ignore[arg-type]
    module.prepare_data()
    module.setup()
    return module


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "affine and cutout": Compose([Affine(degrees=10, shift=2, zoom=0.1), Cutout(3)]),
    "mixup": Mixup(0.4, num_classes=10),
}


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_both_loaders_yield_the_same_batches_in_every_epoch(augmentation: str, num_workers: int) -> None:
    batches = Batches(random_split(50), MEAN[:1], STD[:1], AUGMENTATIONS[augmentation])
    memory = MemoryLoader(batches, BatchOrder(50, 8, seed=3))
    torchs = torch_loader(batches, BatchOrder(50, 8, seed=3), num_workers, pin_memory=False)
    assert len(memory) == len(torchs) == 7
    seen = []
    for epoch in (0, 1, 5):
        for loader in (memory, torchs):
            loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        seen.append([(images.clone(), targets.clone()) for images, targets in torchs])
        assert equal(memory, seen[-1])
    assert not equal(seen[0], seen[1])
    memory.sampler.set_epoch(0)
    assert equal(memory, seen[0]), "an epoch is the same whatever was read before it"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_both_loaders_of_the_datamodule_yield_the_same_batches(tiny_root: Path, num_workers: int) -> None:
    settings = {
        "batch_size": 32,
        "seed": 5,
        "augment": True,
        "augmentations": {"affine": Affine(shift=2), "crop": None},
    }
    memory = datamodule(tiny_root, **settings)
    torchs = datamodule(tiny_root, **settings, loader="torch", num_workers=num_workers)
    assert equal(memory.train_dataloader(), torchs.train_dataloader())
    assert equal(memory.val_dataloader(), torchs.val_dataloader())
    assert equal(memory.test_dataloader(), torchs.test_dataloader())
    plain = datamodule(tiny_root, **settings | {"augment": False})
    assert not equal(memory.train_dataloader(), plain.train_dataloader())
    assert equal(memory.val_dataloader(), plain.val_dataloader()), "validation images are never augmented"
    assert equal(memory.test_dataloader(), plain.test_dataloader())


class PilImages(Dataset[Batch]):
    """What a person would write: one PIL image at a time through torchvision's transforms."""

    def __init__(self, split: TensorSplit, transform: Callable[[Image.Image], Tensor]) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, index: int) -> Batch:
        pixels = self.split.images[index].permute(1, 2, 0).squeeze(-1).numpy()
        return self.transform(Image.fromarray(pixels)), self.split.targets[index]


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_equal_those_of_torchvision_bit_for_bit(channels: int) -> None:
    split = random_split(257, channels)
    mean, std = MEAN[:channels], STD[:channels]
    assert len(split.images.unique()) == 256, "every value of a pixel is compared"
    order = BatchOrder(257, 32, seed=1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    reference = DataLoader(PilImages(split, transform), batch_size=32, sampler=order.permutation().tolist())
    assert equal(MemoryLoader(Batches(split, mean, std), order), reference)


def test_torchvisions_own_mnist_reads_the_same_files_to_the_same_batches(tiny_root: Path, tmp_path: Path) -> None:
    (tmp_path / "MNIST").symlink_to(tiny_root / "tiny")
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(TinyDigits.mean, TinyDigits.std)])
    train, test = (datasets.MNIST(str(tmp_path), train=train, transform=transform) for train in (True, False))
    module = datamodule(tiny_root, val_size=0, batch_size=64, eval_batch_size=100)
    order = BatchOrder(640, 64, seed=0).permutation().tolist()
    assert equal(module.train_dataloader(), DataLoader(train, batch_size=64, sampler=order))
    assert equal(module.test_dataloader(), DataLoader(test, batch_size=100))


def indices(order: BatchOrder) -> list[list[int]]:
    return [key.indices.tolist() for key in order]


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    order = BatchOrder(103, 10, seed=4)
    first = indices(order)
    assert sorted(chain(*first)) == list(range(103))
    assert [len(batch) for batch in first] == [10] * 10 + [3]
    torch.manual_seed(99)
    assert indices(BatchOrder(103, 10, seed=4)) == first == indices(order)
    order.set_epoch(1)
    second = indices(order)
    assert second != first
    assert sorted(chain(*second)) == list(range(103))
    assert indices(BatchOrder(103, 10, seed=5)) not in (first, second), "seed + 1 is not epoch + 1"
    unshuffled = BatchOrder(103, 10, seed=4, shuffle=False)
    unshuffled.set_epoch(7)
    assert list(chain(*indices(unshuffled))) == list(range(103))


def test_no_two_batches_share_a_seed_for_their_augmentation() -> None:
    seeds = set()
    for seed in range(3):
        for epoch in range(3):
            for rank in range(2):
                order = BatchOrder(64, 4, seed=seed, rank=rank, world_size=2)
                order.set_epoch(epoch)
                seeds |= {key.seed for key in order}
    assert len(seeds) == 3 * 3 * 2 * 8
    assert all(0 <= seed < 1 << 63 for seed in seeds)


SIZES = [1, 2, 3, 7, 8, 9, 33, 64, 97, 100]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_ranks_are_disjoint_and_cover_the_set(size: int, world_size: int) -> None:
    batch_size = 2
    orders = [BatchOrder(size, batch_size, seed=1, rank=rank, world_size=world_size) for rank in range(world_size)]
    ranks = [indices(order) for order in orders]
    assert len({len(rank) for rank in ranks}) == 1, "every rank takes equally many steps"
    assert sorted(chain(*(chain(*rank) for rank in ranks))) == list(range(size))
    for step, shares in enumerate(zip(*ranks, strict=True)):
        lengths = [len(share) for share in shares]
        assert sum(lengths) == orders[0].global_batch_size(step)
        assert max(lengths) - min(lengths) <= 1
        if size >= world_size:
            assert min(lengths) > 0, "a rank without an image would have no loss"


@pytest.mark.parametrize("size", [96, 97, 101, 119])
def test_global_batches_are_the_same_whatever_the_number_of_ranks(size: int) -> None:
    def global_batches(world_size: int) -> list[set[int]]:
        ranks = [
            indices(BatchOrder(size, 12 // world_size, seed=2, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        return [set(chain(*shares)) for shares in zip(*ranks, strict=True)]

    alone = global_batches(1)
    for world_size in (2, 3, 4):
        found = global_batches(world_size)
        whole = len(alone) if size % 12 == 0 or size % 12 >= world_size else len(alone) - 2
        assert found[:whole] == alone[:whole]
        assert set.union(*found) == set.union(*alone)


def test_a_tail_smaller_than_the_ranks_joins_the_batch_before_it() -> None:
    order = BatchOrder(97, 3, world_size=4)
    assert len(order) == 8
    assert [order.global_batch_size(step) for step in range(8)] == [12] * 7 + [13]


@pytest.mark.parametrize("loader", ["memory", "torch"])
def test_a_resumed_epoch_leaves_out_what_was_seen_and_only_once(loader: str) -> None:
    batches = Batches(random_split(50), MEAN[:1], STD[:1], Affine(shift=2))
    order = BatchOrder(50, 8, seed=3)
    served = MemoryLoader(batches, order) if loader == "memory" else torch_loader(batches, order, 0, pin_memory=False)
    whole = list(served)
    order.skip(5)
    assert equal(served, whole[5:])
    assert equal(served, whole)
    order.skip(7)
    assert list(served) == []


@pytest.mark.parametrize("val_size", [1, 101, 639])
def test_validation_images_are_never_trained_on(tiny_root: Path, val_size: int) -> None:
    module = datamodule(tiny_root, val_size=val_size)
    train, val = module.splits["train"].positions, module.splits["val"].positions
    assert train is not None
    assert val is not None
    assert len(val) == val_size
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(640))


def test_the_seed_of_a_run_does_not_choose_the_validation_images(tiny_root: Path) -> None:
    def val(**settings: int) -> Tensor:
        positions = datamodule(tiny_root, **settings).splits["val"].positions
        assert positions is not None
        return positions

    assert torch.equal(val(seed=1), val(seed=2))
    assert not torch.equal(val(split_seed=1), val(split_seed=2))
    assert not torch.equal(val(), torch.arange(101)), "the first images of a sorted file would be one class"


def test_test_images_are_the_official_ones_and_never_trained_on(tiny_root: Path) -> None:
    module = datamodule(tiny_root)
    served = {split: split_images(module, split) for split in ("train", "val", "test")}
    official = {split: as_bytes(TinyDigits().load(tiny_root, split)[0]) for split in ("train", "test")}
    assert served["test"] == official["test"]
    assert sorted(served["train"] + served["val"]) == sorted(official["train"])
    assert not set(served["test"]) & set(served["train"] + served["val"])


def as_bytes(images: Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


def split_images(module: ImageDataModule, split: str) -> list[bytes]:
    held = module.splits[split]
    return as_bytes(held.select(torch.arange(len(held)))[0])


@pytest.mark.parametrize("stage", ["fit", "test", None])
def test_only_the_splits_of_a_stage_are_read(tiny_root: Path, stage: str | None) -> None:
    module = ImageDataModule(TinyDigits(), root=str(tiny_root), val_size=101)
    module.setup(stage)
    assert set(module.splits) == {"fit": {"train", "val"}, "test": {"test"}, None: {"train", "val", "test"}}[stage]


@pytest.mark.parametrize("loader", ["memory", "torch"])
def test_without_a_validation_set_all_images_are_trained_on(tiny_root: Path, loader: str) -> None:
    module = datamodule(tiny_root, val_size=0, shuffle=False, loader=loader)
    assert list(module.val_dataloader()) == []
    targets = torch.cat([targets for _, targets in module.train_dataloader()])
    assert torch.equal(targets, TinyDigits().load(tiny_root, "train")[1])


@pytest.mark.parametrize("val_size", [-1, 640, 5000])
def test_a_validation_set_that_leaves_nothing_to_train_on_is_refused(tiny_root: Path, val_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.val_size={val_size} of 640 training images: choose 0 to 639"):
        datamodule(tiny_root, val_size=val_size)


@pytest.mark.parametrize("loader", ["memory", "torch"])
def test_a_batch_may_be_larger_than_the_data(tiny_root: Path, loader: str) -> None:
    module = datamodule(tiny_root, batch_size=10_000, eval_batch_size=10_000, loader=loader)
    for batches, size in (
        (module.train_dataloader(), 539),
        (module.val_dataloader(), 101),
        (module.test_dataloader(), 163),
    ):
        assert [len(targets) for _, targets in batches] == [size]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_torch_loader_leaves_the_stream_of_random_numbers_to_dropout(num_workers: int) -> None:
    batches = Batches(random_split(20), MEAN[:1], STD[:1], Affine(degrees=5))
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    assert len(list(torch_loader(batches, BatchOrder(20, 4), num_workers, pin_memory=False))) == 5
    assert torch.equal(torch.rand(4), expected)
    torch.manual_seed(0)
    assert len(list(MemoryLoader(batches, BatchOrder(20, 4)))) == 5
    assert torch.equal(torch.rand(4), expected)


def test_serving_a_batch_leaves_the_images_alone() -> None:
    split = random_split(20)
    before = split.images.clone()
    assert len(list(MemoryLoader(Batches(split, MEAN[:1], STD[:1]), BatchOrder(20, 4)))) == 5
    assert torch.equal(split.images, before)


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ("/somewhere", "/somewhere/strobe"),
        (None, "/home/me/.cache/strobe"),
        ("", "/home/me/.cache/strobe"),
        ("relative", "/home/me/.cache/strobe"),
    ],
)
def test_data_is_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, cache: str | None, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert default_root() == Path(expected)
    assert ImageDataModule(TinyDigits()).root == Path(expected)
    assert ImageDataModule(TinyDigits(), root="~/data").root == Path("/home/me/data")


class OtherTargets(TinyDigits):
    """Its images with targets that name no classes."""

    kind = "floats"

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        images, labels = super().load(root, split)
        match self.kind:
            case "floats":
                return images, labels.float()
            case "several":
                return images, torch.nn.functional.one_hot(labels, 10)
            case "too many":
                return images, labels + 1
        return images, labels[:-1]


@pytest.mark.parametrize(
    ("kind", "message"), [("too many", "go from 1 to 10; .*from 0 to 9"), ("too few", "639 targets for 640 images")]
)
def test_labels_without_a_class_or_an_image_are_refused(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    monkeypatch.setattr(OtherTargets, "kind", kind)
    data = ImageDataModule(OtherTargets(), root=str(tiny_root), batch_size=8, val_size=100)
    with pytest.raises(ConfigError, match=message):
        data.setup("fit")
    with pytest.raises(ConfigError):
        data.setup("test")


@pytest.mark.parametrize("kind", ["floats", "several"])
def test_a_classifier_refuses_targets_that_are_no_classes(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(OtherTargets, "kind", kind)
    own = "data.dataset._target_=tests.data.test_loaders.OtherTargets"
    with pytest.raises(ConfigError, match=r"accuracy means something for classes alone.*task=regression.*loss=bce"):
        train_tiny(own)


def test_numbers_of_pictures_are_learnt_by_regression(train_tiny: Train) -> None:
    own = ("data.dataset._target_=tests.data.test_loaders.OneNumber", "task=regression")
    metrics = report(train_tiny(*own))["metrics"]
    assert metrics["test/mae"] < 2.5, "of digits from 0 to 9"
    assert not any("acc" in name for name in metrics)


class OneNumber(TinyDigits):
    """Its digits as numbers."""

    classes = ("digit",)

    def load(self, root: Path, split: SplitName) -> tuple[Tensor, Tensor]:
        images, labels = TinyDigits().load(root, split)
        return images, labels.float()
