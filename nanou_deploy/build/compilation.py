"""Compile a model for one board, within the flash that the user allows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from codegen.compile import Compiled, compile_model
from codegen.errors import BudgetError
from codegen.graph.model import QuantizedModel
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.program.target import find_targets
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.build import LibrarySize, library_size


def verification_board(board: Board) -> Board:
    """Where code for `board` is run here: itself, or for hardware the emulator with the nearest instruction set."""
    return board if board.runs_here else find_board(board.emulated_as or "host")


def measurement_board(board: Board) -> Board:
    """Where instructions and flash of `board` are measured here: itself, or for hardware the emulator with its own
    instruction set. Code for Xtensa is verified elsewhere too, so that this needs no compiler for it."""
    is_xtensa = board.isa.startswith("xtensa") and not board.runs_here
    return find_board("xtensa-qemu") if is_xtensa else verification_board(board)


def compile_for(model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Compiled:
    """The fastest kernels that `objective` allows. Under a flash limit each choice is built and measured.

    Raises CodegenError; BudgetError where a limit cannot be met, ToolMissing where there is no compiler to measure
    flash with.
    """
    targets = find_targets(board.isa, objective.optimize)
    if objective.max_flash_bytes is None:
        return compile_model(model, targets[0], objective)
    smallest_bytes = 0
    for target in targets:
        compiled = compile_model(model, target, objective)
        flash_bytes = measure_flash_bytes(compiled, board)
        if flash_bytes <= objective.max_flash_bytes:
            return compiled
        smallest_bytes = min(smallest_bytes or flash_bytes, flash_bytes)
    raise BudgetError(
        f"code and tables take {smallest_bytes:,} bytes on {board.name}, more than {objective.max_flash_bytes:,}",
        hint="allow more, or make the model narrower",
    )


def measure_flash_bytes(compiled: Compiled, board: Board) -> int:
    """Code and tables of the generated library, as the compiler of the board, or of its emulator, makes them."""
    size = measure_size(compiled, board)
    return size.code_bytes + size.table_bytes


def measure_size(compiled: Compiled, board: Board) -> LibrarySize:
    """The same apart. Raises ToolMissing where there is no compiler."""
    with TemporaryDirectory(prefix="nanou-") as scratch:
        library = Path(scratch, "nanou_model")
        write_project(render_aot(compiled), library)
        return library_size(library, measurement_board(board), Path(scratch, "objects"))
