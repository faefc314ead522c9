"""Make application images for Espressif's chips by esptool, and read them back as the chips do.

A simulated chip loads what comes out of `flash_image_elf`, so what is verified there is what would be flashed.
Format: ESP-IDF Programming Guide, "App Image Format" (esp_app_format.h): a header of 8 bytes, an extended one of 16,
segments of address, size and data, padding up to a checksum byte, then the SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import reduce
from operator import xor
from pathlib import Path

from nanou_deploy.build.elf import assemble_elf
from nanou_deploy.build.esptool import run_esptool
from nanou_deploy.errors import DeployError

FLASH_MODE, FLASH_FREQUENCY = "dio", "80m"  # what every board can do

_MAGIC, _HEADER_BYTES, _SHA256_BYTES = 0xE9, 24, 32
_CHECKSUM_SEED = 0xEF
_PADDING_ADDRESS = 0  # segments that only move the next one to where the cache can map it
_CHIP_IDS = {0: "esp32", 5: "esp32c3", 9: "esp32s3", 13: "esp32c6", 18: "esp32p4"}  # esp_chip_id_t
_EM_XTENSA, _EM_RISCV = 94, 243
_MACHINES = {"esp32": _EM_XTENSA, "esp32s3": _EM_XTENSA}


@dataclass(frozen=True)
class Segment:
    """A segment of an image: bytes and the address at which the program sees them, in RAM or through the cache."""

    address: int
    data: bytes


@dataclass(frozen=True)
class FlashImage:
    """The contents of an image. `size_bytes` is its own, without what follows it in flash."""

    chip: str
    entry: int
    segments: tuple[Segment, ...]
    sha256: str
    size_bytes: int


def make_flash_image(program: Path, chip: str, image: Path, *, flash_bytes: int) -> FlashImage:
    """Make an image of `program`, an ELF file linked at the chip's addresses; written to `image` and read back.

    Raises ToolMissing without esptool, DeployError with its words where it refuses the program.
    """
    options = ["--flash-mode", FLASH_MODE, "--flash-freq", FLASH_FREQUENCY, "--flash-size", f"{flash_bytes >> 20}MB"]
    run_esptool(["--chip", chip, "elf2image", *options, "--output", image, program])
    return read_flash_image(image.read_bytes())


def read_flash_image(data: bytes) -> FlashImage:
    """Take an image apart; bytes after its end, as in a dump of flash, are ignored.

    Raises DeployError where the header, the checksum or the hash is wrong.
    """
    if len(data) < _HEADER_BYTES or data[0] != _MAGIC:
        raise _damaged("does not start with an image header")
    (entry,) = struct.unpack_from("<I", data, 4)
    (chip_id,) = struct.unpack_from("<H", data, 12)
    if chip_id not in _CHIP_IDS:
        raise _damaged(f"is for chip {chip_id}, which is not known here")
    segments, position = [], _HEADER_BYTES
    for number in range(data[1]):
        if position + 8 > len(data):
            raise _damaged(f"ends before segment {number}")
        address, size_bytes = struct.unpack_from("<II", data, position)
        position += 8
        segments.append(Segment(address, data[position : position + size_bytes]))
        position += size_bytes
    end = position // 16 * 16 + 16  # the checksum is the last byte of a block of 16
    if len(data) < end + _SHA256_BYTES or not data[23]:
        raise _damaged("is cut off, or carries no hash")
    checksum = reduce(xor, (reduce(xor, segment.data, 0) for segment in segments), _CHECKSUM_SEED)
    sha256 = hashlib.sha256(data[:end])
    if data[end - 1] != checksum or data[end : end + _SHA256_BYTES] != sha256.digest():
        raise _damaged("does not have the checksum and SHA-256 that it states")
    loaded = tuple(segment for segment in segments if segment.address != _PADDING_ADDRESS)
    return FlashImage(_CHIP_IDS[chip_id], entry, loaded, sha256.hexdigest(), end + _SHA256_BYTES)


def flash_image_elf(image: FlashImage) -> bytes:
    """Write the image as an ELF file, which simulators load: a program header a segment, no sections, no symbols."""
    segments = [(segment.address, segment.data) for segment in image.segments]
    return assemble_elf(_MACHINES.get(image.chip, _EM_RISCV), image.entry, segments)


def _damaged(what: str) -> DeployError:
    return DeployError(f"the flash image {what}", hint="make it again from the program, or read the flash again")
