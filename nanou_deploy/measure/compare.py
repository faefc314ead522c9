"""Measure one model by every schedule on several boards, in one run, so that the figures belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.compile import Compilation, compile_model
from codegen.errors import UnsupportedError
from codegen.graph.macs import count_macs
from codegen.graph.model import QuantizedModel
from codegen.library.render import Runtime
from codegen.plan.choose_plan import layer_plan
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.program.target import Target, find_target
from codegen.tflite import interpreters as reference
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import BOARDS, Board, find_board
from nanou_deploy.build.compilation import compile_each
from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.measure.bench import bench_compiled, bench_layers
from nanou_deploy.measure.profile import LayerCost
from nanou_deploy.verify.verify import Progress

TFLM_NOTE = (
    "the arena is what the interpreter reports in a 64-bit build, frames included, the table the .tflite file; "
    "its instructions are not measured here, since that needs TFLM's C++ sources, which nanou-deploy does not ship"
)


@dataclass(frozen=True)
class Schedule:
    """A way to compile a model. `about` says in words what it does.

    `whole_tensors`: layer by layer, every tensor computed before the next one starts. `target` takes the place of the
    board's own. Without `isas` it suits every board.
    """

    name: str
    about: str
    objective: Objective = DEFAULT_OBJECTIVE
    whole_tensors: bool = False
    target: Target | None = None
    isas: tuple[str, ...] = ()


# The first one is what `generate` and `build` do.
SCHEDULES = (
    Schedule("balanced", "row by row, cut where that saves RAM"),
    Schedule("time", "the same with larger, faster kernels: --optimize time", Objective("time")),
    Schedule(
        "ram", "the same, computing skip connections twice where that saves RAM: --optimize ram", Objective("ram")
    ),
    Schedule("layers", "layer by layer, every tensor whole; not offered, here to compare with", whole_tensors=True),
    Schedule(
        "portable",
        "row by row, but as for any processor of 16 registers, without SMLAD: the oracle of that variant",
        target=find_target("native"),
        isas=("armv7e-m",),
    ),
)


def compile_schedule(schedule: Schedule, model: QuantizedModel, boards: Sequence[Board]) -> Mapping[Board, Compilation]:
    """Compile for those of `boards` that the schedule suits, once for all that get the same kernels."""
    suited = [board for board in boards if not schedule.isas or board.isa in schedule.isas]
    if schedule.target is not None:
        return dict.fromkeys(suited, compile_model(model, schedule.target)) if suited else {}
    compiled = compile_each(model, suited, schedule.objective)
    if not schedule.whole_tensors:
        return compiled
    layered = {one: one.with_plan(layer_plan(one.program)) for one in dict.fromkeys(compiled.values())}
    return {board: layered[one] for board, one in compiled.items()}


@dataclass(frozen=True)
class CompareRow:
    """One way to run a model, measured; None where there is no figure. Bytes.

    `ratio` is of instructions to those of the first row that has any. `ram_bytes` is working memory without the two
    frames (`io_bytes`), `rows_ram_bytes` with row callbacks in place of frames, everything included. `exact`: equal to
    TFLM on the frames that were run. `note` says why figures are absent.
    """

    runtime: Runtime
    board: str
    schedule: str = ""
    instructions: int | None = None
    instructions_per_mac: float | None = None
    ratio: float | None = None
    ram_bytes: int | None = None
    io_bytes: int | None = None
    rows_ram_bytes: int | None = None
    stack_bytes: int | None = None
    code_bytes: int | None = None
    table_bytes: int | None = None
    exact: bool | None = None
    compiler: str = ""
    flags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Breakdown:
    """Instructions of the first schedule on one board, layer by layer. Without layers, `note` says why."""

    board: str
    layers: tuple[LayerCost, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything measured of one model. `macs` is 0 where they cannot be counted."""

    model: str
    sha256: str
    file_bytes: int
    macs: int
    rows: tuple[CompareRow, ...]
    breakdowns: tuple[Breakdown, ...] = ()


