"""Checkpoint files: whole or not there, their checksums compared before they are loaded, never able to run code."""

import errno
import logging
import math
import shutil
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from strobe.errors import CheckpointError, ConfigError, first_line
from strobe.record.archive import opened_archive, refusals_told, refuse_odd_tensors
from strobe.record.files import replacing
from strobe.record.layout import LAST

log = logging.getLogger(__name__)

_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None)),
    *(torch.Size, torch.dtype, torch.device),
)
_MOST_INPUTS = 2**26  # numbers of an image; a net for more would fill the memory before its weights are compared
_PREPARED_BEFORE = {"MNIST": "centred_digit", "FashionMNIST": "centred_article"}  # by title


class SafeCheckpointIO(CheckpointIO):
    """How Lightning reads and writes checkpoints here.

    Lightning's own writes to $TMPDIR and moves: across file systems that is a copy, and a kill in its middle replaces
    a good checkpoint with half of one. Its loader checks no checksums.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write beside the target, flush to the disk, then rename.

        Raises:
            OSError: If the disk is full or not writable; the file that was there is unharmed.
            ConfigError: If it holds what no checkpoint may.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if (odd := _odd_entry(checkpoint)) is not None:
            raise ConfigError(
                f"a checkpoint would hold {odd}, and could not be read back: keep tensors, numbers, text and plain "
                "containers of them in on_save_checkpoint and state_dict"
            )
        with _on_a_full_disk(path), replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read with `load_checkpoint`, always with ``weights_only=True``."""
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file, if it is there."""
        Path(path).unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors and plain containers only, whatever the file or environment asks for.

    Raises:
        CheckpointError: If the file is missing, not a checkpoint, cut short, altered, or holds more than tensors.
    """
    with refusals_told(path, "is not a checkpoint, or was cut short"):
        with opened_archive(path) as file:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        refuse_odd_tensors(checkpoint, path)
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path} is not a checkpoint of a run: it has no state_dict")
    return cast(dict[str, Any], checkpoint)


