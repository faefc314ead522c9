"""One check for every operator: oracle, TFLM, BUILTIN_REF and compiled C give the same bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

from codegen.arithmetic.one_multiply_search import HighMul, Rescale, WeightedSum
from codegen.compile import Compilation, compile_model
from codegen.graph.model import QuantizedModel
from codegen.kernels import epilogue
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.operators.logistic import logistic_table
from codegen.program.objective import DEFAULT_OBJECTIVE, OPTIMIZE, Objective
from codegen.program.target import ESP32S3, REGISTERS_32, VARIANTS, Target
from codegen.tflite import interpreters as reference
from codegen.tflite.oracle import run_oracle
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.toolchain import find_host_compiler, find_sanitizing_compiler
from nanou_deploy.verify.emulate import run_harness
from tests.high_mul_certificate import certify

# Of the ESP32-S3's, one: where its vector kernels do not apply, all of them are those of any Xtensa.
TARGETS = [t for family in VARIANTS.values() for t in family.values() if not t.vector_blocks or t == ESP32S3]
EVERY_WAY = Path(__file__).with_name("run_every_way.c")
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wunused-const-variable", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
EMULATED_CORES = pytest.mark.parametrize(
    ("board", "tools"),
    [
        ("rv32-qemu", ("qemu-system-riscv32", "riscv64-unknown-elf-gcc")),
        ("cortex-m4-qemu", ("qemu-system-arm", "arm-none-eabi-gcc")),
    ],
)
CERTIFIED_SUMS = 1 << 16  # of a channel, all of them; of more, those around thresholds and samples


def compile_bytes(
    flatbuffer: bytes,
    name: str = "sample",
    target: Target = REGISTERS_32,
    objective: Objective = DEFAULT_OBJECTIVE,
) -> Compilation:
    """A model whose preprocessing does not matter."""
    return compile_model(QuantizedModel(name, flatbuffer), target, objective)


def frames_for(compiled: Compilation, count: int = 4, seed: int = 0) -> npt.NDArray[np.int8]:
    """Both extremes, then noise."""
    shape = compiled.graph.input.shape[1:]
    noise = np.random.default_rng(seed).integers(-128, 128, (count, *shape)).astype(np.int8)
    noise[0], noise[1] = -128, 127
    return noise


def assert_interpreters_agree(
    compiled: Compilation, frames: npt.NDArray[np.int8], *, builtin_ref: bool = True
) -> npt.NDArray[np.int8]:
    """Oracle = TFLM = BUILTIN_REF (where TensorFlow is installed); returns the common output."""
    flatbuffer = compiled.model.flatbuffer
    truth = reference.run_tflm(flatbuffer, frames)
    np.testing.assert_array_equal(run_oracle(compiled.graph, frames), truth, "oracle and TFLM")
    if builtin_ref and reference.builtin_ref_available():
        np.testing.assert_array_equal(reference.run_builtin_ref(flatbuffer, frames), truth, "BUILTIN_REF and TFLM")
    return truth


def assert_exact(
    flatbuffer: bytes,
    folder: Path,
    *,
    board: str = "host",
    builtin_ref: bool = True,
    target: Target = REGISTERS_32,
    objective: Objective = DEFAULT_OBJECTIVE,
) -> Compilation:
    """All of the above, and the C for `target`: on this computer under sanitizers, else in the harness on `board`."""
    compiled = compile_bytes(flatbuffer, target=target, objective=objective)
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames, builtin_ref=builtin_ref)
    project = render_aot(compiled)
    if board == "host":
        _assert_equal_every_way(project.files, SANITIZE, folder / "every_way", frames, truth, str(target))
        return compiled
    library = folder / "nanou_model"
    write_project(project, library)
    build = build_harness(library, find_board(board), folder / "work")
    outputs = run_harness(build, frames.reshape(len(frames), -1)).outputs
    np.testing.assert_array_equal(outputs.reshape(truth.shape), truth, f"compiled C on {board} and TFLM")
    return compiled


def assert_compiled_is_oracle(flatbuffer: bytes, folder: Path) -> npt.NDArray[np.int8]:
    """Where TFLM stops: the C under sanitizers gives what the oracle does, which is returned."""
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled)
    expected = run_oracle(compiled.graph, frames)
    _assert_equal_every_way(render_aot(compiled).files, SANITIZE, folder, frames, expected, "host")
    return expected


def assert_every_pair_is_exact(flatbuffer: bytes) -> None:
    """Interpreters and proof agree on a model of input (1, 256, 256, 1), of which every row gets one value."""
    compiled = compile_bytes(flatbuffer)
    assert compiled.proofs.failures == ()
    every = np.broadcast_to(np.arange(-128, 128).astype(np.int8)[:, None, None], (1, 256, 256, 1))
    assert_interpreters_agree(compiled, np.ascontiguousarray(every), builtin_ref=False)


def interpreters_differ(compiled: Compilation) -> bool:
    """Whether TFLM and BUILTIN_REF are known to disagree on a LOGISTIC, see test_logistic.test_coarse_scales, or a DIV.

    TFLM computes it in fixed point, BUILTIN_REF as a table of rounded float32 sigmoids (lite/kernels/internal/common.h,
    LUTPopulate). Where the input's scale is coarse many values differ, elsewhere single ones close to a half.
    BUILTIN_REF stops at divisors of DIV that are stored as 0, whatever the zero point is.
    """
    if "div" in compiled.graph.stems:
        return True
    sources = [compiled.graph.tensor(op.inputs[0]) for op in compiled.graph.operators if op.stem == "logistic"]
    return any(
        (logistic_table(source.scale, source.zero_point) != _float_table(source.scale, source.zero_point)).any()
        for source in sources
    )


def _float_table(scale: float, zero_point: int) -> npt.NDArray[np.int64]:
    reals = np.float32(scale) * (np.arange(-128, 128) - zero_point).astype(np.float32)
    with np.errstate(over="ignore"):  # a sigmoid of 0
        rounded = np.floor(np.float32(256) / (np.float32(1) + np.exp(-reals)) + np.float32(0.5))
    return np.clip(rounded.astype(np.int64) - 128, -128, 127)


def assert_exact_every_way(
    flatbuffer: bytes, folder: Path, frames: npt.NDArray[np.int8], truth: npt.NDArray[np.int8], *, turn: int = 0
) -> int:
    """The compiled C, from whole frames and row by row, gives `truth` and compiles without a warning.

    For four of all targets, the first under AddressSanitizer and UBSan, which takes four times as long to compile.
    Which ones, and the objective, change with `turn`. Every one-multiply constant on the way is certified by
    `tests.high_mul_certificate`. Returns how many channels that were.
    """
    objective = Objective(OPTIMIZE[turn // len(TARGETS) % len(OPTIMIZE)])
    with _recorded_certificates() as channels:
        for number in range(turn, turn + len(TARGETS), len(TARGETS) // 4):
            target, flags = TARGETS[number % len(TARGETS)], SANITIZE if number == turn else []
            files = render_aot(compile_bytes(flatbuffer, target=target, objective=objective)).files
            library, what = folder / f"target_{number - turn}", f"{target}, {objective}"
            _assert_equal_every_way(files, flags, library, frames, truth, what)
    for found, exact, sums in channels:
        certify(found, exact, sums, samples=100, exhaustive=CERTIFIED_SUMS)
    return len(channels)


def _assert_equal_every_way(
    files: Mapping[str, str],
    flags: Sequence[str],
    library: Path,
    frames: npt.NDArray[np.int8],
    truth: npt.NDArray[np.int8],
    what: str,
) -> None:
    """Write and compile the files, and compare what they give with `truth`: from whole frames, and row by row."""
    outputs = _run_every_way(files, flags, library, frames, truth[0].size)
    for how, values in zip(("whole frames", "rows"), outputs, strict=True):
        np.testing.assert_array_equal(values.reshape(truth.shape), truth, f"C for {what}, from {how}, and TFLM")


def _run_every_way(
    files: Mapping[str, str], flags: Sequence[str], library: Path, frames: npt.NDArray[np.int8], output_bytes: int
) -> npt.NDArray[np.int8]:
    """(2, N, output bytes): from whole frames, and row by row."""
    for path, text in files.items():
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        (library / path).write_text(text)
    program, outputs = library / "every_way", library / "outputs.bin"
    includes = [f"-I{library / 'include'}", f"-I{library / 'src'}", f"-I{library / 'app'}"]
    compiler = find_sanitizing_compiler() if flags else find_host_compiler()
    command = [*compiler.command, *STRICT, *flags, *includes, str(EVERY_WAY), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    (library / "frames.bin").write_bytes(frames.tobytes())
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}  # needs ptrace, which containers may bar; nothing allocates
    command = [str(program), str(library / "frames.bin"), str(outputs)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, f"code {ran.returncode}\n{ran.stderr[-3000:]}"
    written = np.fromfile(outputs, np.int8)
    assert written.size == 2 * len(frames) * output_bytes
    return np.moveaxis(written.reshape(len(frames), 2, output_bytes), 1, 0)


@contextmanager
def _recorded_certificates() -> Iterator[set[tuple[HighMul, Rescale, WeightedSum]]]:
    """Every channel that the compiler meanwhile finds to be exact with one multiply. Searches once for all targets."""
    recorded: set[tuple[HighMul, Rescale, WeightedSum]] = set()
    search = lru_cache(maxsize=None)(epilogue.find_layer)

    def recording(channels: Sequence[tuple[Rescale, WeightedSum]], **options: Any) -> tuple[HighMul, ...] | None:
        layer = search(tuple(channels), **options)
        if layer is not None:
            recorded.update((found, *channel) for found, channel in zip(layer, channels, strict=True))
        return layer

    with mock.patch.object(epilogue, "find_layer", recording):
        yield recorded
