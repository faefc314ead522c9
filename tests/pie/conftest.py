"""What vector code of the ESP32-S3 is assembled, linked and run with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TOOLS = ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld", "gcc", "qemu-system-xtensa")


@pytest.fixture
def pie_tools(require_tool: Callable[..., str]) -> None:
    """Skip, or fail in strict mode, where a tool is missing."""
    for tool in TOOLS:
        require_tool(tool)
