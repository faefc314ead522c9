"""Measure one inference on a board: instructions, RAM, stack, code and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from codegen.compile import Compilation
from codegen.graph.model import QuantizedModel
from codegen.library.render import Runtime
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.tflite import interpreters as reference
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.build import Build, build_harness
from nanou_deploy.build.compilation import compile_for, measurement_board, stack_usage
from nanou_deploy.build.library import write_library
from nanou_deploy.measure.cores import count_by_core
from nanou_deploy.measure.profile import LayerCost, profile
from nanou_deploy.verify.emulate import HarnessRun, run_harness
from nanou_deploy.verify.golden import Cases, make_cases

BENCH_FRAMES = 4

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    pass


@dataclass(frozen=True)
class BenchResult:
    """The cost of one inference on one board.

    Bytes; `ram_bytes` is working memory without the two frames (`io_bytes`).

    `instructions` is the mean over fixed frames, None where the board cannot count. `exact`: equal to TFLM on them.
    `stack_bytes` is what was written to below the call; `stack_usage_bytes` is what the compiler says of the functions
    that can be active at once, None where it says nothing.
    """

    board: str
    runtime: Runtime
    model_sha256: str
    macs: int
    instructions: int | None
    instructions_per_mac: float | None
    ram_bytes: int
    io_bytes: int
    stack_bytes: int | None
    code_bytes: int
    table_bytes: int
    exact: bool
    compiler: str
    flags: tuple[str, ...]
    recomputed_macs: int = 0
    stack_usage_bytes: int | None = None
    core_instructions: tuple[int, ...] = ()  # of the golden input, by core; empty for one core, or where none can count


def bench(
    model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE, *, progress: Progress = _silent
) -> BenchResult:
    """Build for the board and measure. Hardware is measured on its emulator; milliseconds are never derived."""
    return bench_compiled(compile_for(model, board, objective), board, progress=progress)


def bench_compiled(compiled: Compilation, board: Board, *, progress: Progress = _silent) -> BenchResult:
    """Measure a model that has been compiled, perhaps with another schedule."""
    model, plan = compiled.model, compiled.plan
    with TemporaryDirectory(prefix="nanou-") as scratch:
        measured = measure(compiled, board, Path(scratch), progress=progress)
        build, run, instructions = measured.build, measured.run, measured.instructions
        usage = stack_usage(compiled, build.elf.parent)
    truth = reference.run_tflm(model.flatbuffer, measured.cases.file)
    return BenchResult(
        build.board,
        "aot",
        model.sha256,
        plan.macs,
        instructions,
        round(instructions / plan.macs, 3) if instructions and plan.macs else None,
        plan.working_bytes,
        plan.io_bytes,
        run.stack_bytes,
        build.code_bytes,
        build.table_bytes,
        run.outputs.tobytes() == truth.tobytes(),
        build.compiler,
        build.flags,
        compiled.program.recomputed_macs,
        usage.total_bytes if usage else None,
        _by_core(compiled, board),
    )


def _by_core(compiled: Compilation, board: Board) -> tuple[int, ...]:
    target = measurement_board(board)
    return count_by_core(compiled, target) if compiled.plan.cores and target.kind == "qemu" else ()


@dataclass(frozen=True, eq=False)
class Measured:
    """The harness that was built, and its run over `cases`; `instructions` as in `BenchResult`."""

    build: Build
    cases: Cases
    run: HarnessRun
    instructions: int | None


def measure(compiled: Compilation, board: Board, work_dir: Path, *, progress: Progress = _silent) -> Measured:
    """Build and run the fixed frames; what comes out is not judged."""
    target = measurement_board(board)
    count = 1 if target.kind == "sim" else BENCH_FRAMES
    cases = make_cases(compiled.graph, count, seed=0)
    progress(f"building for {target.name}")
    build = build_harness(write_library(compiled, work_dir), target, work_dir / "bench")
    progress(f"running {count} frames on {target.name}")
    run = run_harness(build, cases.file)
    return Measured(build, cases, run, round(sum(run.instructions) / count) if run.instructions else None)


def bench_layers(compiled: Compilation, board: Board, *, progress: Progress = _silent) -> tuple[LayerCost, ...]:
    """Count instructions by operator and class, on one fixed frame. Raises DeployError where the board cannot tell."""
    target = measurement_board(board)
    cases = make_cases(compiled.graph, 1, seed=0)
    with TemporaryDirectory(prefix="nanou-") as scratch:
        progress(f"counting by operator on {target.name}")
        library = write_library(compiled, Path(scratch))
        return profile(compiled, library, target, cases.file, Path(scratch) / "layers")
