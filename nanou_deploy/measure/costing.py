"""Count what one inference of a network costs on a board, trained or not, and remember it.

A cost is what `bench` measures: the model is compiled, linked with the harness and run in the board's emulator. Costs
are kept in a folder, under a hash of everything that they follow from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import codegen
from codegen.atomic_files import write_text
from codegen.graph.model import QuantizedModel
from codegen.library import resources
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.compilation import compile_for, measurement_board
from nanou_deploy.build.machines import Machine, find_machine
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.bench import measure
from nanou_deploy.resources import firmware_folder
from nanou_deploy.verify.emulate import find_emulator
from nanou_train.networks.cost import Cost

if TYPE_CHECKING:
    from nanou_train.networks.structure import Structure

CACHE_VARIABLE = "NANOU_CACHE"  # a folder, or "off"


def cost_of(model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Cost:
    """Compile, build and run, unless the cost is remembered.

    Raises CodegenError where the model cannot be compiled; ToolMissing where the board's compiler or emulator is
    absent; DeployError where nothing counts instructions, or where the code crashes. What it computes is not compared.
    """
    key = _key(model, board, objective, check_counting(board))
    folder = cache_folder()
    file = folder / f"{key}.json" if folder else None
    found = _read(file) if file else None
    if found is None:
        found = _count(model, board, objective)
        if file:
            with suppress(OSError):  # a folder that cannot be written costs time only
                write_text(file, json.dumps(found.to_json()))
    return found


def known_cost(model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE) -> Cost | None:
    """Recall a cost that `cost_of` counted; None where it never did, or not with the tools that are here."""
    folder = cache_folder()
    try:
        key = _key(model, board, objective, check_counting(board))
    except DeployError:
        return None
    return _read(folder / f"{key}.json") if folder else None


def costs_of(asked: Iterable[tuple[QuantizedModel, Board]], objective: Objective = DEFAULT_OBJECTIVE) -> Iterator[Cost]:
    """`cost_of` for many, in their order, as many at once as there are cores. Raises as `cost_of`."""
    pool = ThreadPoolExecutor(os.cpu_count())  # threads, since compilers and emulators are processes of their own
    try:
        futures = [pool.submit(cost_of, model, board, objective) for model, board in asked]
        yield from (future.result() for future in futures)
    finally:
        pool.shutdown(cancel_futures=True)


def cost_of_structure(
    structure: Structure, board: Board, objective: Objective = DEFAULT_OBJECTIVE, *, power_of_two: bool = False
) -> Cost:
    """Count an untrained network, with random weights (nanou_train.networks.random_weights). Raises as `cost_of`.

    Working memory, frames and multiply-accumulates are those of the trained network. Which exact form requantizes a
    layer follows from its weights, and with it some of code, tables and instructions: docs/COST.md has how much.
    """
    from nanou_train.networks.random_weights import stand_in_model

    return cost_of(stand_in_model(structure, power_of_two=power_of_two), board, objective)


def check_counting(board: Board) -> Machine:
    """Find how code is built where `board`'s instructions are counted.

    Raises DeployError where nothing counts them, ToolMissing where the compiler or the emulator is absent.
    """
    place = measurement_board(board)
    if place.kind == "host":
        raise DeployError(f"no emulator counts the instructions of {board.name}", hint="use for example rv32-qemu")
    find_emulator(place)
    return find_machine(place)


def _count(model: QuantizedModel, board: Board, objective: Objective) -> Cost:
    compiled = compile_for(model, board, objective)
    with TemporaryDirectory(prefix="nanou-") as scratch:
        found, plan = measure(compiled, board, Path(scratch)), compiled.plan
    if found.instructions is None:
        raise DeployError(f"the harness on {found.build.board} printed no counts", hint="report this model and board")
    return Cost(
        board.name,
        plan.macs,
        found.instructions,
        plan.working_bytes,
        plan.io_bytes,
        plan.rows_arena_bytes,
        found.build.code_bytes,
        found.build.table_bytes,
    )


# ---- Memory --------------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Return where costs are kept: $NANOU_CACHE, else the user's cache folder; None where that says "off"."""
    stated = os.environ.get(CACHE_VARIABLE)
    if stated:
        return None if stated == "off" else Path(stated) / "costs"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanou-deploy" / "costs"


def _key(model: QuantizedModel, board: Board, objective: Objective, machine: Machine) -> str:
    """Of all that a cost follows from: what is compiled, for what, by which compilers, this one among them."""
    about = (model.sha256, board.name, board.isa, asdict(objective), machine.compiler.version, machine.flags)
    return hashlib.sha256(json.dumps((*about, _own_sources())).encode()).hexdigest()


@cache
def _own_sources() -> str:
    """Hash of our own compiler and of what builds and runs its code."""
    digest = hashlib.sha256()
    packages = [Path(codegen.__file__ or "").parent, Path(__file__).parents[1]]
    files = [file for package in packages for file in package.rglob("*.py")]
    templates = [resources.template_folder(part) for part in ("aot", "common")]
    for folder in (*templates, firmware_folder() / "host", firmware_folder() / "include"):
        files += [file for file in folder.rglob("*") if file.is_file()]
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _read(file: Path) -> Cost | None:
    """None where there is none, or a damaged one: it is then made again."""
    try:
        return Cost.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
