"""What a test showed in detail, in words and in files."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from strobe.machine.table import aligned
from strobe.record.details import (
    DETAILS,
    PREDICTIONS,
    ClassDetails,
    Details,
    NumberDetails,
    details_text,
)
from strobe.record.files import replacing, write_atomically
from strobe.report.cells import csv_cell, number_text
from strobe.report.details_plots import pictures

_CONFUSIONS = 10
_CLASSES = 100  # a terminal's and a page's table of classes


def write_details(details: Details, predictions: Mapping[str, Sequence[object]], out: Path) -> list[str]:
    """Write them to a directory; returns the names of the files.

    Args:
        details: What a test showed.
        predictions: One row for each example, by column.
        out: The directory; made where it is not there.

    Raises:
        ConfigError: If they are too many to be read again; nothing is written then.
    """
    content = details_text(details)
    out.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, predictions))
    writer.writerows(map(csv_cell, row) for row in zip(*predictions.values(), strict=True))
    write_atomically(out / PREDICTIONS, text.getvalue())
    drawn = {f"{name}.png": png for name, png in pictures(details, alone=True).items()}
    for name, png in drawn.items():
        with replacing(out / name) as temporary:
            temporary.write_bytes(png)
    write_atomically(out / DETAILS, content)  # last: it says that the others are there
    return [PREDICTIONS, *drawn, DETAILS]


def in_words(details: Details) -> str:
    """The numbers for a terminal."""
    if details.classes is not None:
        return _of_classes(details.classes)
    assert details.numbers is not None, "it holds one of the two"
    return aligned(number_rows(details.numbers))


def headline(classes: ClassDetails) -> str:
    """How many were right, as in 9,754 of 10,000 correct (97.54 %)."""
    share = f" ({100 * classes.correct / classes.examples:.2f} %)" if classes.examples else ""
    return f"{classes.correct:,} of {classes.examples:,} correct{share}"


def class_rows(classes: ClassDetails) -> list[list[str]]:
    """A header, then precision, recall, F1 and support of each class; of many, those with the lowest F1 alone."""
    size = len(classes.classes)
    support, named, hits = [0] * size, [0] * size, [0] * size
    for (true, predicted), count in classes.confusion.items():
        support[true] += count
        named[predicted] += count
        if true == predicted:
            hits[true] += count
    f1 = [
        2 * hit / (there + taken) if there + taken else None
        for hit, there, taken in zip(hits, support, named, strict=True)
    ]
    order = list(range(size))
    if size > _CLASSES:
        order = sorted((label for label in order if support[label]), key=lambda label: f1[label] or 0.0)[:_CLASSES]
    rows = [["class", "precision", "recall", "F1", "support"]]
    for label in order:
        shares = (_share(hits[label], named[label]), _share(hits[label], support[label]))
        of_f1 = f1[label]
        rows.append([classes.classes[label], *shares, "-" if of_f1 is None else f"{of_f1:.4f}", f"{support[label]:,}"])
    return rows


def left_out(classes: ClassDetails) -> str:
    """What a table of classes lacks, in words; empty where it lacks nothing."""
    size = len(classes.classes)
    return f"the {_CLASSES} of {size:,} classes with the lowest F1" if size > _CLASSES else ""


def confusion_rows(classes: ClassDetails) -> list[list[str]]:
    """A header, then the commonest confusions; nothing where there is none."""
    pairs = [(count, pair) for pair, count in classes.confusion.items() if pair[0] != pair[1]]
    commonest = sorted(pairs, key=lambda each: (-each[0], each[1]))[:_CONFUSIONS]
    rows = [[classes.classes[true], classes.classes[predicted], f"{count:,}"] for count, (true, predicted) in commonest]
    return [["true", "predicted", "times"], *rows] if rows else []


def number_rows(numbers: NumberDetails) -> list[list[str]]:
    """A header, then the errors of each number that is predicted."""
    rows = [["target", "MAE", "RMSE", "R²", "n"]]
    for each in numbers.numbers:
        r2 = "-" if each.r2 is None else number_text(each.r2)
        rows.append([each.name, number_text(each.mae), number_text(each.rmse), r2, f"{numbers.examples:,}"])
    return rows


def _of_classes(classes: ClassDetails) -> str:
    lines = [headline(classes), "", aligned(class_rows(classes))]
    if words := left_out(classes):
        lines.append(f"({words})")
    if rows := confusion_rows(classes):
        lines += ["", "most frequent confusions", aligned(rows, indent=2)]
    return "\n".join([*lines, "", f"expected calibration error  {classes.ece:.4f}"])


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "-"