def select_boards(names: str | None) -> tuple[Board, ...]:
    """Select boards by name, separated by commas; "all" that run here; by default those in QEMU, which are fast.

    Raises DeployError for an unknown board and for hardware.
    """
    if names is None:
        return tuple(board for board in BOARDS.values() if board.kind == "qemu")
    if names == "all":
        return tuple(board for board in BOARDS.values() if board.runs_here)
    boards = tuple(dict.fromkeys(find_board(name.strip()) for name in names.split(",")))
    for board in boards:
        if not board.runs_here:
            raise DeployError(
                f"{board.name} is hardware, which is not measured", hint=f"compare on {board.emulated_as} instead"
            )
    return boards


def compare(
    model: QuantizedModel,
    boards: Sequence[Board],
    *,
    breakdown: bool = False,
    progress: Progress = lambda _message: None,
) -> Comparison:
    """Measure every schedule on every board, and the interpreter's memory. A missing tool is a note, not an error."""
    graph = load_graph(model.flatbuffer)
    try:
        compiled = {schedule.name: compile_schedule(schedule, model, boards) for schedule in SCHEDULES}
        rows = [
            _measure(by_board[board], board, name, progress)
            for board in boards
            for name, by_board in compiled.items()
            if board in by_board
        ]
        balanced = compiled[SCHEDULES[0].name] if breakdown else {}
        breakdowns = [_break_down(one, board, progress) for board, one in balanced.items()]
    except UnsupportedError as error:
        rows, breakdowns = [CompareRow("aot", board.name, note=f"refused: {error}") for board in boards], []
    progress("TFLite Micro")
    return Comparison(
        model.name,
        model.sha256,
        len(model.flatbuffer),
        count_macs(graph) or 0,
        _with_ratios([*rows, _tflm(model)]),
        tuple(breakdowns),
    )


def _measure(compiled: Compilation, board: Board, schedule: str, progress: Progress) -> CompareRow:
    plan = compiled.plan
    row = CompareRow(
        "aot",
        board.name,
        schedule,
        ram_bytes=plan.working_bytes,
        io_bytes=plan.io_bytes,
        rows_ram_bytes=plan.rows_arena_bytes,
    )
    try:
        result = bench_compiled(compiled, board, progress=progress)
    except ToolMissing as error:
        return replace(row, note=_missing(error))
    return replace(
        row,
        instructions=result.instructions,
        instructions_per_mac=result.instructions_per_mac,
        stack_bytes=result.stack_bytes,
        code_bytes=result.code_bytes,
        table_bytes=result.table_bytes,
        exact=result.exact,
        compiler=result.compiler,
        flags=result.flags,
        note="" if result.instructions else "instructions are not counted on this board",
    )


def _tflm(model: QuantizedModel) -> CompareRow:
    arena_bytes = reference.measure_tflm_arena_bytes(model.flatbuffer)
    return CompareRow("tflm", "", ram_bytes=arena_bytes, table_bytes=len(model.flatbuffer), note=TFLM_NOTE)


def _break_down(compiled: Compilation, board: Board, progress: Progress) -> Breakdown:
    if board.kind != "qemu":
        return Breakdown(board.name, note="instructions are told apart in QEMU alone")
    try:
        return Breakdown(board.name, bench_layers(compiled, board, progress=progress))
    except ToolMissing as error:
        return Breakdown(board.name, note=_missing(error))


def _missing(error: ToolMissing) -> str:
    return f"not measured: {error}; {error.hint}"


def _with_ratios(rows: Sequence[CompareRow]) -> tuple[CompareRow, ...]:
    first = next((row.instructions for row in rows if row.instructions), None)
    return tuple(
        replace(row, ratio=round(row.instructions / first, 3)) if row.instructions and first else row for row in rows
    )
