"""What the order of a user's DataLoader comes from, and copies of it with an order of ours."""

import copy
from typing import Any, NamedTuple

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from strobe.data.foreign_batches import SeededCollate, SeededDataset
from strobe.data.foreign_order import LoaderOrder, ShareOfRank

# A loader of a class that makes its iterator in its own way may have an order of its own too.
_MAKES_BATCHES = ("__iter__", "__len__", "_get_iterator", "_index_sampler", "_auto_collation")


class Parts(NamedTuple):
    """What the order of a loader comes from; see `LoaderOrder`."""

    source: Any
    shuffle: bool = False
    batch_size: int | None = None
    drop_last: bool = False


def why_left(loader: Any) -> str | None:
    """Why a loader is left as it is, in words; None if it isn't."""
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__} instead of a DataLoader"
    if isinstance(loader.dataset, IterableDataset):
        return "an iterable dataset"
    if any(getattr(type(loader), name, None) is not getattr(DataLoader, name, None) for name in _MAKES_BATCHES):
        return f"a loader that makes its batches in its own way ({type(loader).__name__})"
    source = parts(loader).source
    try:
        len(source)
    except (TypeError, NotImplementedError):
        return f"a sampler without a length ({type(source).__name__})"
    if any(getattr(each, "num_replicas", 1) > 1 for each in (source, getattr(source, "sampler", None))):
        return f"a sampler that shares out by itself ({type(source).__name__})"
    return None


def parts(loader: DataLoader[Any]) -> Parts:
    """What the order of a loader comes from."""
    batches: Any = loader.batch_sampler
    if batches is None:  # the dataset's elements are batches
        return Parts(*_without_sampler(loader.sampler))
    if type(batches) is BatchSampler:
        return Parts(*_without_sampler(batches.sampler), batches.batch_size, batches.drop_last)
    return Parts(batches)


def _without_sampler(sampler: Any) -> tuple[Any, bool]:
    """A ``range`` and whether to shuffle it, for the samplers that do no more than that; else the sampler."""
    if type(sampler) is DistributedSampler:
        return range(len(sampler.dataset)), sampler.shuffle  # type: ignore[arg-type]  # torch declares no length
    if type(sampler) is SequentialSampler:
        return range(len(sampler)), False
    if type(sampler) is RandomSampler and not sampler.replacement and len(sampler) == len(sampler.data_source):
        return range(len(sampler)), True
    return sampler, False


def copied(loader: DataLoader[Any], order: LoaderOrder) -> DataLoader[Any]:
    """The same loader with another order, and batches that are seeded.

    Not made anew: a subclass may take other arguments. What is set here, a DataLoader wants nobody to set.
    """
    result = copy.copy(loader)
    changed = {
        "sampler": order,
        "batch_sampler": None if loader.batch_sampler is None else order,
        "dataset": SeededDataset(loader.dataset, loader.collate_fn, order.seed),
        "collate_fn": SeededCollate(loader.collate_fn),
        "generator": order.generator,  # else a loader draws from the stream that dropout uses
        "in_order": True,
        "_iterator": None,
    }
    for name, value in changed.items():
        object.__setattr__(result, name, value)
    return result


def shared(loader: DataLoader[Any], order: LoaderOrder) -> DataLoader[Any]:
    """The same loader for one rank's share; Lightning, which wants to know the indices, makes its own of it."""
    if order.world_size == 1:
        return loader
    result = copy.copy(loader)
    if loader.batch_sampler is not None and order.batch_size is None:
        changed: dict[str, Any] = {"batch_sampler": order}
    else:
        share = ShareOfRank(order)
        batches = None if order.batch_size is None else BatchSampler(share, order.batch_size, drop_last=False)
        changed = {"sampler": share, "batch_sampler": batches}
    for name, value in changed.items():
        object.__setattr__(result, name, value)
    return result
