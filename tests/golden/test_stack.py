"""The stack: what a compiler states of each function, and the estimate, against what emulated processors used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import Compilation
from codegen.library.stack_estimate import estimate_stack
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.compilation import stack_usage
from nanou_deploy.build.stack_usage import StackUsage, read_stack_usage
from nanou_deploy.errors import DeployError
from nanou_deploy.verify.emulate import run_harness
from tests.generated import MODELS, compiled, write_library

QEMU = {
    "rv32-qemu": "qemu-system-riscv32",
    "cortex-m0-qemu": "qemu-system-arm",
    "cortex-m4-qemu": "qemu-system-arm",
    "xtensa-qemu": "qemu-system-xtensa",
}
PROCESSORS = {
    "rv32-qemu": "RISC-V, 32 bits",
    "cortex-m0-qemu": "Armv6-M",
    "cortex-m4-qemu": "Arm, 32 bits",
    "xtensa-qemu": "Xtensa, windowed",
    "host": "x86-64",
}


def estimate_bytes(model: Compilation, board: str) -> int:
    return next(e.size_bytes for e in estimate_stack(model.program) if e.processor == PROCESSORS[board])


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("board", QEMU)
def test_processors_use_no_more(board: str, which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool(QEMU[board])
    model = compiled(which, find_board(board).isa)
    build = build_harness(write_library(model, tmp_path), find_board(board), tmp_path / "work")
    used = run_harness(build, np.zeros((1, model.graph.input.size_bytes), np.int8)).stack_bytes
    usage = stack_usage(model, tmp_path / "work")
    assert used is not None
    assert usage is not None
    assert 0 < used <= usage.total_bytes <= 1.25 * used
    assert usage.total_bytes <= estimate_bytes(model, board)


@pytest.mark.parametrize("which", MODELS)
def test_the_estimate_holds_on_this_computer(which: str, tmp_path: Path) -> None:
    model = compiled(which)
    build_harness(write_library(model, tmp_path), find_board("host"), tmp_path / "work")
    usage = stack_usage(model, tmp_path / "work")
    assert usage is not None
    assert 0 < usage.total_bytes <= estimate_bytes(model, "host")


USAGE = """\
my_model.c:20:14:ring_row\t8\tstatic
my_model.c:40:13:conv\t64\tstatic
my_model.c:40:13:conv.part.0\t16\tstatic
my_model.c:60:13:pool\t72\tstatic
my_model.c:80:13:layer_00_conv\t32\tstatic
my_model.c:90:13:run\t200\tstatic
my_model.c:99:16:invoke\t16\tstatic
"""
ASSEMBLY = """\
conv:                                   # @conv
# %bb.0:
\tentry\ta1, 96
\tretw.n
.Lfunc_end0:
run:                                    # @run
\tentry\ta1, 160
"""


def test_the_largest_frame_of_each_depth_counts(tmp_path: Path) -> None:
    (tmp_path / "my_model.su").write_text(USAGE)
    usage = read_stack_usage(tmp_path / "my_model", {"layer_00_conv"}, {"conv", "pool"})
    assert usage == StackUsage(entry_bytes=16, run_bytes=200, layer_bytes=32, kernel_bytes=80, helper_bytes=8)
    assert usage.total_bytes == 16 + 200 + 32 + 80 + 8 + usage.library_bytes


def test_xtensa_states_frames_in_its_first_instruction(tmp_path: Path) -> None:
    (tmp_path / "my_model.s").write_text(ASSEMBLY)
    assert read_stack_usage(tmp_path / "my_model", set(), {"conv"}) == StackUsage(0, 160, 0, 96, 0)


def test_what_a_compiler_does_not_state_is_unknown(tmp_path: Path) -> None:
    assert read_stack_usage(tmp_path / "my_model", set(), set()) is None
    (tmp_path / "my_model.su").write_text("my_model.c:9:6:run\t64\tdynamic\n")
    with pytest.raises(DeployError, match="no constant size"):
        read_stack_usage(tmp_path / "my_model", set(), set())
