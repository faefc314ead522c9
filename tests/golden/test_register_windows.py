"""Xtensa's register windows in both emulators: what comes back from calls nested deeper than there are windows.

labwired 0.25 does not spill windows by the program's handlers. It puts displaced registers aside at a call and back at
the return, the callee's a3 too, which holds the upper half of 64-bit results (docs/FIRMWARE.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_program
from nanou_deploy.verify.emulate import run_program

DEEPEST = 14
NESTED = """
#include "target.h"
static volatile uint32_t low = 7, high = 9;
__attribute__((noinline)) static uint64_t wide(void) { return (uint64_t)high << 32 | low; }
__attribute__((noinline)) static uint32_t narrow(void) { return high; }
__attribute__((noinline)) static int is_right_below(uint32_t depth) {
    volatile uint32_t kept = depth;
    int right;
    if (depth == 0) {
        const uint64_t value = wide();
        right = narrow() == 9 ? 1 : 4;
        right |= value == ((uint64_t)9 << 32 | 7) ? 2 : 0;
    } else {
        right = is_right_below(depth - 1);
    }
    return kept == depth ? right : 8;
}
int main(int argc, char **argv) {
    if (target_open(argc, argv) != 0) return 1;
    target_print("RIGHT ");
    for (uint32_t depth = 0; depth < DEEPEST; depth++) {
        const char digit[2] = {(char)('0' + is_right_below(depth)), 0};
        target_print(digit);
    }
    target_print(" END\\n");
    return target_close();
}
"""
XTENSA_TOOLS = ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld")


def _nested(board: str, folder: Path) -> str:
    """'3' for each depth at which a 32-bit and a 64-bit result came back, '1' where only the first did."""
    source = folder / "nested.c"
    source.write_text(NESTED.replace("DEEPEST", str(DEEPEST)))
    build = build_program([source], find_board(board), folder / "work")
    if board.endswith("-qemu"):
        console = run_program(build).console
    else:
        from labwired import Sim

        with Sim(build.elf, chip=find_board(board).chip) as simulator:
            console = str(simulator.expect("RIGHT [0-9]* END", "20ms").text)
    found = re.search("RIGHT ([0-9]*) END", console)
    assert found, console
    return found[1]


def test_windows_are_spilled_and_filled(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    for tool in (*XTENSA_TOOLS, "gcc", "qemu-system-xtensa"):
        require_tool(tool)
    assert _nested("xtensa-qemu", tmp_path) == "3" * DEEPEST


@pytest.mark.parametrize("board", ["esp32-sim", "esp32s3-sim"])
def test_the_simulator_loses_upper_halves(
    board: str, tmp_path: Path, require_tool: Callable[..., str], require_module: Callable[[str], None]
) -> None:
    """Where this fails because more comes back, the simulator was mended, and results may be wide again."""
    require_module("labwired")
    for tool in XTENSA_TOOLS:
        require_tool(tool)
    assert re.fullmatch("3{5}[13]*1[13]*", _nested(board, tmp_path))
