"""A stranger's dataset whose random transforms follow from the batch, whichever process fetches it."""

import ctypes
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from strobe.data.order import mix

_MT19937_BYTES = 624 * 4 + 4  # the words of the state and the place in them


class Key(list[Any]):
    """What a dataset is asked for to make one batch: its indices, or the one key of a batch that is made already.

    Args:
        indices: Of the batch.
        seed: Seeds whatever is random about the batch.
    """

    def __init__(self, indices: Iterable[Any], seed: int) -> None:
        super().__init__(indices)
        self.seed = seed


class SeededDataset(Dataset[Any]):
    """Stands before a dataset of the user: fetches and collates a batch with the global generators seeded for it.

    All else that one may ask of it, or set, is the dataset's own.

    Args:
        dataset: Of the user.
        collate: Of the user's loader; it may draw too, a mixup often does so here.
        seed: For batches that are asked for without a `Key`.
    """

    OWN = ("_of_user", "_collate", "_seed")

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], seed: int) -> None:
        self._of_user = dataset
        self._collate = collate
        self._seed = seed

    def __getattr__(self, name: str) -> Any:
        if name in SeededDataset.OWN or name.startswith("__"):  # asked for while a copy, or a worker's, is being made
            raise AttributeError(name)
        return getattr(self._of_user, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SeededDataset.OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._of_user, name, value)

    def __len__(self) -> int:
        return len(self._of_user)

    def __getitem__(self, key: Any) -> Any:
        """An example, as the dataset gives it; for a `Key`, the batch that it names."""
        if not isinstance(key, Key):
            return self._of_user[key]
        with seeded(key.seed):
            return Collated(self._collate(self._of_user[key[0]]))

    def __getitems__(self, key: list[Any]) -> "Collated":
        seed = key.seed if isinstance(key, Key) else mix(self._seed, zlib.crc32(repr(key[:1]).encode()))
        fetch = getattr(self._of_user, "__getitems__", None)
        with seeded(seed):
            return Collated(self._collate(fetch(list(key)) if fetch else [self._of_user[index] for index in key]))


class Collated:
    """A batch that has been collated: `SeededCollate` takes it out."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class SeededCollate:
    """The user's ``collate_fn``, but for batches that a `SeededDataset` has collated already."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, examples: Any) -> Any:
        """The batch."""
        return examples.batch if isinstance(examples, Collated) else self.collate(examples)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within, the global generators of torch (on the CPU), numpy and ``random`` are seeded; afterwards as before.

    In a worker they stay as they are left: nothing but batches draws from them there.
    """
    if get_worker_info() is not None:
        _seed_torch_and_random(seed)
        np.random.seed(_for_numpy(seed))
        yield
        return
    of_torch, of_random = torch.default_generator.get_state(), random.getstate()
    try:
        with _numpy.lent(_for_numpy(seed)):
            _seed_torch_and_random(seed)
            yield
    finally:
        torch.default_generator.set_state(of_torch)
        random.setstate(of_random)


def _seed_torch_and_random(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that one seeds the GPUs too
    random.seed(seed)


def _for_numpy(seed: int) -> int:
    """32 bits that torch doesn't use: seeded with the same ones, both would draw the same numbers."""
    return seed >> 31


class _NumpyStream:
    """Numpy's global generator, lent to a batch.

    To read its state and set it again takes as long as to make a small batch. To exchange the bit generator for another
    one takes a hundredth of that, but forgets the second of two normal numbers that are always drawn together. So the
    state is saved only where someone has drawn since it was last given back, which the generator's memory tells.
    """

    def __init__(self) -> None:
        self._lent = np.random.MT19937(0)
        self._given_back: bytes | None = None  # its memory then, if it kept no number back

    @contextmanager
    def lent(self, seed: int) -> Iterator[None]:
        """Within, numpy draws from a generator that is seeded."""
        own = np.random.get_bit_generator()  # type: ignore[attr-defined]  # numpy's stubs lack it
        memory = _memory(own)
        unused = memory is not None and memory == self._given_back
        state: Any = None if unused else np.random.get_state(legacy=False)
        np.random.set_bit_generator(self._lent)  # type: ignore[attr-defined]
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_bit_generator(own)  # type: ignore[attr-defined]
            if state is not None:
                np.random.set_state(state)
                self._given_back = None if state["has_gauss"] else memory


def _memory(generator: Any) -> bytes | None:
    if type(generator) is not np.random.MT19937:
        return None
    return ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)


_numpy = _NumpyStream()
