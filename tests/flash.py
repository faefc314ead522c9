"""What a board's flash holds: read back through esptool, and taken apart as the boot loader does it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from nanou_deploy.boards.partitions import TABLE_OFFSET
from nanou_deploy.build.esptool import run_esptool
from nanou_deploy.flash.upload import MOCK_OPTIONS

ENTRY = struct.Struct("<HBBII16sI")
ENTRY_MAGIC, MD5_MAGIC, APPLICATION = 0x50AA, 0xEBEB, 0


def read_flash(chip: str, port: str, offset: int, size_bytes: int, file: Path) -> bytes:
    """What the flash of a board's mock holds at `offset`, by way of `file`."""
    connect = ["--chip", chip, "--port", port, *MOCK_OPTIONS]
    run_esptool([*connect, "read-flash", hex(offset), str(size_bytes), str(file)], timeout_s=600)
    return file.read_bytes()


def find_application(flash: bytes) -> bytes:
    """The first application partition of a whole flash, by its table, whose MD5 must be right."""
    applications, place = [], TABLE_OFFSET
    while flash[place : place + 2] != MD5_MAGIC.to_bytes(2, "little"):
        magic, kind, _, offset, size_bytes, _, _ = ENTRY.unpack_from(flash, place)
        assert magic == ENTRY_MAGIC
        applications += [flash[offset : offset + size_bytes]] if kind == APPLICATION else []
        place += ENTRY.size
    assert hashlib.md5(flash[TABLE_OFFSET:place]).digest() == flash[place + 16 : place + 32]
    return applications[0]
