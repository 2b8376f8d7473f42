"""The weights that a new run begins from: of another run, of a checkpoint, or of a plain file from anywhere."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from strobe.errors import CheckpointError, ConfigError, first_line
from strobe.record.archive import opened_archive, refusals_told, refuse_odd_tensors
from strobe.record.files import regular_file
from strobe.record.layout import BEST, CHECKPOINTS, CONFIG

_INNER = ("state_dict", "model_state_dict", "model")
"""Where checkpoints, ours and others', keep the weights."""

_WRAPPERS = ("net", "model", "module", "body", "_orig_mod")
"""What stands before the name of a weight where a module holds another one and adds nothing of its own."""

_UNCOUNTED = "num_batches_tracked"  # of a BatchNorm, which hardly ever uses it; older files lack it
_MOST_NAMED = 5  # keys in a message


@dataclass(frozen=True)
class Loaded:
    """What was loaded into a module, and what was not.

    Attributes:
        loaded: How many parameters and buffers.
        missing: Keys of the module that the file lacks.
        unexpected: Keys of the file that the module lacks, as they would be called there.
        mismatched: Keys of both, with the shape in the file and the one in the module.
    """

    loaded: int
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]

    def only(self, keep: Callable[[str], bool]) -> "Loaded":
        """The same, of what was not loaded only the keys to keep."""
        return Loaded(
            self.loaded,
            [key for key in self.missing if keep(key)],
            [key for key in self.unexpected if keep(key)],
            [entry for entry in self.mismatched if keep(entry[0])],
        )

    def misfits(self) -> list[str]:
        """What was not loaded, a few words for each kind of it; empty if everything was."""
        lines = []
        if self.missing:
            lines.append(f"the file lacks {_few(self.missing)}")
        if self.unexpected:
            lines.append(f"the model lacks {_few(self.unexpected)}")
        if self.mismatched:
            shapes = (f"{key} is {theirs} in the file, {own} in the model" for key, theirs, own in self.mismatched)
            lines.append(_few(list(shapes)))
        return lines


