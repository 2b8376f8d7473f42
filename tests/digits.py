"""Digits as people draw, print and photograph them, made without a look at how `predict` prepares pictures."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Stroke = list[tuple[float, float]]

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")
TREATMENTS = (
    *("plain", "thick", "thin", "small", "off centre"),
    *("inverted", "grey paper", "transparent", "turned", "jpeg"),
)
_FINER = 3  # drawn so many times larger, then made smaller: PIL draws without antialiasing


@dataclass(frozen=True)
class Digit:
    """A picture file, what is on it, and how it came about."""

    path: Path
    label: int
    typeset: bool
    treatment: str


def digits(directory: Path, *, seed: int = 0, each: int = 6, treatments: tuple[str, ...] = TREATMENTS) -> list[Digit]:
    """Write ``10 * each`` pictures: half are drawn, half typeset, and the treatments are dealt out evenly."""
    directory.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    made = []
    for sample in range(each):
        for label in range(10):
            treatment = treatments[(label + sample) % len(treatments)]
            path = directory / f"{label}_{sample}_{treatment.replace(' ', '_')}"
            made.append(
                Digit(_write(path, label, bool(sample % 2), treatment, random), label, bool(sample % 2), treatment)
            )
    return made


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Points of an ellipse; degrees, from three o'clock on, clockwise as it is seen."""
    angles = np.radians(np.linspace(start, end, 40))
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _strokes(label: int, random: np.random.Generator) -> list[Stroke]:
    """The lines of a digit in a box about 0.6 wide and 1 high."""
    other_way = random.random() < 0.5
    match label:
        case 0:
            return [_arc(0.3, 0.5, 0.28, 0.5, -80, 285)]
        case 1:
            return [[(0.1, 0.22), (0.3, 0.0), (0.3, 1.0)]] if other_way else [[(0.32, 0.0), (0.28, 1.0)]]
        case 2:
            return [[*_arc(0.3, 0.28, 0.27, 0.28, -165, 35), (0.03, 1.0), (0.6, 0.98)]]
        case 3:
            upper, lower = _arc(0.27, 0.25, 0.25, 0.25, -150, 90), _arc(0.27, 0.74, 0.3, 0.26, -90, 150)
            return [[*upper, *lower]]
        case 4:
            if other_way:
                return [[(0.12, 0.0), (0.02, 0.55), (0.6, 0.52)], [(0.46, 0.1), (0.42, 1.0)]]
            return [[(0.45, 1.0), (0.45, 0.0), (0.0, 0.65), (0.6, 0.65)]]
        case 5:
            hat = [(0.1, 0.02), (0.55, 0.0)]
            return [hat, [(0.1, 0.02), (0.06, 0.44), *_arc(0.25, 0.68, 0.3, 0.3, -110, 145)]]
        case 6:
            return [[(0.42, 0.0), (0.2, 0.25), (0.06, 0.55), *_arc(0.3, 0.72, 0.25, 0.27, 190, 545)]]
        case 7:
            bar = [[(0.15, 0.5), (0.5, 0.48)]] if other_way else []
            return [[(0.0, 0.03), (0.58, 0.0), (0.2, 1.0)], *bar]
        case 8:
            return [_arc(0.3, 0.25, 0.22, 0.25, 90, 450), _arc(0.3, 0.75, 0.27, 0.25, -90, 270)]
        case _:
            tail = [(0.53, 0.3), (0.5, 0.65), (0.38, 1.0)] if other_way else [(0.55, 0.0), (0.5, 1.0)]
            return [_arc(0.29, 0.28, 0.25, 0.26, -10, 350), tail]


