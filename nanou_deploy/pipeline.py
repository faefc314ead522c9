"""From a model file to a verified library: the stages of codegen, boards and executors, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from codegen import reference
from codegen.compile import Compiled, compile_model
from codegen.errors import UnsupportedError
from codegen.load import load_graph
from codegen.model import CameraSize, QuantizedModel, load_model
from codegen.objective import DEFAULT_OBJECTIVE, Objective
from codegen.oracle import run_oracle
from codegen.render import RenderedProject, Runtime, golden_crc32, golden_frame, render_aot, render_tflm
from codegen.tflm_arena import arena_budget
from codegen.verify import verify_interface
from codegen.write import write_project
from nanou_deploy.boards import Board
from nanou_deploy.build import build_device, build_harness
from nanou_deploy.compilation import compile_for, measurement_board, verification_board
from nanou_deploy.device.client import Device
from nanou_deploy.device.link import device_address
from nanou_deploy.emulate import run_harness
from nanou_deploy.errors import DeployError
from nanou_deploy.golden import (
    TRUTH,
    Cases,
    Executor,
    ExecutorResult,
    GoldenReport,
    Int8Array,
    Trace,
    compare,
    make_cases,
)
from nanou_deploy.profile import LayerCost, profile
from nanou_deploy.resources import models_folder

DEFAULT_MODEL = "nano_u_terrain.tflite"
BENCH_FRAMES = 4

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    pass


# ---- Models and libraries --------------------------------------------------------------------------------------


def open_model(path: Path | None, camera: CameraSize | None = None) -> QuantizedModel:
    """The model at `path` (a .tflite file or a run folder), or the one that ships with nanou-deploy; for pictures of
    `camera` instead of what its sidecar states."""
    if path is None:
        path = models_folder() / DEFAULT_MODEL
    if path.is_dir():
        if not (path / "model.tflite").is_file():
            raise DeployError(
                f"{path} holds no model.tflite", hint=f"make it with `nanou-deploy quantize --run {path}`"
            )
        path = path / "model.tflite"
    model = load_model(path)
    return replace(model, camera=camera) if camera else model


def render_library(
    model: QuantizedModel, runtime: Runtime, board: Board, objective: Objective = DEFAULT_OBJECTIVE
) -> RenderedProject:
    """The library's text for one board; `objective` is for the aot runtime.

    Raises CodegenError where the runtime cannot take the model, or not within the objective's limits.
    """
    if runtime == "aot":
        return render_aot(compile_for(model, board, objective))
    graph = load_graph(model.flatbuffer)
    verify_interface(graph)
    measured_bytes = reference.measure_tflm_arena_bytes(model.flatbuffer)
    frame = golden_frame(graph.input.size_bytes).reshape(graph.input.shape)
    crc32 = golden_crc32(reference.run_tflm(model.flatbuffer, frame))
    return render_tflm(
        model, graph, arena_budget(graph, measured_bytes, board.idf_target), macs=_macs(model), crc32=crc32
    )


def _macs(model: QuantizedModel) -> int:
    try:
        return compile_model(model).plan.macs
    except UnsupportedError:
        return 0  # "unknown" in nanou.h: the interpreter can run what the compiler cannot count


# ---- Verification ----------------------------------------------------------------------------------------------


def reference_executors(model: QuantizedModel, compiled: Compiled) -> list[Executor]:
    """BUILTIN_REF, where TensorFlow is installed, and the NumPy oracle."""
    graph = compiled.graph
    oracle = Executor("NumPy oracle", lambda cases: run_oracle(graph, cases.frames))
    if not reference.builtin_ref_available():
        return [oracle]

    def trace(frame: Int8Array) -> Mapping[int, Int8Array]:
        values = reference.trace_builtin_ref(model.flatbuffer, frame)
        return {op.index: values[op.outputs[0]] for op in graph.operators if op.outputs[0] in values}

    run = Executor("BUILTIN_REF", lambda cases: reference.run_builtin_ref(model.flatbuffer, cases.frames), trace)
    return [run, oracle]


def board_executors(library: Path, board: Board, count: int, work_dir: Path) -> list[Executor]:
    """The generated library on one board, on its first `count` cases; on the host also under sanitizers."""
    trace = _tracer(library, board, work_dir)

    def executor(name: str, sanitize: bool) -> Executor:
        build = build_harness(library, board, work_dir / name.replace(" ", "-"), sanitize=sanitize)
        return Executor(name, lambda cases: run_harness(build, cases.flat).outputs, trace, build.compiler, count)

    plain = executor(f"aot {board.name}", sanitize=False)
    return [plain, executor(f"aot {board.name} ASan+UBSan", sanitize=True)] if board.kind == "host" else [plain]


def _tracer(library: Path, board: Board, work_dir: Path) -> Trace:
    """A traced build is made only if a difference has to be located."""

    def trace(frame: Int8Array) -> Mapping[int, Int8Array]:
        traced = build_harness(library, board, work_dir / f"{board.name}-trace", trace=True)
        run = run_harness(traced, frame.reshape(1, -1))
        return {index: np.frombuffer(data, np.int8) for index, data in run.traces[0].items()}

    return trace


def application_executors(library: Path, board: Board, sha256: str, count: int, work_dir: Path) -> list[Executor]:
    """The firmware's application on this computer or on a simulated chip, asked through the device protocol; on its
    first `count` cases, simulated on one. Empty for boards on which it does not run."""
    if board.kind not in ("host", "sim"):
        return []
    build = build_device(library, board, work_dir / f"{board.name}-application")

    def run(cases: Cases) -> Int8Array:
        with Device.open(device_address(build), model_sha256=sha256) as device:
            return np.stack([device.infer(frame).output for frame in cases.frames])

    cases = 1 if board.kind == "sim" else count
    trace = _tracer(library, board, work_dir)
    return [Executor(f"application {board.name}", run, trace, build.compiler, min(cases, count))]


def golden_images(model: QuantizedModel, count: int, seed: int) -> Sequence[npt.NDArray[np.uint8]]:
    """Rendered terrain of the model's size: "real" inputs where no data set is given. Empty unless RGB."""
    if model.preprocessing.channels != 3 or count < 1:
        return ()
    from nanou_train.terrain import generate

    size = {"height_px": model.preprocessing.height_px, "width_px": model.preprocessing.width_px}
    images, _ = generate(count, seed=seed, **size)
    return list(images)


