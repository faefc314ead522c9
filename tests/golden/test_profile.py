"""Every executed instruction has one operator and one class, and none is lost: sums equal the instruction count."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import Compilation
from codegen.library.render import render_aot
from codegen.library.write import write_project
from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.instruction_classes import CLASSES
from nanou_deploy.measure.profile import REST, LayerCost, profile
from nanou_deploy.verify.emulate import run_harness
from nanou_deploy.verify.golden import make_cases
from tests import generated
from tests.unit.invert_model import INPUT_BYTES, make_library

TOOLS = {
    "rv32-qemu": ("riscv64-unknown-elf-gcc", "riscv64-unknown-elf-objdump", "qemu-system-riscv32"),
    "cortex-m0-qemu": ("arm-none-eabi-gcc", "arm-none-eabi-objdump", "qemu-system-arm"),
    "cortex-m4-qemu": ("arm-none-eabi-gcc", "arm-none-eabi-objdump", "qemu-system-arm"),
    "xtensa-qemu": ("llc-22", "llvm-objdump-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa"),
    "esp32s3-qemu": ("llc-22", "llvm-objdump-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa"),
}
NeedBoard = Callable[[str], None]


@pytest.fixture
def need_board(require_tool: Callable[..., str]) -> NeedBoard:
    def need(name: str) -> None:
        for tool in ("gcc", *TOOLS[name]):
            require_tool(tool)

    return need


def _compile(board: str) -> Compilation:
    return generated.compiled("default", find_board(board).isa)


def _frame(compiled: Compilation) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return make_cases(compiled.graph, 1, seed=0).file


def _profile(compiled: Compilation, library: Path, board: str, work_dir: Path) -> tuple[LayerCost, ...]:
    return profile(compiled, library, find_board(board), _frame(compiled), work_dir)


def test_every_instruction_set_is_tested() -> None:
    tested = {find_board(name).isa for name in TOOLS}
    assert tested == {board.isa for board in BOARDS.values() if board.kind == "qemu"}


@pytest.mark.parametrize("board", TOOLS)
def test_sums_equal_the_instruction_count(board: str, need_board: NeedBoard, tmp_path: Path) -> None:
    need_board(board)
    compiled = _compile(board)
    write_project(render_aot(compiled), tmp_path / "library")
    costs = _profile(compiled, tmp_path / "library", board, tmp_path / "profile")
    whole = run_harness(
        build_harness(tmp_path / "library", find_board(board), tmp_path / "plain"), _frame(compiled)
    ).instructions
    assert whole is not None
    assert sum(cost.instructions for cost in costs) == whole[0]
    assert all(sum(cost.classes.values()) == cost.instructions for cost in costs)
    assert all(tuple(cost.classes) == CLASSES and min(cost.classes.values()) >= 0 for cost in costs)
    assert [cost.operator for cost in costs] == [*(s.operator_index for s in compiled.program.stages), REST]
    assert 0 < costs[-1].instructions < 5 * len(compiled.plan.schedule)  # a few for each input row

    # What the kernels must do at least: one multiply per MAC, or one for two where the core has such; one high multiply
    # for each output, or on Armv6-M, which has none, a few ordinary ones; vector code does sixteen at once.
    has_high = find_board(board).isa != "armv6-m"
    for stage, cost in zip(compiled.program.stages, costs, strict=False):
        rows, classes = compiled.program.rows[stage.output], cost.classes
        lanes = 16 if stage.kernel.is_assembly else 1
        output_bytes, macs = rows.count * rows.size_bytes / lanes, stage.macs / lanes
        assert output_bytes / 4 <= classes["store"]
        if stage.macs and "_upsampled" not in stage.kernel.template:
            most = 1.5 * macs + (0 if has_high else 6 * output_bytes)
            assert 0.4 * macs < classes["multiply"] < (16 * most if lanes > 1 else most)
        if stage.macs and has_high:
            # Vector code shifts once a digit, clamps what lies beyond an edge, and computes both signs of logits apart.
            assert output_bytes <= classes["multiply_high_clamp"] < (16 if lanes > 1 else 5) * output_bytes


def test_instructions_are_charged_to_the_layer_that_spends_them(need_board: NeedBoard, tmp_path: Path) -> None:
    need_board("rv32-qemu")
    compiled = generated.compiled("u_net", "rv32imc")
    write_project(render_aot(compiled), tmp_path / "library")
    plain = _by_class(_profile(compiled, tmp_path / "library", "rv32-qemu", tmp_path / "plain"))
    source = tmp_path / "library" / "src" / "sample.c"
    layer = next(s for s in compiled.program.stages if s.operator_index == 4)
    text, found = re.subn(
        rf"(static void layer_04_{layer.stem}\([^)]*\) {{)",
        r'\1 __asm__ volatile("nop; nop; nop");',
        source.read_text(),
    )
    assert found == 1
    source.write_text(text)
    longer = _by_class(_profile(compiled, tmp_path / "library", "rv32-qemu", tmp_path / "longer"))
    added = {key: count - plain[key] for key, count in longer.items() if count != plain[key]}
    assert added == {(4, "arithmetic"): 3 * compiled.program.rows[layer.output].count}


def _by_class(costs: tuple[LayerCost, ...]) -> Mapping[tuple[int, str], int]:
    return {(cost.operator, name): count for cost in costs for name, count in cost.classes.items()}


@pytest.mark.parametrize("board", ["host", "esp32c3-sim"])
def test_boards_that_cannot_tell_are_refused(board: str, tmp_path: Path) -> None:
    compiled = _compile("rv32-qemu")
    with pytest.raises(DeployError, match="only as a whole") as error:
        _profile(compiled, make_library(tmp_path / "library"), board, tmp_path / "work")
    assert "rv32-qemu" in error.value.hint


def test_code_without_a_schedule_is_refused(need_board: NeedBoard, tmp_path: Path) -> None:
    need_board("rv32-qemu")
    library, frame = make_library(tmp_path / "library"), np.zeros((1, INPUT_BYTES), np.int8)
    with pytest.raises(DeployError, match="no schedule"):
        profile(_compile("rv32-qemu"), library, find_board("rv32-qemu"), frame, tmp_path / "work")
