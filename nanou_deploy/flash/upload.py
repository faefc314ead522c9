"""Write flash images to a board, or to the mock of one, through esptool."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nanou_deploy.boards.partitions import TABLE_OFFSET, parse_partitions, partition_table
from nanou_deploy.build.esptool import run_esptool
from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.resources import firmware_folder

MOCK_HINT = "install it: `python -m pip install esp32-mock-bootloader==0.3.0`"

# The mock is the boot loader in the chip's ROM: no reset lines, and no RAM in which esptool's own loader could run.
MOCK_OPTIONS = ("--before", "no-reset", "--after", "no-reset", "--no-stub")


def merge_flash(application: Path, chip: str, merged: Path) -> None:
    """Merge partition table and application into one file for flash from address 0.

    Raises DeployError where the application exceeds its partition.
    """
    partitions = parse_partitions((firmware_folder() / "boards" / "partitions.csv").read_text(encoding="utf-8"))
    room = next(partition for partition in partitions if partition.kind == "app")
    if application.stat().st_size > room.size_bytes:
        raise DeployError(
            f"{application.name} has {application.stat().st_size:,} bytes, its partition {room.size_bytes:,}",
            hint="enlarge it in partitions.csv, or compile with --optimize ram",
        )
    table = merged.with_name("partitions.bin")
    table.write_bytes(partition_table(partitions))
    places = {TABLE_OFFSET: table, room.offset: application}
    files = [word for offset in sorted(places) for word in (hex(offset), places[offset])]
    run_esptool(["--chip", chip, "merge-bin", "--output", merged, *files])


def boot_loader_offset(chip: str) -> int:
    """Return where the chip's ROM looks for the second-stage boot loader (CONFIG_BOOTLOADER_OFFSET_IN_FLASH)."""
    return {"esp32": 0x1000, "esp32p4": 0x2000}.get(chip, 0)


def write_flash(chip: str, port: str, places: Mapping[int, Path], *, mock: bool = False) -> str:
    """Write files to their offsets; the chip hashes what it wrote, and esptool compares. Returns esptool's output.

    Raises DeployError where nothing answers at `port`, or a hash differs.
    """
    files = [word for offset, path in sorted(places.items()) for word in (hex(offset), path)]
    said = run_esptool([*_connect(chip, port, mock), "write-flash", *files], timeout_s=600)
    if said.count("Hash of data verified") != len(places):
        raise DeployError(f"esptool wrote to {port} but did not verify it:\n{said[-400:]}", hint="flash it again")
    return said


def read_chip(port: str) -> tuple[str, str]:
    """Ask for the chip at `port`, as esptool calls it, and the features that it prints. Resets the board.

    Raises DeployError where nothing answers, ToolMissing.
    """
    mock = MOCK_OPTIONS if port.startswith("socket://") else ()
    said = run_esptool(["--port", port, *mock, "chip-id"])
    chip = re.search(r"Chip type:\s+(ESP32(?:-[A-Z]\d+)?)", said)
    features = re.search(r"Features:\s+(.+)", said)
    if chip is None:
        raise DeployError(f"esptool names no chip at {port}:\n{said[-400:]}", hint="is it a board of Espressif's?")
    return chip[1].lower().replace("-", ""), features[1].strip() if features else ""


def _connect(chip: str, port: str, mock: bool) -> list[str]:
    return ["--chip", chip, "--port", port, *(MOCK_OPTIONS if mock else ())]


@contextmanager
def mock_board(chip: str) -> Iterator[str]:
    """Run a mock of the chip's ROM with empty flash while the context lasts; yields its port. Raises ToolMissing."""
    if importlib.util.find_spec("esp32_mock_bootloader") is None:
        raise ToolMissing("esp32-mock-bootloader is not installed", hint=MOCK_HINT)
    mock = importlib.import_module("esp32_mock_bootloader").MockHandle(chip)
    try:
        yield str(mock.url())
    finally:
        mock.stop()
