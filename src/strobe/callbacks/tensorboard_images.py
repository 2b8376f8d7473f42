"""Images for TensorBoard: what a net sees, and of a classifier's test the confusion matrix and the surest mistakes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from strobe.tasks.outcomes import Surest, class_names, named, pixels, small
from strobe.tasks.pictures import grid

_SHOWN = 32  # pictures
_WIDE = 480  # pixels, of the longer side, that a grid of small pictures is enlarged to
_COLUMNS = 5
_SIDE = 64  # pixels, at least, of a picture of a mistake: TensorBoard shows a page 350 pixels wide
_CELL = 27  # pixels, of the confusion matrix
_MOST_COUNTED = 1000  # classes, a pixel each
_MOST_NUMBERS = 25  # classes, beyond which there is no room for numbers
_LINE = 13  # pixels
_BLUE = torch.tensor([21, 76, 140])


def first_batch(images: Tensor, facts: Mapping[str, Any]) -> Tensor:
    """The first pictures of a batch ``(B, C, H, W)`` side by side, ``(C, height, width)`` uint8.

    Args:
        images: As the net gets them.
        facts: Of the data, among them how they were normalized.
    """
    page = grid(pixels(small(images[:_SHOWN]), facts))
    factor = max(1, _WIDE // max(page.shape[1:]))
    return page.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


class Outcomes:
    """Gathers what a classifier makes of the test images, batch by batch: counts, and a few pictures.

    Args:
        independent: Whether each class has a probability of its own.

    Attributes:
        classes: How many there are; 0 before the first batch.
        counts: ``(C, C)`` int64: of each class, a row, how many were taken for each, a column; None before the first
            batch, and of more classes than a picture would show.
        surest: The mistakes that the net was surest of.
    """

    def __init__(self, *, independent: bool = False) -> None:
        self.independent = independent
        self.classes = 0
        self.counts: Tensor | None = None
        self.surest = Surest()
        self._examples = 0

    def add(self, batch: Any, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            batch: Begins with the inputs, which are shown if they are images ``(B, C, H, W)``.
            logits: ``(B, num_classes)``.
            labels: ``(B,)`` int64.
        """
        self.classes = logits.shape[1]
        outcome = named(logits.detach(), labels, independent=self.independent)
        if self.classes <= _MOST_COUNTED:
            if self.counts is None:
                self.counts = torch.zeros(self.classes, self.classes, dtype=torch.int64)
            cells = (outcome.true * self.classes + outcome.predicted)[outcome.known].cpu()
            self.counts.view(-1).index_add_(0, cells, torch.ones_like(cells))
        self.surest.add(batch, outcome, self._examples)
        self._examples += len(labels)

    @classmethod
    def merged(cls, parts: Sequence["Outcomes"]) -> "Outcomes":
        """What several ranks have gathered, each of its share of the images."""
        whole = cls()
        whole.classes = max(part.classes for part in parts)
        counts = [part.counts for part in parts if part.counts is not None]
        whole.counts = torch.stack(counts).sum(dim=0) if counts else None
        for part in parts:
            whole.surest.join(part.surest)
        return whole

    def mistakes(self, facts: Mapping[str, Any]) -> Any:
        """The surest mistakes with what they are and what they were taken for: an array ``(height, width, 3)`` uint8.

        None if there is nothing to be shown.
        """
        shown = [(mistake, image) for mistake, image in self.surest.found if image is not None]
        if not shown:
            return None
        pictures = [_picture(pixels(image, facts)) for _, image in shown]
        names = class_names(facts, self.classes)
        captions = [
            (f"true {_short(names[mistake.true])}", f"said {_short(names[mistake.predicted])}") for mistake, _ in shown
        ]
        font = ImageFont.load_default(11)
        wide = max(font.getlength(line) for caption in captions for line in caption)
        side = max(_SIDE, *(length for picture in pictures for length in picture.size))
        width, height = max(side, round(wide)) + 6, side + 2 * _LINE + 8
        columns = min(len(pictures), _COLUMNS)
        page = Image.new("RGB", (width * columns, height * math.ceil(len(pictures) / columns)), "white")
        draw = ImageDraw.Draw(page)
        for index, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
            left, top = 3 + width * (index % columns), 3 + height * (index // columns)
            page.paste(ImageOps.contain(picture, (side, side), Image.Resampling.NEAREST), (left, top))
            for line, text in enumerate(caption):
                draw.text((left, top + side + line * _LINE), text, fill="black", font=font)
        return _array(page)

    def confusion(self, facts: Mapping[str, Any]) -> Any:
        """The confusion matrix, as an array ``(height, width, 3)`` uint8; None if nothing was counted."""
        if self.counts is None:
            return None
        count = len(self.counts)
        shares = self.counts / self.counts.sum(dim=1, keepdim=True).clamp(min=1)
        # A root: of a good net, all that is off the diagonal would be white.
        shade = shares.sqrt().unsqueeze(2)
        cells = (255 * (1 - shade) + _BLUE * shade).round().to(torch.uint8).numpy()
        numbers = count <= _MOST_NUMBERS
        side = _CELL if numbers else max(1, 600 // count)
        font = ImageFont.load_default(11)
        names = [_short(name) for name in class_names(facts, count)] if numbers else []
        margin = 2 * _LINE + round(max(map(font.getlength, names), default=0))
        page = Image.new("RGB", (max(margin + side * count + 4, 190), margin + side * count + 4), "white")
        matrix = Image.fromarray(cells).resize((side * count, side * count), Image.Resampling.NEAREST)
        page.paste(matrix, (margin, margin))
        draw = ImageDraw.Draw(page)
        draw.text((4, 2), "a row: the true class; a column: said", fill="black", font=font)
        for row, name in enumerate(names):
            middle = margin + side * row + side // 2
            draw.text((margin - 5, middle), name, fill="black", font=font, anchor="rm")
            upright = Image.new("RGB", (margin - 2 * _LINE, _LINE), "white")
            ImageDraw.Draw(upright).text((0, _LINE // 2), name, fill="black", font=font, anchor="lm")
            if name.isdigit():
                draw.text((middle, margin - 8), name, fill="black", font=font, anchor="mm")
            else:
                page.paste(upright.transpose(Image.Transpose.ROTATE_90), (middle - _LINE // 2, 2 * _LINE - 4))
            for column, number in enumerate(self.counts[row].tolist()):
                if number:
                    at = (margin + side * column + side // 2, middle)
                    color = "white" if shade[row, column] > 0.5 else "black"
                    draw.text(at, str(number), fill=color, font=font, anchor="mm")
        return _array(page)


def _picture(image: Tensor) -> Image.Image:
    """Of ``(C, H, W)`` in [0, 1]; one or three channels are shown as they are, of any other number the mean."""
    colors = image if image.shape[0] in (1, 3) else image.mean(dim=0, keepdim=True)
    array = (colors.expand(3, -1, -1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array)


def _short(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:10]}."


def _array(page: Image.Image) -> Any:
    return torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8).view(page.height, page.width, 3).numpy()
