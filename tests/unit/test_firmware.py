"""The portable parts of the firmware, compiled for this machine around the hand-written model."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.resources import firmware_folder
from tests.unit.invert_model import expected_outputs, golden_input, make_library

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
MAIN = """
#include "drivable.h"
#include "nanou_model.h"
#include "self_test.h"
#include <stdio.h>
static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(16)));
int main(void) {
    static nanou_t net;
    self_test_t result = self_test_run(&net);
    printf("%d %d %u\\n", (int)result.status, self_test_passed(&result), (unsigned)drivable_pixels(&net));
    if (nanou_init(&net, arena, sizeof arena) != NANOU_OK) return 1;
    result = self_test_run(&net);
    printf("%d %d %u %u\\n", (int)result.status, self_test_passed(&result), (unsigned)drivable_pixels(&net),
           (unsigned)drivable_permille(&net));
    return 0;
}
"""


def _run(library: Path, compiler: str, tmp_path: Path) -> list[str]:
    source = firmware_folder() / "src"
    (tmp_path / "main.c").write_text(MAIN)
    files = [tmp_path / "main.c", source / "self_test.c", source / "drivable.c", *(library / "src").glob("*.c")]
    includes = [f"-I{source}", f"-I{library / 'include'}"]
    subprocess.run([compiler, *STRICT, *includes, *files, "-o", tmp_path / "app"], check=True)
    return subprocess.run([tmp_path / "app"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_self_test_passes_and_pixels_are_counted(require_tool: Callable[..., str], tmp_path: Path) -> None:
    before, after = _run(make_library(tmp_path / "lib"), require_tool("gcc", "clang"), tmp_path)
    drivable = int((expected_outputs(golden_input()[None]) >= 0).sum())
    assert before == "4 0 0"  # not ready: no pass, no pixels
    assert after == f"0 1 {drivable} {drivable * 1000 // 20}"


@pytest.mark.parametrize("fault", ["work[7] ^= 64;", "return NANOU_ERROR_RUNTIME;"])
def test_self_test_fails_when_the_model_computes_something_else(
    fault: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    _, after = _run(make_library(tmp_path / "lib", fault), require_tool("gcc", "clang"), tmp_path)
    assert after.split()[1] == "0"


def test_self_test_compares_with_the_stated_checksum(require_tool: Callable[..., str], tmp_path: Path) -> None:
    library = make_library(tmp_path / "lib", golden_crc32=0x12345678)
    _, after = _run(library, require_tool("gcc", "clang"), tmp_path)
    assert after.startswith("0 0 ")
