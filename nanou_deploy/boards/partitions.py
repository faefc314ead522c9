"""Read partition tables from CSV and pack them into the bytes that go to flash.

Format: ESP-IDF Programming Guide, "Partition Tables": 32 bytes for each partition (magic 0x50AA, type, subtype, offset,
size, name, flags), then an entry of magic 0xEBEB with the MD5 of those before it, filled up with 0xFF.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from nanou_deploy.errors import DeployError

TABLE_OFFSET, TABLE_BYTES = 0x8000, 0xC00

_MAGIC, _MD5_MAGIC = 0x50AA, 0xEBEB
_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {
    "app": {"factory": 0x00, "ota_0": 0x10, "ota_1": 0x11, "test": 0x20},
    "data": {"ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "fat": 0x81, "spiffs": 0x82, "littlefs": 0x83},
}
_ENTRY = struct.Struct("<HBBII16sI")


@dataclass(frozen=True)
class Partition:
    """One region of flash, in bytes from its start."""

    name: str
    kind: str
    subtype: str
    offset: int
    size_bytes: int


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """Read a partitions.csv. Raises DeployError for what ESP-IDF would refuse, or would place by itself."""
    partitions: list[Partition] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip() for field in line.partition("#")[0].split(",")]
        if fields == [""]:
            continue
        try:
            name, kind, subtype, offset, size = fields[:5]
            partition = Partition(name, kind, subtype, int(offset, 0), int(size, 0))
            _SUBTYPES[kind][subtype]
        except (KeyError, ValueError) as error:
            raise DeployError(
                f"partitions.csv, line {number}: {line.strip()!r} is no partition",
                hint="write name, type, subtype, offset, size; the numbers in bytes, as 0x10000",
            ) from error
        _check_place(partition, partitions, number)
        partitions.append(partition)
    return tuple(partitions)


def _check_place(partition: Partition, before: list[Partition], number: int) -> None:
    start = max((other.offset + other.size_bytes for other in before), default=TABLE_OFFSET + 0x1000)
    step = 0x10000 if partition.kind == "app" else 0x1000  # what the cache can map, and what flash erases at once
    if partition.offset < start or partition.offset % step:
        raise DeployError(
            f"partitions.csv, line {number}: {partition.name} cannot lie at {partition.offset:#x}",
            hint=f"the next place for it is {-(-start // step) * step:#x}",
        )


def partition_table(partitions: tuple[Partition, ...]) -> bytes:
    """Pack the partition table as it lies in flash at TABLE_OFFSET, TABLE_BYTES long."""
    entries = b"".join(
        _ENTRY.pack(
            _MAGIC,
            _TYPES[partition.kind],
            _SUBTYPES[partition.kind][partition.subtype],
            partition.offset,
            partition.size_bytes,
            partition.name.encode(),
            0,
        )
        for partition in partitions
    )
    digest = struct.pack("<H", _MD5_MAGIC).ljust(16, b"\xff") + hashlib.md5(entries).digest()
    return (entries + digest).ljust(TABLE_BYTES, b"\xff")
