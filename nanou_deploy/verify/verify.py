"""Compare everything that can run a model here, byte for byte, on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.canonicalize.border import before, leave
from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import UnsupportedError
from codegen.graph.contract import quantize_pixels
from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.library.render import Runtime
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.tflite import interpreters as reference
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from codegen.tflite.verify import can_compile
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.build import build_device, build_harness
from nanou_deploy.build.compilation import compile_each, verification_board
from nanou_deploy.build.library import write_library
from nanou_deploy.device.client import Device
from nanou_deploy.device.link import device_address
from nanou_deploy.verify.emulate import run_harness
from nanou_deploy.verify.golden import (
    ORACLE,
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

Progress = Callable[[str], None]
Frames = npt.NDArray[np.uint8]
Outputs = npt.NDArray[Any]

_APPLICATION_TIMEOUT_S = 10.0  # its self-test comes first, and runs the model


def _silent(_message: str) -> None:
    pass


def reference_executors(model: QuantizedModel, graph: Graph) -> list[Executor]:
    """List BUILTIN_REF, where TensorFlow is installed, and the NumPy oracle, where it knows all operators of `graph`.

    The oracle says which operator differs, so without it no executor is traced.
    """

    def run_graph(cases: Cases) -> Outputs:
        outputs = run_oracle(graph, cases.frames)
        return leave(graph, np.ascontiguousarray(outputs).reshape(len(outputs), -1).view(np.uint8))

    oracle = Executor(ORACLE, run_graph)
    known = [oracle] if can_compile(graph) else []
    if not reference.builtin_ref_available():
        return known

    def trace(frame: Int8Array) -> Mapping[int, Int8Array]:
        values = reference.trace_builtin_ref(model.flatbuffer, before(graph, frame.reshape(1, -1)))
        return {op.index: values[op.outputs[0]] for op in graph.operators if op.outputs[0] in values}

    def run(cases: Cases) -> Outputs:
        return reference.run_builtin_ref(model.flatbuffer, cases.file)

    return [Executor("BUILTIN_REF", run, trace if known else None), *known]


def board_executors(graph: Graph, library: Path, board: Board, count: int, work_dir: Path) -> list[Executor]:
    """Run the generated library on one board, on its first `count` cases; on the host also under sanitizers."""
    trace = _tracer(graph, library, board, work_dir)

    def executor(name: str, sanitize: bool) -> Executor:
        build = build_harness(library, board, work_dir / name.replace(" ", "-"), sanitize=sanitize)

        def run(cases: Cases) -> Outputs:
            return run_harness(build, cases.file, are_independent=not graph.states).outputs

        return Executor(name, run, trace, build.compiler, count)

    plain = executor(f"aot {board.name}", sanitize=False)
    return [plain, executor(f"aot {board.name} ASan+UBSan", sanitize=True)] if board.kind == "host" else [plain]


def _tracer(graph: Graph, library: Path, board: Board, work_dir: Path) -> Trace:
    """Make what traces a frame; the traced build is made only if a difference has to be located."""

    def trace(frame: Int8Array) -> Mapping[int, Int8Array]:
        traced = build_harness(library, board, work_dir / f"{board.name}-trace", trace=True)
        run = run_harness(traced, before(graph, frame.reshape(1, -1)))
        return {index: np.frombuffer(data, np.int8) for index, data in run.traces[0].items()}

    return trace


def application_executors(
    graph: Graph, library: Path, board: Board, sha256: str, count: int, work_dir: Path
) -> list[Executor]:
    """Run the firmware's application on this computer or on a simulated chip, asked through the device protocol; on
    the first `count` cases, simulated on one. Empty for boards on which it does not run."""
    if board.kind not in ("host", "sim"):
        return []
    build = build_device(library, board, work_dir / f"{board.name}-application")

    def run(cases: Cases) -> Outputs:
        with Device.open(device_address(build), timeout_s=_APPLICATION_TIMEOUT_S, model_sha256=sha256) as device:
            return infer_cases(device, graph, cases)

    cases = 1 if board.kind == "sim" else count
    trace = _tracer(graph, library, board, work_dir)
    return [Executor(f"application {board.name}", run, trace, build.compiler, min(cases, count))]


def infer_cases(device: Device, graph: Graph, cases: Cases, *, runtime: str = "aot") -> Outputs:
    """Ask a device for the cases' outputs as the file states them: consecutive inferences from the initial state on.

    Firmware of the tflm runtime takes and gives the file's own types.
    """
    device.reset()
    is_file = runtime == "tflm"
    frames = cases.file if is_file else cases.frames
    outputs = np.stack([device.infer(frame).output.reshape(-1).view(np.uint8) for frame in frames])
    return outputs if is_file else leave(graph, outputs)


def picture_frames(model: QuantizedModel, graph: Graph, images: Sequence[npt.NDArray[np.uint8]]) -> Frames:
    """Turn uint8 images (H, W, C) of the model's size into what its file takes: uint8 (N, input bytes)."""
    return before(graph, quantize_pixels(model, graph, np.stack(images)).reshape(len(images), -1))


