"""Read the flash of a board's mock back, to compare it with what was written."""

from __future__ import annotations

from pathlib import Path

from nanou_deploy.build.esptool import run_esptool
from nanou_deploy.flash.upload import MOCK_OPTIONS


def read_flash(chip: str, port: str, offset: int, size_bytes: int, file: Path) -> bytes:
    """What the flash holds at `offset`, by way of `file`."""
    connect = ["--chip", chip, "--port", port, *MOCK_OPTIONS]
    run_esptool([*connect, "read-flash", hex(offset), str(size_bytes), str(file)], timeout_s=600)
    return file.read_bytes()
