"""SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM, with what they keep between inferences, against TFLM and as compiled C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import CodegenError, UnsupportedError
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.library import write_library
from nanou_deploy.verify.golden import make_cases
from nanou_deploy.verify.verify import board_executors
from tests.exactness import EMULATED_CORES, assert_exact, assert_interpreters_agree, compile_bytes, frames_for
from tests.ops.single_operator import drawn, drawn_zero_point

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"


def svdf(rng: np.random.Generator, *, depth: int = 7, **options: Any) -> bytes:
    b = ModelBuilder()
    source = b.activation((1, depth), drawn(rng, 0.01, 0.2), drawn_zero_point(rng))
    return b.finish([source], [add_svdf(rng, b, source, **options)])


def add_svdf(
    rng: np.random.Generator,
    b: ModelBuilder,
    source: int,
    *,
    units: int = 4,
    rank: int = 2,
    memory: int = 5,
    dtype: str = "int16",
    scale: float = 1.0,
) -> int:
    """`scale`: of the output, as a multiple of one that usually holds it."""
    (_, depth), (input_scale,) = b.tensors[source]["shape"], b.tensors[source]["scales"]
    filters = units * rank
    features = b.constant(rng.integers(-127, 128, (filters, depth)).astype(np.int8), [0.01])
    largest = {"int16": 32767, "int8": 127}[dtype]
    state_scale = input_scale * 0.01 * 127 * 64 * depth**0.5 / largest
    times = b.constant(rng.integers(-largest, largest + 1, (filters, memory)).astype(dtype), [0.5 / largest])
    bias_scale = state_scale * 0.5 / largest
    bias = b.constant(rng.integers(-1000, 1000, units).astype(np.int32), [bias_scale])
    state = b.own_variable((1, filters * memory), state_scale, 0, dtype)
    output_scale = scale * state_scale * largest * 0.25 * (memory * rank) ** 0.5 / 127
    output = b.activation((1, units), output_scale, drawn_zero_point(rng))
    return b.operator("SVDF", [source, features, times, bias, state], output, "SVDFOptions", Rank=rank)


def lstm(
    rng: np.random.Generator,
    *,
    steps: int = 6,
    depth: int = 5,
    units: int = 4,
    time_major: bool = False,
    **options: Any,
) -> bytes:
    b = ModelBuilder()
    given = b.activation((1, steps, depth), drawn(rng, 0.01, 0.1), drawn_zero_point(rng))
    source = b.reshape(given, (steps, 1, depth)) if time_major else given
    output = add_lstm(rng, b, source, depth=depth, units=units, TimeMajor=time_major, **options)
    return b.finish([given], [b.reshape(output, (1, steps, units)) if time_major else output])


def add_lstm(
    rng: np.random.Generator,
    b: ModelBuilder,
    source: int,
    *,
    depth: int,
    units: int,
    cell_power: int = -11,
    cell_clip: float = 0.0,
    reach: float = 3.0,
    **fields: Any,
) -> int:
    """`reach`: of what the gates get, in units of logistic and tanh."""
    hidden_zero = drawn_zero_point(rng)
    hidden = b.own_variable((1, units), 1 / 128, hidden_zero)
    cells = b.own_variable((1, units), 2.0**cell_power, 0, "int16")
    (input_scale,) = b.tensors[source]["scales"]

    def weights(count: int, scale: float) -> int:
        """So that a gate gets about `reach`."""
        values = rng.integers(-127, 128, (units, count)).astype(np.int8)
        return b.constant(values, [reach / (scale * 128 * 64 * count**0.5) * drawn(rng, 0.5, 2)])

    inputs = [weights(depth, input_scale) for _ in range(4)]
    recurrent = [weights(units, 1 / 128) for _ in range(4)]
    biases = [
        b.constant(rng.integers(-400, 400, units).astype(np.int32), [input_scale * b.tensors[w]["scales"][0]])
        for w in inputs
    ]
    absent = [-1, -1, -1]
    operands = [source, *inputs, *recurrent, *absent, *biases, -1, -1, hidden, cells, -1, *absent]
    output = b.activation((*b.tensors[source]["shape"][:2], units), 1 / 128, hidden_zero)
    fields = {"FusedActivationFunction": 4, "CellClip": cell_clip, **fields}
    return b.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, output, "UnidirectionalSequenceLSTMOptions", **fields)


def assert_oracle_is_tflm(flatbuffer: bytes) -> None:
    """Over several inferences, of which each begins where the last has ended."""
    compiled = compile_bytes(flatbuffer)
    outputs = assert_interpreters_agree(compiled, frames_for(compiled, count=12), builtin_ref=False)
    assert len(np.unique(outputs)) > 1  # not all at a limit


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("memory", [1, 2, 9])
def test_svdf_is_tflms(dtype: str, memory: int) -> None:
    rng = np.random.default_rng(memory)
    for _ in range(4):
        depth, units, rank = (int(rng.integers(1, high)) for high in (20, 9, 4))
        scale = drawn(rng, 0.3, 3)
        assert_oracle_is_tflm(
            svdf(rng, depth=depth, units=max(units, 2), rank=rank, memory=memory, dtype=dtype, scale=scale)
        )


@pytest.mark.parametrize("cell_power", [-15, -12, -11, -8, -4])
@pytest.mark.parametrize("time_major", [False, True])
def test_lstm_is_tflms(cell_power: int, time_major: bool) -> None:
    rng = np.random.default_rng(-cell_power)
    for _ in range(3):
        steps, depth, units = (int(rng.integers(1, high)) for high in (8, 12, 7))
        sizes = {"steps": steps, "depth": depth, "units": max(units, 2)}
        clip, reach = float(rng.choice([0.0, 0.5, 10.0])), drawn(rng, 0.3, 20)
        options: dict[str, Any] = {"cell_clip": clip, "reach": reach, "cell_power": cell_power}
        assert_oracle_is_tflm(lstm(rng, time_major=time_major, **sizes, **options))


def sample() -> bytes:
    """Both kernels, each with a state of its own: what an LSTM gives is filtered."""
    rng = np.random.default_rng(2)
    b = ModelBuilder()
    source = b.activation((1, 6, 5), 0.02, -3)
    value = add_lstm(rng, b, source, depth=5, units=4)
    return b.finish([source], [add_svdf(rng, b, b.reshape(value, (1, 24)))])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("time_major", [False, True])
def test_lstm_as_compiled_c(time_major: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {"cell_clip": 0.5, "cell_power": -14} if time_major else {}
    assert_exact(lstm(np.random.default_rng(4), time_major=time_major, **options), tmp_path, builtin_ref=False)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("memory", [1, 6])
def test_svdf_as_compiled_c(dtype: str, memory: int, tmp_path: Path) -> None:
    assert_exact(svdf(np.random.default_rng(4), dtype=dtype, memory=memory), tmp_path, builtin_ref=False)


@EMULATED_CORES
def test_exact_on_emulated_cores(
    board: str, tools: tuple[str, ...], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    for tool in tools:
        require_tool(tool)
    assert_exact(sample(), tmp_path, board=board, builtin_ref=False)


def test_emulated_cases_of_a_model_with_state_are_one_process(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """More of them than a process takes of other models; the state goes from each to the next."""
    for tool in ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"):
        require_tool(tool)
    compiled = compile_bytes(sample())
    cases = make_cases(compiled.graph, 12, seed=0)
    library = write_library(compiled, tmp_path)
    (executor,) = board_executors(compiled.graph, library, find_board("rv32-qemu"), 12, tmp_path)
    truth = run_tflm(compiled.model.flatbuffer, cases.frames)
    np.testing.assert_array_equal(executor.run(cases), truth.reshape(12, -1))


@pytest.mark.skipif(not SHARED.is_dir(), reason="without ../shared/models")
def test_a_trained_network_is_tflms() -> None:
    """MNIST row by row; consecutive pictures begin where the one before has ended, as TFLM does it."""
    flatbuffer = (SHARED / "tflm_mnist_lstm_int8.tflite").read_bytes()
    compiled = compile_bytes(flatbuffer)
    assert_interpreters_agree(compiled, frames_for(compiled, count=8), builtin_ref=False)


def test_a_state_that_is_read_elsewhere_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 5), 0.02, -3)
    output = add_lstm(np.random.default_rng(0), b, source, depth=5, units=4)
    cells = next(i for i, tensor in enumerate(b.tensors) if tensor.get("variable") and tensor["dtype"] == "int8")
    other = b.operator("RELU", [cells], b.activation((1, 4), 1 / 128, 0), None)
    with pytest.raises(CodegenError, match="is a variable"):
        compile_bytes(b.finish([source], [output, other]))


@pytest.mark.parametrize(("field", "value", "match"), [("FusedActivationFunction", 1, "activation relu")])
def test_what_tflm_would_stop_at_is_refused(field: str, value: int, match: str) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 5), 0.02, -3)
    output = add_lstm(np.random.default_rng(0), b, source, depth=5, units=4, **{field: value})
    with pytest.raises(UnsupportedError, match=match):
        compile_bytes(b.finish([source], [output]))
