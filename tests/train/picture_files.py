"""Pictures for data set tests: drives of noisy frames whose masks follow a boundary, and files that are wrong."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nanou_train.data.prepare import PrepareSpec

ROAD, GRASS, SKY = (156, 76, 30), (0, 160, 0), (1, 88, 255)


def write_drives(folder: Path, drives: int = 5, frames: int = 4, size: tuple[int, int] = (48, 64)) -> None:
    """FOLDER/images/driveD/FRAME.png and FOLDER/masks of the same names: 0 and 255, the lower rows drivable."""
    height, width = size
    for drive in range(drives):
        rng = np.random.default_rng(drive)
        scene = rng.integers(0, 256, (6, 8, 3), np.uint8)
        for frame in range(frames):
            noise = rng.integers(-3, 4, (height, width, 3))
            wide = np.asarray(Image.fromarray(scene).resize((width, height), Image.Resampling.BICUBIC), np.int16)
            mask = np.zeros((height, width), np.uint8)
            mask[height // 2 + drive + frame :] = 255
            save(folder / "images" / f"drive{drive}" / f"{frame:03d}.png", np.clip(wide + noise, 0, 255))
            save(folder / "masks" / f"drive{drive}" / f"{frame:03d}.png", mask)


def from_source(spec: PrepareSpec, **changes: Any) -> PrepareSpec:
    """The same, made of another source."""
    return replace(spec, source=replace(spec.source, **changes))


def save(path: Path, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def color_mask(height: int = 48, width: int = 64) -> Image.Image:
    """A third each of sky, grass and road, from top to bottom."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, color in enumerate((SKY, GRASS, ROAD)):
        pixels[index * height // 3 : (index + 1) * height // 3] = color
    return Image.fromarray(pixels)


def rgb16_png(red: int, height: int = 48, width: int = 64) -> bytes:
    """A PNG of three 16-bit channels (RFC 2083), which Pillow cannot write: red as given, green and blue 0."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">HHH", red, 0, 0) * width
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
