"""Files that are damaged, or that no converter would write: an error in words, or a model that is proven like any."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tflite

from codegen.compile import Compilation, compile_model
from codegen.errors import CodegenError, ModelError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.library.render import render_aot
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import ExecutorError, InterpreterCrash, run_tflm
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from codegen.tflite.verify import verify_file
from tests.flatbuffer_damage import damage, places
from tests.property.random_graphs import random_model

WEIGHTS = np.arange(-13, 14, dtype=np.int8).reshape(1, 3, 3, 3)
SCALES = [0.01, 0.02, 0.03]


def compile_bytes(flatbuffer: bytes) -> Compilation:
    return compile_model(QuantizedModel("damaged", flatbuffer))


def depthwise(b: ModelBuilder, source: int, **changed: float) -> int:
    settings = {"scale": 0.1, "zero_point": -128} | changed
    return b.convolution(source, WEIGHTS, SCALES, np.arange(3, dtype=np.int32), depthwise=True, **settings)  # type: ignore[arg-type]


def model(change: Callable[[ModelBuilder, int, int], None] = lambda *_: None) -> bytes:
    """One depthwise convolution, changed before it is written: builder, number of the input, of the output."""
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 1 / 127.5, 0)
    output = depthwise(b, source)
    change(b, source, output)
    return b.finish([source], [output])


def rewire(
    inputs: list[int] | None = None, outputs: list[int] | None = None
) -> Callable[[ModelBuilder, int, int], None]:
    def change(b: ModelBuilder, _source: int, _output: int) -> None:
        code, old_inputs, old_outputs, kind, options = b.operators[0]
        b.operators[0] = code, inputs or old_inputs, outputs or old_outputs, kind, options

    return change


def set_tensor(which: int, **fields: object) -> Callable[[ModelBuilder, int, int], None]:
    return lambda b, _source, _output: b.tensors[which].update(fields)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (rewire(inputs=[0, 1, 77]), ModelError, "names tensor 77, of 4"),
        (rewire(inputs=[0]), ModelError, r"has inputs \(0,\), of which it needs 2"),
        (rewire(inputs=[0, -1, 2]), ModelError, "of which it needs 2"),
        (rewire(inputs=[1, 1, 2]), ModelError, "states output 6x8, its window gives 3x3"),
        (rewire(outputs=[-1]), ModelError, "names tensor -1"),
        (rewire(outputs=[2]), ModelError, "which already has a value"),
        (rewire(outputs=[3, 3]), ModelError, "which already has a value"),
        (set_tensor(0, shape=(-1, 6, 8, 3)), UnsupportedError, "dynamic shape"),
        (set_tensor(0, shape=(0, 6, 8, 3)), UnsupportedError, "dynamic shape"),
        (set_tensor(0, shape=(1, 0, 8, 3)), UnsupportedError, "dynamic shape"),
        (set_tensor(0, shape=(2, 6, 8, 3)), UnsupportedError, r"works on \(2, 6, 8, 3\)"),
        (set_tensor(0, shape=(6, 8, 3)), UnsupportedError, r"works on \(6, 8, 3\)"),
        (set_tensor(3, scales=[1e-42]), UnsupportedError, "has scale 1[.0-9]*e-42"),
        (set_tensor(3, scales=[3e38]), UnsupportedError, "has scale 3e"),
        (set_tensor(3, scales=[float("nan")]), ModelError, "not a positive number"),
        (set_tensor(3, scales=[]), UnsupportedError, "without quantization parameters"),
        (set_tensor(1, shape=(3, 3, 1, 3)), ModelError, r"has weights \(3, 3, 1, 3\)"),
        (set_tensor(1, shape=(1, 3, 3, 4)), ModelError, "has 3 scales along dimension 3"),
        (set_tensor(1, shape=(1, 3, 4, 3)), ModelError, "has 27 bytes of data, not 36"),
        (set_tensor(0, shape=(1, 4000, 4000, 3)), UnsupportedError, "48,000,000 bytes: more than"),
        (set_tensor(0, shape=(1, -(2**31), 2**31 - 1, 3)), UnsupportedError, "bytes: more than"),
    ],
)
def test_a_contradiction_is_an_error_in_words(
    change: Callable[[ModelBuilder, int, int], None], error: type[CodegenError], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        compile_bytes(model(change))
    assert str(raised.value)


@pytest.mark.parametrize(
    ("operator", "constants"),
    [
        ("TILE", np.array([1, 1 << 30, 1 << 30, 1], np.int32)),
        ("MIRROR_PAD", np.array([[0, 0], [0, 2**31 - 1], [0, 2**31 - 1], [0, 0]], np.int32)),
        ("PAD", np.array([[0, 0], [0, 2**31 - 1], [0, 2**31 - 1], [0, 0]], np.int32)),
    ],
)
def test_what_would_take_all_memory_is_refused_before_it_is_made(operator: str, constants: npt.NDArray[Any]) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 0.1, 0)
    output = b.operator(operator, [source, b.constant(constants)], b.activation((1, 6, 8, 3), 0.1, 0))
    with pytest.raises(ModelError, match=operator):
        compile_bytes(b.finish([source], [output]))


def test_a_window_of_millions_of_places_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 0.1, 0)
    with pytest.raises(UnsupportedError, match="window of 65536x65536"):
        compile_bytes(b.finish([source], [b.max_pool(source, (65536, 65536), (1, 1), "same")]))


@pytest.mark.parametrize(("begin", "size"), [((0, 1, 0), (1, 4, 3)), ((0, -2, 0), (1, 2, 3)), ((0, 2, 0), (1, -5, 3))])
def test_a_slice_beyond_its_input_is_refused(begin: tuple[int, ...], size: tuple[int, ...]) -> None:
    """NumPy would cut it to fit; TFLM reads what is there."""
    b = ModelBuilder()
    source = b.activation((1, 4, 3), 0.1, 0)
    constants = [b.constant(np.array(values, np.int32)) for values in (begin, size)]
    out = b.operator("SLICE", [source, *constants], b.activation((1, 3, 3), 0.1, 0))
    with pytest.raises(ModelError, match="SLICE"):
        compile_bytes(b.finish([source], [out]))


def test_an_unsupported_operator_is_refused_by_name() -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 0.1, 0)
    output = b.operator("COS", [source], b.activation((1, 6, 8, 3), 0.1, 0), None)
    with pytest.raises(UnsupportedError, match=r"no implementation for COS \(operator 0\)"):
        compile_bytes(b.finish([source], [output]))


def test_no_input_at_all() -> None:
    b = ModelBuilder()
    output = depthwise(b, b.activation((1, 6, 8, 3), 1 / 127.5, 0))
    with pytest.raises(UnsupportedError, match="has 0 inputs"):
        compile_bytes(b.finish([], [output]))


def test_a_quantize_that_overflows_tflites_kernel_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 1.0, 0)
    with pytest.raises(UnsupportedError, match="scale is too small"):
        compile_bytes(b.finish([source], [b.quantize(source, 2.0**-30, 0)]))


def two_operands(name: str, dtypes: tuple[str, str, str]) -> bytes:
    b = ModelBuilder()
    first, second, output = (b.activation((1, 6, 8, 3), 0.1, 0, dtype) for dtype in dtypes)
    options = "MaximumMinimumOptions" if name == "MAXIMUM" else ""
    return b.finish([first, second], [b.operator(name, [first, second], output, options)])


@pytest.mark.parametrize(
    ("name", "dtypes", "said"),
    [
        ("ADD", ("int8", "int8", "float32"), "mixes float32 and int8"),
        ("MAXIMUM", ("int8", "float32", "int8"), "mixes float32 and int8"),
        ("LESS", ("int8", "bool", "bool"), "mixes bool and int8"),
        ("MUL", ("int8", "int16", "int8"), "mixes int16 and int8"),
    ],
)
def test_types_that_no_kernel_takes_together_never_reach_tflm(
    name: str, dtypes: tuple[str, str, str], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        verify_file(load_graph(two_operands(name, dtypes)))


@pytest.mark.parametrize("name", ["ADD", "SUB", "SQUARED_DIFFERENCE", "LESS", "DIV"])
@pytest.mark.parametrize("scale", [0.0, -0.0, -1e-9])
def test_a_constant_of_scale_zero_never_reaches_tflm(name: str, scale: float) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 0.1, 0)
    constant = b.constant(np.ones(3, np.int8), [scale])
    output = b.activation((1, 6, 8, 3), 0.1, 0, "bool" if name == "LESS" else "int8")
    with pytest.raises(ModelError, match="not a positive number"):
        verify_file(load_graph(b.finish([source], [b.operator(name, [source, constant], output)])))


@pytest.mark.parametrize(("name", "scale", "zero_point"), [("LOGISTIC", 1 / 256, -128), ("TANH", 1 / 128, 0)])
@pytest.mark.parametrize("tiny", [2.0**-60, 2.0**-40, 2.0**-29])
def test_scales_at_which_tflm_shifts_backwards_are_refused(
    name: str, scale: float, zero_point: int, tiny: float
) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), tiny, 127)
    output = b.operator(name, [source], b.activation((1, 6, 8, 3), scale, zero_point), None)
    with pytest.raises(UnsupportedError, match="which TFLM's shifts do not define"):
        compile_bytes(b.finish([source], [output]))


def test_a_variable_as_it_was_read_is_no_output_of_the_compilers() -> None:
    b = ModelBuilder()
    source = b.activation((1, 6), 0.1, 0)
    handle, value = b.variable("/total", (1, 6), 0.1, 0)
    total = b.operator("ADD", [value, source], b.activation((1, 6), 0.1, 0))
    b.assign(handle, total)
    with pytest.raises(UnsupportedError, match="is a variable as it was read"):
        compile_bytes(b.finish([source], [value, total]))


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_compiles_or_is_refused(seed: int) -> None:
    """Bits flipped, bytes replaced, files cut: never another exception, nor a number that overflows unnoticed."""
    rng = Random(seed)
    intact = [random_model(rng, most_operators=4) for _ in range(3)]
    for number in range(90):
        damaged = bytearray(intact[number % len(intact)])
        if number % 10 == 9:
            del damaged[rng.randrange(len(damaged)) :]
        for _ in range(rng.choice((1, 1, 2, 5)) if damaged else 0):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                compiled = compile_bytes(bytes(damaged))
            except CodegenError:
                continue
            assert render_aot(compiled).files


MOST_S = 5.0  # on a busy machine


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_field_is_refused_or_means_the_same_to_tflm(seed: int) -> None:
    """Fields, lengths and offsets one by one: no other exception, no crash, no long computation, no other result."""
    rng = Random(seed)
    intact = random_model(rng, most_operators=5)
    where, outcomes = places(intact), Counter[str]()
    for _ in range(60):
        damaged = damage(rng, intact, where)
        begun = time.process_time()
        try:
            compiled = compile_bytes(damaged)
            assert render_aot(compiled).files
        except CodegenError:
            compiled = None
        assert time.process_time() - begun < MOST_S
        outcomes[outcome(damaged, compiled)] += 1
    assert outcomes.keys() >= {"refused", "equal"}, outcomes


def outcome(damaged: bytes, compiled: Compilation | None) -> str:
    """What becomes of the file in TFLM; raises where that crashes, or computes another thing than the compiler."""
    try:
        graph = load_graph(damaged)
        frames = np.random.default_rng(1).integers(-128, 128, (2, *graph.input.shape[1:]), dtype=np.int8)
        outputs = run_tflm(damaged, frames)
    except InterpreterCrash:
        raise
    except ExecutorError:
        return "refused by TFLM"
    except (CodegenError, IndexError):  # no input
        return "refused"
    if compiled is None:
        return "TFLM alone"
    np.testing.assert_array_equal(run_oracle(compiled.graph, frames).reshape(outputs.shape), outputs)
    return "equal"


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_does_not_crash_tflm(seed: int) -> None:
    rng = Random(seed)
    intact = [random_model(rng, most_operators=4) for _ in range(3)]
    for number in range(90):
        damaged = bytearray(intact[number % len(intact)])
        for _ in range(rng.choice((1, 1, 2, 5))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        outcome(bytes(damaged), None)


def test_what_the_file_names_exists() -> None:
    graph = load_graph(model())
    assert {i for op in graph.operators for i in (*op.inputs, *op.outputs)} <= set(range(len(graph.tensors)))


def test_the_larger_of_two_operator_codes_counts_as_for_interpreters() -> None:
    """A file states each operator's code twice. Found by the soak of damaged files."""
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 0)
    output = b.operator("RELU", [source], b.activation((1, 4), 0.1, 0), None)
    data = bytearray(b.finish([source], [output]))
    code = tflite.Model.GetRootAs(bytes(data), 0).OperatorCodes(0)
    at = code._tab.Pos + code._tab.Offset(10)
    assert data[at] == tflite.BuiltinOperator.RELU
    data[at] = tflite.BuiltinOperator.RELU6
    assert load_graph(bytes(data)).operators[0].stem == "relu6"
