"""Compare executors of a model with the truth, byte for byte, on the same cases.

TFLM is the truth, because it is what a device runs. Compared with it, byte for byte: TFLite's BUILTIN_REF, the NumPy
oracle, and the compiled C on each board. Of a model that compiles and that TFLM refuses for want of an operator, the
oracle is the truth. A difference is traced to the first operator whose output differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from codegen.canonicalize.border import before, enter
from codegen.graph.graph import Graph, Tensor, image_shape
from codegen.tflite.oracle import trace_oracle

Int8Array = npt.NDArray[np.int8]
Status = Literal["equal", "differs", "apart", "absent"]  # apart: a second opinion, which no device runs
TRUTH, ORACLE = "TFLM", "NumPy oracle"


@dataclass(frozen=True, eq=False)
class Cases:
    """Inputs, and what each case is ("random 3", "all -128"). Consecutive inferences, of models that keep something.

    `frames`: int8 (N, input bytes), of all inputs, one behind the other. `file`: the same as the file takes it, uint8
    (N, bytes): other bytes where that is float32 or uint8.
    """

    frames: Int8Array
    file: npt.NDArray[np.uint8]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Cases:
        return Cases(self.frames[:count], self.file[:count], self.labels[:count])


@dataclass(frozen=True)
class Divergence:
    """The first operator whose output differs from the oracle's."""

    case: int
    case_label: str
    operator_index: int
    operator: str  # "operator 7 (CONV_2D)"
    tensor: str
    differing_bytes: int
    max_difference: int


@dataclass(frozen=True)
class ExecutorResult:
    """The comparison of one executor with the truth. `first_divergence` is set where it differs and could be traced."""

    name: str
    status: Status
    cases: int = 0
    equal_cases: int = 0
    max_difference: int = 0
    first_divergence: Divergence | None = None
    detail: str = ""


@dataclass(frozen=True)
class GoldenReport:
    """The outcome of a verification. `passed` means: nothing differs, and something was compared with the truth.

    BUILTIN_REF may be apart from TFLM where their kernels round differently; then TFLM is the truth (`truth`).
    """

    model_sha256: str
    cases: int
    executors: tuple[ExecutorResult, ...] = field(default_factory=tuple)
    truth: str = TRUTH

    @property
    def passed(self) -> bool:
        compared = [e for e in self.executors if e.status in ("equal", "differs") and e.name != self.truth]
        return bool(compared) and all(e.status == "equal" for e in compared)


def cases_of(executors: Iterable[ExecutorResult]) -> str:
    """Say on how many cases executors ran, in words; by name those that ran fewer than the first: slow ones."""
    by_count: dict[int, list[str]] = {}
    for one in executors:
        by_count.setdefault(one.cases, []).append(one.name)
    (most, first), *fewer = by_count.items()
    said = f"on {most:,} {'case' if most == 1 else 'cases'}"
    if not fewer:
        return said
    parts = (f"{', '.join(names)} on {count:,}" for count, names in fewer)
    return f"{len(first)} of them {said}, {'; '.join(parts)}"


Run = Callable[[Cases], npt.NDArray[Any]]  # outputs as the file states them, (N, ...)
Trace = Callable[[Int8Array], Mapping[int, Int8Array]]  # one frame -> every operator's output, by operator index


@dataclass(frozen=True)
class Executor:
    """Something that can run the model, on the first `limit` cases if it is slow.

    `trace` says what every operator of one frame gives, where it can.
    """

    name: str
    run: Run
    trace: Trace | None = None
    detail: str = ""
    limit: int | None = None


# ---- Cases -----------------------------------------------------------------------------------------------------


def make_cases(graph: Graph, count: int, *, seed: int, real_frames: npt.NDArray[np.uint8] | None = None) -> Cases:
    """Make `count` frames: extremes and ramps first, then random and real ones in turn.

    Of few cases, the first are one random frame, one real one and the extremes. `real_frames` are what the file takes,
    uint8 (N, bytes of its inputs).
    """
    tensors = [graph.tensor(index) for index in graph.inputs]
    shapes = [image_shape(tensor.shape) for tensor in tensors]
    rng = np.random.default_rng(seed)
    queue = [(f"real {i}", row) for i, row in enumerate(() if real_frames is None else real_frames)]
    each = [_extremes(shape, _zero_byte(tensor)) for shape, tensor in zip(shapes, tensors, strict=True)]
    extremes = [(alike[0][0], _joined(value for _, value in alike)) for alike in zip(*each, strict=True)]
    made = [("random 0", _file_row(graph, _joined(_random(rng, 0, shape) for shape in shapes)))]
    made += queue[:1] + [(label, _file_row(graph, frame)) for label, frame in extremes]
    number, queue = 1, queue[1:]
    while len(made) < count:
        frame = _joined(_random(rng, number, shape) for shape in shapes)
        made.append((f"random {number}", _file_row(graph, frame)))
        number += 1
        if queue:
            made.append(queue.pop(0))
    made = made[:count]
    file = np.stack([row for _, row in made])
    is_int8 = all(tensor.dtype == "int8" for tensor in tensors)
    return Cases(enter(graph, file) if is_int8 else file.view(np.int8), file, tuple(label for label, _ in made))


