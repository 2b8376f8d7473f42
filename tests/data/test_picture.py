"""Files that are no pictures, or pictures of an odd kind: read as one sees them, or refused in words."""

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strobe.data.picture import PictureError, read_picture

GRAY, COLOR = (1, 8, 8), (3, 8, 8)


def png(width: int, height: int) -> bytes:
    """A black gray picture of any size, small as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    row = b"\0" * (1 + width)
    data = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\nshowpage\n")


def of_another_kind(path: Path) -> None:
    Image.new("L", (8, 8)).save(path, format="PCX")


def text(path: Path) -> None:
    path.write_text("no picture")


def empty(path: Path) -> None:
    path.touch()


def large(path: Path) -> None:
    path.write_bytes(png(13_000, 5_000))


def huge(path: Path) -> None:
    path.write_bytes(png(60_000, 4))  # and then says that it is higher
    data = bytearray(path.read_bytes())
    data[20:24] = struct.pack(">I", 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))


def of_real_numbers(path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(path, format="TIFF")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        *((make, "is no regular file") for make in (fifo, directory, device)),
        *((make, "it is none of PNG, JPEG") for make in (postscript, of_another_kind, text, empty)),
        *((make, "more than 64,000,000 pixels") for make in (large, huge)),
        (of_real_numbers, "floating-point pixels"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "x.png")
    with pytest.raises(PictureError, match=reason):
        read_picture(tmp_path / "x.png", GRAY)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    bound(tmp_path / "x.png")
    with pytest.raises(OSError, match="No such device"):
        read_picture(tmp_path / "x.png", GRAY)


def test_no_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho ran >> {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name in ("x.png", "x.eps", "x.jpg", "x.tif"):
        postscript(tmp_path / name)
        with pytest.raises(PictureError):
            read_picture(tmp_path / name, COLOR)
    assert not ran.exists()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
@pytest.mark.parametrize("shape", [GRAY, COLOR])
def test_every_mode_shows_what_one_sees(tmp_path: Path, mode: str, shape: tuple[int, int, int]) -> None:
    half = Image.new("L", (16, 16), 0)
    half.paste(255, (8, 0, 16, 16))
    if mode.startswith("I"):
        values = np.asarray(half).astype(np.uint16) * 257
        picture = Image.fromarray(values if mode == "I;16" else values.astype(np.int32))
    else:
        through = {"PA": ("LA", "PA"), "CMYK": ("RGB", "CMYK")}
        picture = half
        for step in through.get(mode, (mode,)):
            picture = picture.convert(step)
    ending = "tif" if mode in ("CMYK", "YCbCr", "I", "PA") else "png"
    picture.save(tmp_path / f"x.{ending}")
    pixels = read_picture(tmp_path / f"x.{ending}", shape)
    assert pixels.shape == shape
    assert pixels[:, :, :3].max() < 10
    assert pixels[:, :, 5:].min() > 245


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_in_a_file_the_first_is_read(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "x.png", format=format, save_all=True, append_images=frames[1:], lossless=True)
    red, green, blue = read_picture(tmp_path / "x.png", COLOR)
    assert (red.min(), green.max(), blue.max()) == (255, 0, 0)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_picture_that_was_cut_short_is_refused(tmp_path: Path, format: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / "whole", format=format)
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "part").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Exception):  # noqa: B017, PT011  # Pillow raises nearly anything
        read_picture(tmp_path / "part", COLOR)
