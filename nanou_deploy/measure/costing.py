"""What a model, or a network that nobody has trained, costs on a board: planned, compiled, estimated; and remembered.

Working memory comes from the plan and flash from the board's compiler, so both are what `bench` reports. Instructions
are estimated (codegen.estimate). Costs are kept in a folder, under a hash of everything that they follow from.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from codegen.compile import Compilation
from codegen.cost import Cost, Limits
from codegen.estimate import Estimate, estimate, instruction_costs
from codegen.graph.model import QuantizedModel
from codegen.library import resources
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from nanou_deploy.boards.boards import BOARDS, Board
from nanou_deploy.build.compilation import compile_for, measure_size, measurement_board
from nanou_deploy.build.targets import find_target
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from nanou_train.networks.structure import Structure

CACHE_VARIABLE = "NANOU_CACHE"  # a folder, or "off"


def cost_of(model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Cost:
    """Raises CodegenError where the model cannot be compiled or its kernels were never measured, ToolMissing where the
    board's compiler is absent, DeployError for a board whose instructions are not estimated."""
    folder = cache_folder()
    file = folder / f"{_key(model, board, objective)}.json" if folder else None
    found = _read(file) if file else None
    if found is None:
        found = cost_of_compiled(compile_for(model, board, objective), board)
        if file:
            _write(file, found)
    return found


def cost_of_structure(structure: Structure, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Cost:
    """Cost an untrained network, with random weights (nanou_train.networks.random_weights). Raises as `cost_of`.

    Working memory, frames and multiply-accumulates are those of the trained network. Which exact form requantizes a
    layer follows from its weights, and with it some of code, tables and instructions: docs/COST.md has how much.
    """
    from nanou_train.networks.random_weights import stand_in_model

    return cost_of(stand_in_model(structure), board, objective)


def structure_instructions(structure: Structure, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> int:
    """Estimated for one inference of an untrained network; the board's compiler is not called. Raises as `cost_of`."""
    from nanou_train.networks.random_weights import stand_in_model

    return estimate_for(compile_for(stand_in_model(structure), board, objective), board).instructions


def structure_violations(
    structure: Structure, board: Board, limits: Limits, objective: Objective = DEFAULT_OBJECTIVE
) -> tuple[str, ...]:
    """Which limits an untrained network breaks, in words. Raises as `cost_of`.

    The board's compiler is called only where working memory and instructions leave it a chance, and flash is limited.
    """
    from nanou_train.networks.random_weights import stand_in_model

    model = stand_in_model(structure)
    compiled = compile_for(model, board, objective)
    plan, instructions = compiled.plan, estimate_for(compiled, board).instructions
    planned = Cost(board.name, plan.macs, instructions, plan.working_bytes, plan.io_bytes, plan.rows_arena_bytes, 0, 0)
    broken = replace(limits, max_flash_bytes=None).violations(planned)
    return broken if broken or limits.max_flash_bytes is None else limits.violations(cost_of(model, board, objective))


def cost_of_compiled(compiled: Compilation, board: Board) -> Cost:
    """Of what has been compiled for `board`; nothing is remembered. Raises as `cost_of`."""
    plan = compiled.plan
    instructions, size = estimate_for(compiled, board).instructions, measure_size(compiled, board)
    return Cost(
        board.name,
        plan.macs,
        instructions,
        plan.working_bytes,
        plan.io_bytes,
        plan.rows_arena_bytes,
        size.code_bytes,
        size.table_bytes,
    )


def estimate_for(compiled: Compilation, board: Board) -> Estimate:
    """Instructions by stage. Raises as `cost_of`."""
    return estimate(compiled.program, estimation_board(board).name)


def estimation_board(board: Board) -> Board:
    """The board whose calibrated costs are those of `board`: of the same instruction set. Raises DeployError."""
    measured, known = measurement_board(board), instruction_costs()
    if measured.name in known:
        return measured
    alike = [BOARDS[name] for name in known if _family(BOARDS[name].isa) == _family(measured.isa)]
    if not alike:
        raise DeployError(
            f"instructions are not estimated for {board.name}",
            hint=f"use another board, for example one of {', '.join(known)}",
        )
    return alike[0]


def _family(isa: str) -> str:
    return isa if isa.startswith("arm") else isa[:2]


# ---- Memory --------------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Where costs are kept: $NANOU_CACHE, else the user's cache folder; None where that says "off"."""
    stated = os.environ.get(CACHE_VARIABLE)
    if stated:
        return None if stated == "off" else Path(stated) / "costs"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanou-deploy" / "costs"


def _key(model: QuantizedModel, board: Board, objective: Objective) -> str:
    """Of all that a cost follows from: what is compiled, for what, by which compilers, this one among them."""
    target = find_target(measurement_board(board))
    parts = (
        model.sha256,
        board.name,
        board.isa,
        asdict(objective),
        target.compiler.version,
        target.flags,
        _own_sources(),
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _own_sources() -> str:
    """Hash of the compiler's modules, templates and instruction costs."""
    digest = hashlib.sha256()
    package = Path(resources.__file__).parents[1]
    files = [*package.rglob("*.py"), *package.glob("*.json"), *resources.template_folder("aot").rglob("*.j2")]
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _read(file: Path) -> Cost | None:
    """None where there is none, or a damaged one: it is then made again."""
    try:
        return Cost.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, cost: Cost) -> None:
    """In one step, since several processes may have the same wish. A folder that cannot be written costs time only."""
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(cost.to_json()))
        partial.replace(file)
    except OSError:
        return
