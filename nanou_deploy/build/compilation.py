"""Compile a model for one board, within the flash that the user allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from codegen.compile import Compilation, compile_model
from codegen.errors import BudgetError
from codegen.graph.model import QuantizedModel
from codegen.library.identifier import model_identifier
from codegen.library.render import render_aot
from codegen.library.render_kernels import kernel_names
from codegen.library.write import write_project
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.program.target import find_targets
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.stack_usage import StackUsage, read_stack_usage

if TYPE_CHECKING:
    from nanou_deploy.build.build import LibrarySize


def verification_board(board: Board) -> Board:
    """Choose where code for `board` runs here: itself, or the emulator of the nearest instruction set."""
    return board if board.runs_here else find_board(board.emulated_as or "host")


def measurement_board(board: Board) -> Board:
    """Choose where instructions and flash of `board` are measured here: itself, or the emulator of its instruction set.

    The ESP32's code is verified elsewhere, so that this needs no compiler for Xtensa.
    """
    place = verification_board(board)
    is_elsewhere = board.isa.startswith("xtensa") and not place.isa.startswith("xtensa")
    return find_board("xtensa-qemu") if is_elsewhere else place


def compile_for(model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Compilation:
    """Compile with the fastest kernels that `objective` allows. Under a flash limit each choice is built and measured.

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


def compile_each(
    model: QuantizedModel, boards: Iterable[Board], objective: Objective = DEFAULT_OBJECTIVE
) -> Mapping[Board, Compilation]:
    """`compile_for` each board, once for all that get the same kernels. Raises the same."""
    known: dict[object, Compilation] = {}
    compiled: dict[Board, Compilation] = {}
    for board in boards:
        # Under a flash limit the choice follows from what the board's own compiler makes.
        measured_on = None if objective.max_flash_bytes is None else measurement_board(board)
        key = find_targets(board.isa, objective.optimize), measured_on
        if key not in known:
            known[key] = compile_for(model, board, objective)
        compiled[board] = known[key]
    return compiled


def measure_flash_bytes(compiled: Compilation, board: Board) -> int:
    """Measure code and tables of the generated library as the compiler of the board or of its emulator makes them."""
    size = measure_size(compiled, board)
    return size.code_bytes + size.table_bytes


def measure_size(compiled: Compilation, board: Board) -> LibrarySize:
    """Measure code and tables apart, as `measure_flash_bytes`. Raises ToolMissing where there is no compiler."""
    with TemporaryDirectory(prefix="nanou-") as scratch:
        return _compile_library(compiled, board, Path(scratch))


def measure_stack(compiled: Compilation, board: Board) -> StackUsage | None:
    """Measure stack frames as the compiler of the board, or of its emulator, states them; None where it states none.

    Raises ToolMissing where there is no compiler.
    """
    with TemporaryDirectory(prefix="nanou-") as scratch:
        _compile_library(compiled, board, Path(scratch))
        return stack_usage(compiled, Path(scratch))


def stack_usage(compiled: Compilation, built: Path) -> StackUsage | None:
    """Read what the compiler stated when the library was built into the folder `built`."""
    layers = {stage.label for stage in compiled.program.stages}
    object_stem = built / "model" / model_identifier(compiled.model.name)
    return read_stack_usage(object_stem, layers, set(kernel_names(compiled.program).values()))


def _compile_library(compiled: Compilation, board: Board, folder: Path) -> LibrarySize:
    from nanou_deploy.build.build import library_size  # toolchains, which most commands that compile do without

    library = folder / "nanou_model"
    write_project(render_aot(compiled), library)
    return library_size(library, measurement_board(board), folder)