def verify(
    model: QuantizedModel,
    targets: Sequence[tuple[Board, int]],
    *,
    runtime: Runtime = "aot",
    seed: int = 0,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    library: Path | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    progress: Progress = _silent,
) -> GoldenReport:
    """Compare everything that can run the model here.

    `targets` are boards and the number of cases for each; the interpreters run the largest number. `images` are
    uint8 (H, W, C) of the model's size. `library` verifies that generated folder instead of a fresh one.
    """
    compiled = compile_model(model)
    count = max(cases for _, cases in targets)
    images = images or golden_images(model, (count + 1) // 2, seed)  # as many as random frames
    cases = make_cases(compiled.graph, model.preprocessing, count, seed=seed, images=images)
    progress(f"{TRUTH}, {count} cases")
    truth = reference.run_tflm(model.flatbuffer, cases.frames)
    results = [ExecutorResult(TRUTH, "equal", count, count, detail="the reference")]
    executors = reference_executors(model, compiled)
    if not reference.builtin_ref_available():
        results.append(ExecutorResult("BUILTIN_REF", "absent", detail="TensorFlow is not installed"))
    with TemporaryDirectory(prefix="nanou-") as scratch:
        for board, limit in targets if runtime == "aot" else ():
            folder = library or _write_library(compile_for(model, board, objective), Path(scratch) / board.name)
            target = verification_board(board)
            executors += board_executors(folder, target, limit, Path(scratch))
            executors += application_executors(folder, target, model.sha256, limit, Path(scratch))
        for executor in executors:
            progress(f"{executor.name}, {executor.limit or count} cases")
            results.append(compare(compiled.graph, cases, truth, executor))
    return GoldenReport(model.sha256, count, tuple(results))


def _write_library(compiled: Compiled, scratch: Path) -> Path:
    folder = scratch / "nanou_model"
    write_project(render_aot(compiled), folder)
    return folder


# ---- Measurement -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BenchResult:
    """One inference on one board. Bytes; `ram_bytes` is working memory without the two frames (`io_bytes`).

    `instructions` is the mean over fixed frames, None where the board cannot count. `exact`: equal to TFLM on them.
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


def bench(
    model: QuantizedModel, board: Board, objective: Objective = DEFAULT_OBJECTIVE, *, progress: Progress = _silent
) -> BenchResult:
    """Build for the board and measure. Hardware is measured on its emulator; milliseconds are never derived."""
    return bench_compiled(compile_for(model, board, objective), board, progress=progress)


def bench_compiled(compiled: Compiled, board: Board, *, progress: Progress = _silent) -> BenchResult:
    """As `bench`, for a model that has been compiled, perhaps with another schedule."""
    model, plan = compiled.model, compiled.plan
    target = measurement_board(board)
    frames = 1 if target.kind == "sim" else BENCH_FRAMES
    cases = make_cases(compiled.graph, model.preprocessing, frames, seed=0)
    truth = reference.run_tflm(model.flatbuffer, cases.frames).reshape(frames, -1)
    with TemporaryDirectory(prefix="nanou-") as scratch:
        progress(f"building for {target.name}")
        build = build_harness(_write_library(compiled, Path(scratch)), target, Path(scratch) / "bench")
        progress(f"running {frames} frames on {target.name}")
        run = run_harness(build, cases.flat)
    instructions = round(sum(run.instructions) / frames) if run.instructions else None
    return BenchResult(
        target.name,
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
        bool(np.array_equal(run.outputs, truth)),
        build.compiler,
        build.flags,
        compiled.program.recomputed_macs,
    )


def bench_layers(compiled: Compiled, board: Board, *, progress: Progress = _silent) -> tuple[LayerCost, ...]:
    """Instructions by operator and class, on one fixed frame. Raises DeployError where the board cannot tell."""
    target = measurement_board(board)
    cases = make_cases(compiled.graph, compiled.model.preprocessing, 1, seed=0)
    with TemporaryDirectory(prefix="nanou-") as scratch:
        progress(f"counting by operator on {target.name}")
        library = _write_library(compiled, Path(scratch))
        return profile(compiled, library, target, cases.flat, Path(scratch) / "layers")
