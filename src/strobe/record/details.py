"""`details/details.json`: what a test showed beyond its means, as it is kept beside a run."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from strobe.errors import ConfigError, first_line
from strobe.machine.secrets import redacted
from strobe.record.files import read_bounded
from strobe.record.settings import strict

FOLDER = "details"  # in a run directory
DETAILS = "details.json"
PREDICTIONS = "predictions.csv"

_LIMIT = 32_000_000  # bytes
_LARGEST_PICTURE = 200_000  # bytes of a PNG
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_CLASSES = 100_000

Kind = Literal["classes", "numbers"]


@dataclass(frozen=True)
class Bin:
    """Examples of about one confidence: how many there are, how sure the net was on average, how often right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Mistake:
    """An example that was taken for another class.

    Attributes:
        index: Its place in the split.
        true: Number of its class.
        predicted: Number of the class that it was taken for.
        probability: How sure the net was of that.
        picture: What the net was shown, a PNG; None where that is no image.
    """

    index: int
    true: int
    predicted: int
    probability: float
    picture: bytes | None


@dataclass(frozen=True)
class ClassDetails:
    """What a test of a classifier showed.

    Attributes:
        examples: How many there were.
        correct: How many of them were named rightly.
        classes: Their names, in the order of the logits.
        confusion: How often: ``(true, predicted) -> count``, without those that are 0.
        ece: The expected calibration error, with 15 bins.
        bins: Of equal width, from confidence 0 to 1.
        mistakes: The surest ones, surest first.
    """

    examples: int
    correct: int
    classes: tuple[str, ...]
    confusion: Mapping[tuple[int, int], int]
    ece: float
    bins: tuple[Bin, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Number:
    """How well one number was predicted: mean absolute error, root of the mean squared one, and R², None of equal ones.

    Attributes:
        points: Some of the examples, ``(true, predicted)``.
    """

    name: str
    mae: float
    rmse: float
    r2: float | None
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class NumberDetails:
    """What a test of a regression showed, of each number that it predicts."""

    examples: int
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Details:
    """What a test showed, and of what.

    Attributes:
        checkpoint: The file under ``checkpoints/`` that was tested.
        overrides: What was changed of the run's config, as typed.
        classes: Of a classifier; else None.
        numbers: Of a regression; else None.
    """

    checkpoint: str
    overrides: tuple[str, ...] = ()
    classes: ClassDetails | None = None
    numbers: NumberDetails | None = None


def as_plain(details: Details, *, pictures: bool = True) -> dict[str, Any]:
    """Strict JSON's types: what is no finite number is None.

    Args:
        details: What to write.
        pictures: Whether to keep them, in base64.
    """
    plain = asdict(details)
    if (classes := details.classes) is not None:
        plain["classes"]["confusion"] = [[*pair, count] for pair, count in classes.confusion.items()]
        for mistake in plain["classes"]["mistakes"]:
            picture = mistake.pop("picture")
            if pictures:
                mistake["picture"] = None if picture is None else base64.b64encode(picture).decode()
    plain["overrides"] = [redacted(override) for override in details.overrides]
    cleaned: dict[str, Any] = strict({key: value for key, value in plain.items() if value is not None})
    return cleaned


def details_text(details: Details) -> str:
    """The content of `details.json`.

    Raises:
        ConfigError: If it is more than `read_details` would take.
    """
    if details.classes is not None and len(details.classes.classes) > _MOST_CLASSES:
        raise ConfigError(
            f"{len(details.classes.classes):,} classes: details are written of at most {_MOST_CLASSES:,}; "
            "leave out --details"
        )
    text = json.dumps(as_plain(details)) + "\n"
    if len(text) > _LIMIT:  # ASCII: as many bytes
        raise ConfigError(f"{DETAILS} would have {len(text):,} bytes, it may have {_LIMIT:,}; leave out --details")
    return text


def read_details(path: Path) -> Details | None:
    """The details in a file, whoever wrote it; None if there is none.

    Raises:
        ConfigError: If it is damaged.
    """
    try:
        loaded = json.loads(read_bounded(path, _LIMIT).decode("utf-8"))
        return _details(loaded)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {type(error).__name__}: {first_line(error)}; delete it") from None


def _details(plain: Any) -> Details:
    known: dict[str, Callable[[Any], Any]] = {"classes": _classes, "numbers": _numbers}
    parts = {kind: read(plain[kind]) for kind, read in known.items() if plain.get(kind) is not None}
    if len(parts) != 1:
        raise ValueError("it holds neither classes nor numbers")
    return Details(_text(plain["checkpoint"]), tuple(map(_text, plain["overrides"])), **parts)


def _classes(plain: Any) -> ClassDetails:
    names = tuple(map(_text, plain["classes"]))
    if not 0 < len(names) <= _MOST_CLASSES:
        raise ValueError(f"{len(names)} classes")

    def label(value: Any) -> int:
        if not 0 <= _count(value) < len(names):
            raise ValueError(f"{value!r} is no class")
        return int(value)

    return ClassDetails(
        examples=_count(plain["examples"]),
        correct=_count(plain["correct"]),
        classes=names,
        confusion={(label(true), label(predicted)): _count(count) for true, predicted, count in plain["confusion"]},
        ece=_number(plain["ece"]),
        bins=tuple(
            Bin(_count(each["count"]), _number(each["confidence"]), _number(each["accuracy"])) for each in plain["bins"]
        ),
        mistakes=tuple(
            Mistake(
                _count(each["index"]),
                label(each["true"]),
                label(each["predicted"]),
                _number(each["probability"]),
                _picture(each["picture"]),
            )
            for each in plain["mistakes"]
        ),
    )


def _numbers(plain: Any) -> NumberDetails:
    return NumberDetails(
        _count(plain["examples"]),
        tuple(
            Number(
                _text(each["name"]),
                _number(each["mae"]),
                _number(each["rmse"]),
                None if each["r2"] is None else _number(each["r2"]),
                tuple((_number(true), _number(predicted)) for true, predicted in each["points"]),
            )
            for each in plain["numbers"]
        ),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value


def _number(value: Any) -> float:
    """A number; what was none that JSON can hold is NaN."""
    if value is None:
        return float("nan")
    if type(value) not in (int, float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value)


def _picture(value: Any) -> bytes | None:
    if value is None:
        return None
    content = base64.b64decode(_text(value), validate=True)
    if not content.startswith(_PNG) or len(content) > _LARGEST_PICTURE:
        raise ValueError("a picture is no small PNG")
    return content