def dataset_facts(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """What a checkpoint that was read from ``path`` says of the images: see `ImageDataset.facts`; None if nothing.

    Raises:
        CheckpointError: If it makes no sense.
    """
    facts = checkpoint.get("dataset")
    if facts is None:
        return None
    try:
        channels, height, width = facts["shape"]
        sensible = (
            _is_shape([channels, height, width])
            and all(isinstance(name, str) for name in facts["classes"])
            and all(isinstance(number, float | int) for number in [*facts["mean"], *facts["std"]])
            and len(facts["mean"]) == len(facts["std"]) == channels
            and isinstance(facts.get("preparation"), str | None)
            and facts.get("fit", "stretch") in ("stretch", "crop")
            and _is_shape(stored := facts.get("stored_shape", facts["shape"]))
            and stored[0] in (1, channels)
        )
    except (KeyError, TypeError, ValueError):
        sensible = False
    if not sensible:
        raise CheckpointError(f"{path} is damaged: what it says of the images that it was trained on makes no sense")
    return cast(dict[str, Any], facts)


def preparation_of(facts: Mapping[str, Any]) -> str | None:
    """How images of the data set were prepared, of what `dataset_facts` gives; see `ImageDataset.preparation`.

    Checkpoints of before that was kept say it by their data set's title.
    """
    if "preparation" in facts:
        return cast(str | None, facts["preparation"])
    known = _PREPARED_BEFORE.get(str(facts.get("title")))
    return known if list(facts["shape"]) == [1, 28, 28] and len(facts["classes"]) == 10 else None


def _is_shape(sizes: Sequence[Any]) -> bool:
    return (
        len(sizes) == 3 and all(type(size) is int and size >= 1 for size in sizes) and math.prod(sizes) <= _MOST_INPUTS
    )


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint, as safely as it was written."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def newest_checkpoint(directory: Path) -> Path:
    """The checkpoint to resume from: ``last.ckpt``, or the newest readable one where that is damaged.

    Raises:
        CheckpointError: If there is none.
    """
    others = sorted(directory.glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    candidates = sorted(others, key=lambda path: path.name != LAST)
    for path in candidates:
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            log.warning("%s. Trying an earlier checkpoint", error)
        else:
            if path.name != LAST:
                log.warning("Resuming from %s", path.name)
            return path
    raise CheckpointError(f"{directory} holds no usable checkpoint to resume from: start the run anew without resume=")


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a checkpoint's ``state_dict`` into a module.

    Raises:
        CheckpointError: If the file is unusable, keys or shapes differ from the module's, or a weight is not finite.
    """
    load_state(module, load_checkpoint(path)["state_dict"], path)


def load_state(module: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state that was read from ``path`` into a module, whether either is compiled or not.

    Raises:
        CheckpointError: If its keys or shapes differ from the module's, or a weight is not finite.
    """
    called = {plain_name(key): key for key in module.state_dict()}
    state = {called.get(plain_name(key), key): value for key, value in state.items()}
    if problems := state_problems(module.state_dict(), state):
        raise CheckpointError(f"{path} does not fit the model: {'; '.join(problems)}")
    module.load_state_dict(state)


def plain_name(key: str) -> str:
    """The name of a weight without what ``torch.compile`` puts into it."""
    return key.replace("_orig_mod.", "")


def prefix_of(keys: Iterable[str], state: Iterable[str]) -> str | None:
    """What stands before a net's keys in the state of the module that holds it; None if it is not whole in there."""
    own, held = {plain_name(key) for key in keys}, {plain_name(key) for key in state}
    if not own:
        return ""
    first = min(own)
    prefixes = sorted({key.removesuffix(first) for key in held if key.endswith(first)}, key=lambda each: each != "net.")
    return next((prefix for prefix in prefixes if all(prefix + key in held for key in own)), None)


def state_problems(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Why a saved state can't be loaded into a module whose own state is ``own``: keys, shapes, and NaN."""
    problems = []
    if missing := sorted(set(own) - set(state)):
        problems.append(f"it lacks {', '.join(missing)}")
    if extra := sorted(set(state) - set(own)):
        problems.append(f"the model lacks {', '.join(extra)}")
    for key in sorted(set(own) & set(state)):
        if not isinstance(state[key], Tensor) and isinstance(own[key], Tensor):
            problems.append(f"{key} is no tensor in the file")
        elif not isinstance(own[key], Tensor):
            continue
        elif own[key].shape != state[key].shape:
            problems.append(f"{key} is {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model")
        elif _is_odd(state[key], own[key]):
            problems.append(f"{key} holds NaN or infinity")
    return problems


def _is_odd(saved: Tensor, own: Tensor) -> bool:
    """Whether a tensor holds NaN or infinity, and is not what the module has already, such as a mask."""
    if not saved.is_floating_point() or bool(saved.isfinite().all()):
        return False
    return own.is_meta or not torch.equal(saved.cpu(), own.detach().cpu().to(saved.dtype))


def random_state() -> dict[str, Tensor]:
    """The states of torch's generators on the CPU and on this rank's GPU, as plain tensors."""
    state = {"cpu": torch.get_rng_state()}
    # torch's is_initialized lacks annotations
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Set what `random_state` returned; a GPU takes it from whichever it was taken on."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _odd_entry(node: Any, path: str = "") -> str | None:
    """Where something is, and what, that `load_checkpoint` would refuse; None if there is nothing like that."""
    if isinstance(node, Tensor) or type(node) in _PLAIN:
        return None
    if type(node) in (dict, OrderedDict, Counter):
        parts: Any = ((f"{path}[{key!r}]", value) for key, value in node.items())
    elif type(node) in (list, tuple, set):
        parts = ((f"{path}[{index}]", value) for index, value in enumerate(node))
    else:
        return f"a {type(node).__module__}.{type(node).__name__} at {path}"
    return next((odd for place, value in parts if (odd := _odd_entry(value, place)) is not None), None)


@contextmanager
def _on_a_full_disk(path: Path) -> Iterator[None]:
    """torch.save raises a RuntimeError where the disk is full, and doesn't say that it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, f"writing failed, the disk may be full: {first_line(error)}", str(path)) from error