def _file_row(graph: Graph, frame: Int8Array) -> npt.NDArray[np.uint8]:
    """int8 values of all inputs -> the bytes that the file takes, of whatever type a model of the interpreter has."""
    tensors = [graph.tensor(index) for index in graph.inputs]
    if all(tensor.dtype == "int8" for tensor in tensors):
        row: npt.NDArray[np.uint8] = before(graph, frame[None])[0]
        return row
    parts = np.split(frame, np.cumsum([np.prod(tensor.shape, dtype=int) for tensor in tensors])[:-1])
    spread = {"float32": 1 / 32, "int16": 256}
    typed = [part.astype(np.float64) * spread.get(t.dtype, 1) for part, t in zip(parts, tensors, strict=True)]
    typed = [part % 256 if t.dtype == "uint8" else part for part, t in zip(typed, tensors, strict=True)]
    return np.concatenate([part.astype(t.dtype).view(np.uint8) for part, t in zip(typed, tensors, strict=True)])


def _zero_byte(tensor: Tensor) -> int:
    """Find the zero point as an int8 value, of which `_file_row` makes the type that a model of the interpreter has."""
    zero_point = tensor.zero_point if tensor.zero_points else 0
    return (zero_point + 128) % 256 - 128 if tensor.dtype in ("int8", "uint8") else 0


def _joined(frames: Iterable[Int8Array]) -> Int8Array:
    return np.concatenate([frame.reshape(-1) for frame in frames])


def _extremes(shape: tuple[int, int, int], zero_point: int) -> list[tuple[str, Int8Array]]:
    height, width, _ = shape

    def one_pixel(y: int, x: int, value: int) -> Int8Array:
        frame = np.full(shape, zero_point, np.int8)
        frame[y, x] = value
        return frame

    def gray(values: npt.NDArray[np.integer]) -> Int8Array:
        """Make stripes, the same in all channels; rows or columns are repeated."""
        return np.broadcast_to(values[..., None], shape).astype(np.int8)

    checkered = np.where(np.add.outer(np.arange(height), np.arange(width)) % 2, 127, -128)
    across, down = (np.linspace(-128, 127, extent).round().astype(np.int64) for extent in (width, height))
    return [
        ("all -128", np.full(shape, -128, np.int8)),
        ("all 127", np.full(shape, 127, np.int8)),
        ("all zero point", np.full(shape, zero_point, np.int8)),
        ("first pixel 127", one_pixel(0, 0, 127)),
        ("last pixel 127", one_pixel(height - 1, width - 1, 127)),
        ("middle pixel 127", one_pixel(height // 2, width // 2, 127)),
        ("middle pixel -128", one_pixel(height // 2, width // 2, -128)),
        ("checkerboard", gray(checkered)),
        ("the other checkerboard", gray(-1 - checkered)),
        ("ramp across", gray(across[None, :])),
        ("ramp down", gray(down[:, None])),
    ]


def _random(rng: np.random.Generator, number: int, shape: tuple[int, int, int]) -> Int8Array:
    """Noise, blocks, or black and white: each reaches other parts of the value ranges."""
    if number % 3 == 0:
        return rng.integers(-128, 128, shape).astype(np.int8)
    if number % 3 == 1:
        height, width, channels = shape
        coarse = rng.integers(-128, 128, (-(-height // 8), -(-width // 8), channels))
        return np.kron(coarse, np.ones((8, 8, 1), int))[:height, :width].astype(np.int8)
    return np.where(rng.random(shape) < rng.random(), -128, 127).astype(np.int8)


# ---- Comparison ------------------------------------------------------------------------------------------------


def compare(graph: Graph, cases: Cases, truth: npt.NDArray[Any], executor: Executor) -> ExecutorResult:
    """Run one executor and compare it, byte for byte, with the truth, (N, ...)."""
    cases = cases.first(executor.limit or len(cases))
    wanted, found = _as_int8(truth[: len(cases)]), _as_int8(executor.run(cases))
    difference = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
    equal = ~difference.any(axis=1)
    if equal.all():
        return ExecutorResult(executor.name, "equal", len(cases), len(cases), detail=executor.detail)
    case = int(np.argmin(equal))
    divergence = _first_divergence(graph, cases, case, executor.trace) if executor.trace else None
    return ExecutorResult(
        executor.name,
        "differs",
        len(cases),
        int(equal.sum()),
        int(difference.max()),
        divergence,
        executor.detail,
    )


def _as_int8(values: npt.NDArray[Any]) -> Int8Array:
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.int8)


def _first_divergence(graph: Graph, cases: Cases, case: int, trace: Trace) -> Divergence | None:
    """Of models that keep something, what they keep is taken to be that of the first inference."""
    wanted = trace_oracle(graph, [frame[0] for frame in graph.split_inputs(cases.frames[case : case + 1])])
    found = trace(cases.frames[case])
    for operator in graph.operators:
        tensor = operator.outputs[0]
        if operator.index not in found or found[operator.index].size != wanted[tensor].size:
            continue  # not seen, or a form that only the compiler has of it
        value = found[operator.index].reshape(-1).astype(np.int64)
        difference = np.abs(value - wanted[tensor].reshape(-1).astype(np.int64))
        if difference.any():
            return Divergence(
                case,
                cases.labels[case],
                operator.index,
                operator.label,
                graph.tensor(tensor).name,
                int(np.count_nonzero(difference)),
                int(difference.max()),
            )
    return None