def _drawn(label: int, height: int, width: float, random: np.random.Generator) -> Image.Image:
    """Ink as a mask, white on black, cut where the lines end; turned, slanted and shaky as a hand draws."""
    turn, slant = math.radians(random.uniform(-9, 9)), random.uniform(-0.05, 0.22)
    broad = random.uniform(0.8, 1.15)
    lines = []
    for stroke in _strokes(label, random):
        points = np.array(stroke) * (broad, 1.0)
        points[:, 0] += slant * (1 - points[:, 1])
        points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        shake = np.cumsum(random.normal(0, 0.004, points.shape), axis=0)
        lines.append((points + shake) * height * _FINER)
    every = np.concatenate(lines)
    pen = max(2, round(width * height * _FINER))
    low, high = every.min(axis=0) - pen, every.max(axis=0) + pen
    picture = Image.new("L", tuple(np.ceil(high - low).astype(int).tolist()))
    pencil = ImageDraw.Draw(picture)
    for line in lines:
        points = [tuple(point) for point in (line - low).tolist()]
        pencil.line(points, fill=255, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return picture.resize((max(1, picture.width // _FINER), max(1, picture.height // _FINER)), Image.Resampling.BOX)


def _typeset(label: int, height: int, *, bold: bool, random: np.random.Generator) -> Image.Image:
    """Ink as a mask, white on black, in one of the fonts that come with Matplotlib."""
    name = FONTS[random.integers(len(FONTS))] + ("-Bold" if bold else "")
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf"), round(height * 1.35))
    box = font.getbbox(str(label))
    picture = Image.new("L", (math.ceil(box[2] - box[0]), math.ceil(box[3] - box[1])))
    ImageDraw.Draw(picture).text((-box[0], -box[1]), str(label), fill=255, font=font)
    return picture


def _paper(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Grey paper in a light that falls off to one side, and the noise of a camera; levels ``(H, W)``."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    direction = random.uniform(0, 2 * math.pi)
    light = 1 - random.uniform(0.1, 0.3) * (
        0.5 + 0.5 * (math.cos(direction) * (2 * x - 1) + math.sin(direction) * (2 * y - 1))
    )
    levels: np.ndarray = random.uniform(150, 205) * light + random.normal(0, 5, (height, width))
    return levels


def _write(stem: Path, label: int, typeset: bool, treatment: str, random: np.random.Generator) -> Path:
    """One picture; the path it has got."""
    side = int(random.integers(90, 420))
    width, height = side, round(side * random.uniform(0.8, 1.4))
    tall = {"small": random.uniform(0.12, 0.2), "off centre": 0.4}.get(treatment, random.uniform(0.5, 0.75))
    tall = max(10, round(min(width, height) * tall))
    pen = {"thick": 0.2, "thin": 0.03}.get(treatment, random.uniform(0.07, 0.12))
    if typeset:
        ink = _typeset(label, tall, bold=treatment == "thick", random=random)
    else:
        ink = _drawn(label, tall, pen, random)
    free = width - ink.width, height - ink.height
    share = (random.choice([0.02, 0.98]), random.choice([0.05, 0.95])) if treatment == "off centre" else (0.5, 0.5)
    jitter = 0.0 if treatment == "off centre" else 0.1
    place = [round(room * (part + random.uniform(-jitter, jitter))) for room, part in zip(free, share, strict=True)]
    mask = Image.new("L", (width, height))
    mask.paste(ink, (place[0], place[1]))
    return _finished(stem, mask, treatment, random)


def _finished(stem: Path, mask: Image.Image, treatment: str, random: np.random.Generator) -> Path:
    """The picture with this ink on it, saved."""
    path = stem.with_name(stem.name + (".jpg" if treatment in ("grey paper", "turned", "jpeg") else ".png"))
    black = Image.new("L", mask.size, int(random.integers(0, 40)))
    on_white = Image.composite(black, Image.new("L", mask.size, int(random.integers(240, 256))), mask)
    match treatment:
        case "inverted":
            Image.eval(on_white, lambda level: 255 - level).save(path)
        case "grey paper":
            ink = np.asarray(mask, dtype=float) / 255
            levels = _paper(*mask.size, random) * (1 - 0.75 * ink)
            Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=80)
        case "transparent":  # a drawing program's: ink alone
            picture = Image.new("RGBA", mask.size, (20, 30, 90, 0))
            picture.putalpha(mask)
            picture.save(path)
        case "turned":  # a camera held upright: the pixels lie on their side, and a tag says so
            exif = Image.Exif()
            exif[0x0112] = 6
            on_white.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=90)
        case "jpeg":  # a blue or red pen, and saved too small
            pen = ((25, 40, 140), (170, 20, 30))[random.integers(2)]
            Image.composite(Image.new("RGB", mask.size, pen), Image.new("RGB", mask.size, "white"), mask).save(
                path, quality=30
            )
        case _:
            on_white.save(path)
    return path


def sheet(made: list[Digit], columns: int = 10, side: int = 90) -> Image.Image:
    """All of them on one picture, for a look."""
    tiles: Iterator[Image.Image] = (Image.open(digit.path).convert("RGB").resize((side, side)) for digit in made)
    whole = Image.new("RGB", (columns * side, -(-len(made) // columns) * side), "orange")
    for index, tile in enumerate(tiles):
        whole.paste(tile, (index % columns * side, index // columns * side))
    return whole