def initial_state(path: Path) -> dict[str, Tensor]:
    """The weights at a place; only tensors are read, and nothing in a file can run.

    Args:
        path: A run directory, whose best checkpoint is taken; a checkpoint, ours or another project's; a file that
            `torch.save` made of a ``state_dict``; or a ``.safetensors`` file.

    Raises:
        CheckpointError: If there is no such thing, it is damaged, or it holds no weights.
    """
    if path.is_dir():
        path = _best_of(path)
    loaded = _from_safetensors(path) if path.suffix == ".safetensors" else _from_torch(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds no weights by name: it is a {type(loaded).__name__}")
    state: dict[Any, Any] = next((loaded[key] for key in _INNER if isinstance(loaded.get(key), dict)), loaded)
    for key in [key for key, value in state.items() if not isinstance(key, str) or not isinstance(value, Tensor)]:
        del state[key]  # in place: torch's own state dicts carry a note of their version, and old ones need it
    if not state:
        raise CheckpointError(f"{path} holds no weights by name")
    return state


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, *, strict: bool | str | Sequence[str] = True
) -> Loaded:
    """Load weights into a module, whatever stands before their names on either side.

    ``net.``, ``model.``, ``module.`` and the like are taken off or put on so that as much as possible fits; what lies
    outside of that, such as a criterion of the other project, is left alone. After an error the module is unusable.

    Args:
        module: What to load into.
        state: From `initial_state`.
        path: Where that was read, for messages.
        strict: Whether everything has to fit; or a glob pattern of the keys that have to, or several.

    Raises:
        CheckpointError: If something does not fit that has to, nothing fits, or a weight is not finite.
        ConfigError: If a pattern of ``strict`` matches no key.
    """
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    theirs, ours = _prefixes(own, state)
    renamed = _renamed(state, theirs, ours)
    mismatched = [
        (key, tuple(value.shape), tuple(own[key].shape))
        for key, value in renamed.items()
        if key in own and own[key].shape != value.shape
    ]
    for key, _, _ in mismatched:
        del renamed[key]
    if odd := [key for key in renamed if key in own and not _is_finite(renamed[key])]:
        raise CheckpointError(f"{path} holds NaN or infinity: {_few(odd)}")
    # By torch, not by copying: modules of torchvision rename what older files call otherwise.
    found = module.load_state_dict(renamed, strict=False)
    wrong = {key for key, _, _ in mismatched}
    wanted = [key for key in own if key.startswith(ours) and not key.endswith(_UNCOUNTED)]
    missing = [key for key in found.missing_keys if key in set(wanted) - wrong]
    loaded = Loaded(len(wanted) - len(missing) - len(wrong), missing, list(found.unexpected_keys), mismatched)
    if loaded.loaded == 0:
        examples = f"its keys are like {_few(list(state), 2)}, the model's like {_few(list(own), 2)}"
        raise CheckpointError(f"{path} does not fit the model: of its weights none does; {examples}")
    if isinstance(strict, bool):
        problems = loaded.misfits() if strict else []
    else:
        patterns = [strict] if isinstance(strict, str) else strict
        if idle := [each for each in patterns if not any(matches(key, [each]) for key in {*own, *renamed})]:
            raise ConfigError(f"init_strict: {_few(idle)} matches no weight; the model's are like {_few(list(own), 3)}")
        problems = loaded.only(lambda key: matches(key, patterns)).misfits()
    if problems:
        raise CheckpointError(
            f"{path} does not fit the model: {'; '.join(problems)}. To load what fits, and begin anew with the rest: "
            "init_strict=false, or a list of patterns of what has to fit"
        )
    return loaded


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a glob pattern matches the name of a weight, with or without ``net.`` and the like before it."""
    called = [name[len(prefix) :] for prefix in _wrappings(name)]
    return any(fnmatchcase(each, pattern) for each in called for pattern in patterns)


def _best_of(directory: Path) -> Path:
    best = directory / CHECKPOINTS / BEST
    if best.is_file():
        return best
    if not (directory / CONFIG).is_file():
        raise CheckpointError(f"{directory} is no run directory: name one, a checkpoint, or a file of weights")
    raise CheckpointError(f"{directory} has no {CHECKPOINTS}/{BEST}: the run kept no checkpoint")


def _from_torch(path: Path) -> Any:
    """What `torch.save` wrote, in its present format or in that of before 2020, which many published weights have."""
    with refusals_told(path, "was cut short, or is no file of weights"):
        with regular_file(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            is_archive = file.read(2) == b"PK"
            file.seek(0)
            loaded = None if is_archive else torch.load(file, map_location="cpu", weights_only=True)
        if is_archive:
            with opened_archive(path) as file:
                loaded = torch.load(file, map_location="cpu", weights_only=True)
        refuse_odd_tensors(loaded, path)
    return loaded


def _from_safetensors(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist, or is no regular file")
    if importlib.util.find_spec("safetensors") is None:
        raise CheckpointError(f"{path}: to read it takes the package safetensors: pip install safetensors")
    try:
        return importlib.import_module("safetensors.torch").load_file(str(path))
    except Exception as error:  # its errors are of classes of its own
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from None


def _prefixes(own: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[str, str]:
    """What to take off the file's keys, and what to put before them, for the most weights to fit."""

    def fit(pair: tuple[str, str]) -> tuple[int, int, int]:
        """How many fit; then how few of the file, and how few of the module, are left over."""
        theirs, ours = pair
        named = {ours + key.removeprefix(theirs): value for key, value in state.items() if key.startswith(theirs)}
        # A number alone has the shape of any other.
        fitting = sum(value.ndim > 0 and key in own and own[key].shape == value.shape for key, value in named.items())
        return fitting, len(named), -sum(key.startswith(ours) and key not in named for key in own)

    off, on = ({"": None} | {prefix: None for key in keys for prefix in _wrappings(key)} for keys in (state, own))
    return max(((theirs, ours) for theirs in off for ours in on), key=fit)  # of equals the first, which changes least


def _renamed(state: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """The weights under their names in the module, with the notes of torch about their versions."""
    renamed = type(state)() if isinstance(state, dict) else {}
    renamed.update({ours + key.removeprefix(theirs): value for key, value in state.items() if key.startswith(theirs)})
    if notes := getattr(state, "_metadata", None):
        inside = {f"{name}." if name else "": note for name, note in notes.items()}
        renamed._metadata = {  # type: ignore[attr-defined]  # where torch keeps them, and nowhere else
            (ours + name.removeprefix(theirs)).removesuffix("."): note
            for name, note in inside.items()
            if name.startswith(theirs)
        }
    return renamed


def _wrappings(key: str) -> Iterator[str]:
    """Whatever may be taken off the beginning of a key: nothing, one wrapper, two, ..."""
    prefix = ""
    yield prefix
    for part in key.split(".")[:-1]:
        if part not in _WRAPPERS:
            return
        prefix += f"{part}."
        yield prefix


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _few(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