def rendered_frames(model: QuantizedModel, graph: Graph, count: int, seed: int) -> Frames | None:
    """Render terrain of the model's size: "real" inputs where no data set is given. None unless it segments RGB."""
    if model.preprocessing is None or model.preprocessing.channels != 3 or len(graph.inputs) > 1 or count < 1:
        return None
    from nanou_train.data.terrain import generate

    size = {"height_px": model.preprocessing.height_px, "width_px": model.preprocessing.width_px}
    images, _ = generate(count, seed=seed, **size)
    return picture_frames(model, graph, list(images))


def load(model: QuantizedModel) -> Graph:
    """Load the graph as the compiler sees it, or as the file has it where only the interpreter can take it."""
    graph = load_graph(model.flatbuffer)
    try:
        return canonicalize(graph)
    except UnsupportedError:
        return graph


def verify(
    model: QuantizedModel,
    targets: Sequence[tuple[Board, int]],
    *,
    runtime: Runtime = "aot",
    seed: int = 0,
    real_frames: Frames | None = None,
    library: Path | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    progress: Progress = _silent,
) -> GoldenReport:
    """Compare everything that can run the model here.

    `targets` are boards and the number of cases for each; the interpreters run the largest number. `real_frames` are
    uint8 (N, bytes of the file's inputs). `library` verifies that generated folder instead of fresh ones; those are
    compiled once for all boards that get the same kernels. The compiler is not needed for the interpreter (`tflm`).
    """
    graph = load(model)
    boards = [board for board, _ in targets] if runtime == "aot" else []
    compiled = compile_each(model, boards if library is None else (), objective)
    count = max(cases for _, cases in targets)
    if real_frames is None:
        real_frames = rendered_frames(model, graph, (count + 1) // 2, seed)  # as many as random ones
    cases = make_cases(graph, count, seed=seed, real_frames=real_frames)
    progress(f"{TRUTH}, {count} cases")
    truth, results = _truth(model, graph, cases, runtime)
    name = results[-1].name
    executors = [one for one in reference_executors(model, graph) if one.name != name]
    if not reference.builtin_ref_available():
        results.append(ExecutorResult("BUILTIN_REF", "absent", detail="TensorFlow is not installed"))
    with TemporaryDirectory(prefix="nanou-") as scratch:
        distinct = dict.fromkeys(compiled.values())
        folders = {one: write_library(one, Path(scratch) / f"library-{i}") for i, one in enumerate(distinct)}
        for board, limit in targets if runtime == "aot" else ():
            folder = library or folders[compiled[board]]
            target = verification_board(board)
            executors += board_executors(graph, folder, target, limit, Path(scratch))
            executors += application_executors(graph, folder, target, model.sha256, limit, Path(scratch))
        for executor in executors:
            progress(f"{executor.name}, {executor.limit or count} cases")
            results.append(_compared(graph, cases, truth, executor))
    return GoldenReport(model.sha256, count, tuple(results), name)


def _truth(model: QuantizedModel, graph: Graph, cases: Cases, runtime: Runtime) -> tuple[Outputs, list[ExecutorResult]]:
    """Choose the outputs that others are compared with; return the rows of those asked, the truth's last.

    Where TFLM lacks an operator of a model that compiles, the oracle stands in, and it is said. Raises ExecutorError.
    """
    count = len(cases)
    try:
        outputs = reference.run_tflm(model.flatbuffer, cases.file)
        return outputs, [ExecutorResult(TRUTH, "equal", count, count, detail="the reference")]
    except reference.InterpreterCrash:
        raise
    except reference.ExecutorError as error:
        oracle = {one.name: one for one in reference_executors(model, graph)}.get(ORACLE)
        if runtime == "tflm" or oracle is None:
            raise
        refused = ExecutorResult(TRUTH, "absent", detail=str(error))
    stands_in = ExecutorResult(ORACLE, "equal", count, count, detail=f"the reference, as {TRUTH} does not take it")
    return oracle.run(cases), [refused, stands_in]


def _compared(graph: Graph, cases: Cases, truth: Outputs, executor: Executor) -> ExecutorResult:
    """Compare one executor with the truth. BUILTIN_REF counts as absent where it refuses a file that TFLM runs.

    Where it gives something else it is apart: its FULLY_CONNECTED rounds once, TFLM's twice, and a device runs TFLM's.
    """
    try:
        found = compare(graph, cases, truth, executor)
        if executor.name != "BUILTIN_REF" or found.status != "differs":
            return found
        return replace(found, status="apart", detail="rounds otherwise; the truth is what devices run, TFLM")
    except reference.ExecutorError as error:
        if executor.name != "BUILTIN_REF":
            raise
        return ExecutorResult(executor.name, "absent", detail=str(error))
