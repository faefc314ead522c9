"""A library for the ESP32-S3 serves chips without its vector unit: the same sources, the same results."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import ESP32S3
from tests.exactness import assert_exact, compile_bytes
from tests.pie.test_channel_kernels import small_images


@pytest.mark.usefixtures("pie_tools")
def test_an_esp32_computes_the_same_in_c(tmp_path: Path) -> None:
    assert_exact(small_images(), tmp_path, board="xtensa-qemu", builtin_ref=False, target=ESP32S3)


@pytest.mark.parametrize("chip", ["ESP32", "ESP32S2", "ESP32S3", "ESP32C3", ""])
def test_vector_code_is_for_the_chip_that_has_the_unit(
    chip: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """ESP-IDF and Arduino name the chip in sdkconfig.h; an ESP8266's tools know no such file."""
    write_project(render_aot(compile_bytes(small_images(), target=ESP32S3)), tmp_path / "library")
    (tmp_path / "settings").mkdir()
    if chip:
        (tmp_path / "settings" / "sdkconfig.h").write_text(f"#define CONFIG_IDF_TARGET_{chip} 1\n")
    source = tmp_path / "library" / "src" / "sample_kernels.S"
    command = [require_tool("gcc"), "-E", "-P", "-D__XTENSA__", f"-I{tmp_path / 'settings'}", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bool(done.stdout.strip()) == (chip == "ESP32S3")
