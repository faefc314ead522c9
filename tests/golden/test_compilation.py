"""compile_for: the objective's limits, measured with the board's own compiler."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codegen.errors import BudgetError
from codegen.program.objective import Objective
from codegen.program.target import find_target, find_targets
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.compilation import compile_for, measure_flash_bytes
from tests.generated import small_model


def test_every_objective_has_its_kernels() -> None:
    assert find_targets("rv32imc", "time")[0] == find_target("rv32imc", "fast")
    assert find_targets("rv32imc", "ram") == find_targets("rv32imc", "balanced")
    for isa in ("rv32imc", "armv7e-m", "xtensa-lx6", "native"):
        assert len(set(find_targets(isa, "time"))) == 3


def test_flash_limits(require_tool: Callable[..., str]) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    model, board = small_model(), find_board("rv32-qemu")
    fast = measure_flash_bytes(compile_for(model, board, Objective("time")), board)
    balanced = measure_flash_bytes(compile_for(model, board), board)
    assert fast > balanced
    chosen = compile_for(model, board, Objective("time", max_flash_bytes=fast - 1))
    assert measure_flash_bytes(chosen, board) == balanced
    least = measure_flash_bytes(compile_for(model, board, Objective(max_flash_bytes=balanced - 1)), board)
    assert least < balanced
    with pytest.raises(BudgetError, match=f"code and tables take {least:,} bytes on rv32-qemu"):
        compile_for(model, board, Objective("time", max_flash_bytes=least - 1))
