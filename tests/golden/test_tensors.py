"""Several inputs and outputs, state, other types at the border, several models in one program: C and TFLM agree."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from codegen.canonicalize.border import before, enter
from codegen.canonicalize.canonicalize import canonicalize
from codegen.compile import compile_model
from codegen.errors import UnsupportedError
from codegen.graph.model import Contract, OutputContract, Preprocessing, QuantizedModel, segmentation
from codegen.library.identifier import model_identifier
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_interpreters_agree, compile_bytes

STRICT = (
    "-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion",
    "-Wshadow", "-pedantic", "-Werror", "-DNANOU_FLAGS_SET",
)  # fmt: skip


def two_of_each() -> bytes:
    """Inputs of other shapes and scales; of the two outputs one is read on the way to the other."""
    b = ModelBuilder()
    picture, row = b.activation((1, 6, 5, 4), 0.02, 3), b.activation((1, 7), 0.05, -9)
    weights = np.random.default_rng(0).integers(-90, 90, (4, 3, 3, 4)).astype(np.int8)
    mask = b.convolution(picture, weights, [0.01] * 4, None, scale=0.2, zero_point=-5)
    pooled = b.max_pool(mask, (2, 2), (2, 2))
    b_row = b.quantize(row, 0.2, -5)
    flat = b.reshape(pooled, (1, 24))
    return b.finish([picture, row], [mask, b.concatenate([flat, b_row], axis=1)])


def counter(zero_point: int = 7) -> bytes:
    """A window over the last inputs, as streaming wake words keep it, and a running sum, read with a `zero_point`."""
    b = ModelBuilder()
    source = b.activation((1, 2, 3), 0.1, -4)
    handle, past = b.variable("window", (1, 4, 3), 0.1, -4)
    window = b.concatenate([past, source], axis=1)
    begin, end, strides = (b.constant(np.array(v, np.int32)) for v in ([0, 2, 0], [1, 6, 3], [1, 1, 1]))
    newest = b.activation((1, 4, 3), 0.1, -4)
    b.assign(handle, b.operator("STRIDED_SLICE", [window, begin, end, strides], newest))
    total_handle, total = b.variable("total", (1, 12), 0.3, zero_point)
    more = b.operator("ADD", [total, b.reshape(newest, (1, 12))], b.activation((1, 12), 0.3, 7))
    b.assign(total_handle, more)
    return b.finish([source], [window, more])


def foreign(dtype: str) -> bytes:
    """float32 or uint8 in and out; uint8 of another scale than the int8 behind it."""
    b = ModelBuilder()
    source = b.activation((1, 5, 5, 3), 0.013, 100, dtype)
    if dtype == "float32":
        b.tensors[source] |= {"scales": [], "zeros": []}
    inner = b.quantize(source, 0.02, -20)
    weights = np.random.default_rng(1).integers(-90, 90, (2, 3, 3, 3)).astype(np.int8)
    value = b.convolution(inner, weights, [0.01] * 2, None, scale=0.1, zero_point=11)
    out = b.activation((1, 5, 5, 2), 0.1, 139, dtype)
    if dtype == "float32":
        b.tensors[out] |= {"scales": [], "zeros": []}
    return b.finish([source], [b.operator("DEQUANTIZE" if dtype == "float32" else "QUANTIZE", [value], out)])


def shared_outputs() -> bytes:
    """An input that is an output too, and an output that is there twice."""
    b = ModelBuilder()
    source = b.activation((1, 4, 3), 0.1, 5)
    value = b.quantize(source, 0.2, -3)
    return b.finish([source], [value, source, value])


SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Int8Array = npt.NDArray[np.int8]
MODELS: dict[str, Callable[[], bytes]] = {
    "two of each": two_of_each,
    "shared outputs": shared_outputs,
    "state": counter,
    "float32": lambda: foreign("float32"),
    "uint8": lambda: foreign("uint8"),
}


@pytest.mark.parametrize("which", MODELS)
def test_everything_agrees_on_consecutive_inferences(which: str, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    model = QuantizedModel("sample", MODELS[which]())
    report = verify(model, [(find_board("host"), 24)])
    assert report.passed, report
    assert {"aot host", "aot host ASan+UBSan", "NumPy oracle"} <= {e.name for e in report.executors}


def test_floats_pass_the_border_of_an_emulated_xtensa(require_tool: Callable[..., str]) -> None:
    """Whose runtime library divides floats, and whose coprocessor for them has to be on."""
    for tool in ("clang-22", "llc-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa"):
        require_tool(tool)
    report = verify(QuantizedModel("sample", foreign("float32")), [(find_board("xtensa-qemu"), 2)])
    assert report.passed, report
    assert "aot xtensa-qemu" in {executor.name for executor in report.executors}


def test_state_matters() -> None:
    """The same input gives another output later, and a run begins anew."""
    frames = np.repeat(np.arange(6, dtype=np.int8).reshape(1, -1), 3, axis=0)
    outputs = run_tflm(counter(), frames)
    assert (outputs[0] != outputs[2]).any()
    np.testing.assert_array_equal(run_tflm(counter(), frames), outputs)


def test_a_state_begins_with_the_zero_point_of_what_is_assigned() -> None:
    frames = np.arange(18, dtype=np.int8).reshape(3, 2, 3)
    assert_interpreters_agree(compile_bytes(counter(zero_point=1)), frames, builtin_ref=False)


def test_every_byte_passes_the_border() -> None:
    """Every int8 has a float that becomes it; of uint8 with a coarser scale behind it, those that are reached."""
    frames = np.resize(np.arange(-128, 128), (4, 75)).astype(np.int8)
    graph = canonicalize(load_graph(foreign("float32")))
    np.testing.assert_array_equal(enter(graph, before(graph, frames)), frames)
    graph = canonicalize(load_graph(foreign("uint8")))
    reached = enter(graph, before(graph, frames))
    np.testing.assert_array_equal(enter(graph, before(graph, reached)), reached)
    assert len(np.unique(reached)) == round(255 * 0.013 / 0.02) + 1


@pytest.mark.parametrize(("inner", "outer"), [("int8", "uint8"), ("uint8", "int8")])
def test_bytes_that_scaling_takes_out_of_int32_are_refused(inner: str, outer: str) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4), 1.0, 0, inner)
    result = b.operator("QUANTIZE", [source], b.activation((1, 4), 1e-9, 0, outer))
    graph = load_graph(b.finish([source], [result]))
    with pytest.raises(UnsupportedError, match="scale is too small"):
        canonicalize(graph)


TWO_MODELS = r"""
#include <stdio.h>
#include "first.h"
#include "second.h"

static uint8_t one[FIRST_ARENA_BYTES] __attribute__((aligned(16)));
static uint8_t other[SECOND_ARENA_BYTES] __attribute__((aligned(16)));

static int passes(nanou_t *net, const nanou_model_t *model, void *arena, size_t size_bytes) {
    return nanou_init(net, model, arena, size_bytes) == NANOU_OK && nanou_golden_input(net) == NANOU_OK &&
           nanou_invoke(net) == NANOU_OK && nanou_output_crc32(net) == model->golden_crc32;
}

int main(void) {
    nanou_t a, b;
    const int both = passes(&a, &first, one, sizeof one) && passes(&b, &second, other, sizeof other);
    printf("%s %s\n", a.model->name, b.model->name);
    return both ? 0 : 1;
}
"""


def test_two_models_in_one_program(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """Of the same network twice, whose layers have the same names: nothing external meets."""
    compiler = require_tool("gcc", "clang")
    sources, includes = [], []
    for name in ("first", "second"):
        write_project(render_aot(compile_model(QuantizedModel(name, counter()))), tmp_path / name)
        sources += sorted((tmp_path / name / "src").glob("*.c"))
        includes.append(f"-I{tmp_path / name / 'include'}")
    (tmp_path / "main.c").write_text(TWO_MODELS)
    program = tmp_path / "program"
    subprocess.run([compiler, *STRICT, *includes, tmp_path / "main.c", *sources, "-o", program], check=True)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "first second\n"


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("Nano-U v2.1", "nano_u_v2_1"),
        ("96x96", "m_96x96"),
        ("float", "m_float"),
        ("memcpy", "m_memcpy"),
        ("nanou", "m_nanou"),
        ("NANOU_INIT", "m_nanou_init"),
        ("_x", "m__x"),
    ],
)
def test_identifiers(name: str, identifier: str) -> None:
    assert model_identifier(name) == identifier


def test_no_name_meets_what_the_generated_file_declares(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """A model called as something in its own source."""
    compiler = require_tool("gcc", "clang")
    for name in ("run", "inputs", "schedule", "trace", "ring_row", "layer_00_conv_2d", "state_0", "uint8_t", "prepare"):
        files = render_aot(compile_model(QuantizedModel(name, counter()))).files
        folder = tmp_path / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        sources = list((folder / "src").glob("*.c"))
        subprocess.run(
            [compiler, *STRICT, "-fsyntax-only", f"-I{folder / 'include'}", *sources], check=True, cwd=folder
        )


# ---- What outputs mean -----------------------------------------------------------------------------------------

CLASSIFY = r"""
#include <stdio.h>
#include "sample_classify.h"

int main(void) {
    int8_t output[SAMPLE_CLASSES];
    while (fread(output, 1, sizeof output, stdin) == sizeof output) {
        uint32_t top[3];
        const uint32_t found = sample_top_classes(output, top, 3);
        printf("%u %u %u %u %u\n", (unsigned)sample_best_class(output), (unsigned)found, (unsigned)top[0],
               (unsigned)top[1], (unsigned)top[2]);
    }
    return 0;
}
"""
GRID = r"""
#include <stdio.h>
#include "sample_grid.h"

int main(void) {
    static sample_grid_t grid;
    static sample_object_t objects[64];
    int8_t output[SAMPLE_GRID_HEIGHT * SAMPLE_GRID_WIDTH * SAMPLE_CLASSES];
    while (fread(output, 1, sizeof output, stdin) == sizeof output) {
        const uint32_t found = sample_objects(&grid, output, objects, 64);
        for (uint32_t i = 0; i < found; i++) {
            printf("%u:%u:%d:%u:%u ", (unsigned)objects[i].class_index, (unsigned)objects[i].cells,
                   (int)objects[i].best_q, (unsigned)objects[i].x_256ths, (unsigned)objects[i].y_256ths);
        }
        printf("\n");
    }
    return 0;
}
"""


def answers(source: str, model: QuantizedModel, outputs: Int8Array, folder: Path, compiler: str) -> list[str]:
    """Lines that a program prints about outputs, by the headers of the model's library."""
    write_project(render_aot(compile_model(model)), folder / "library")
    (folder / "main.c").write_text(source)
    command = [compiler, *STRICT, *SANITIZE, f"-I{folder / 'library' / 'include'}", folder / "main.c"]
    subprocess.run([*command, "-o", folder / "program"], check=True)
    done = subprocess.run([folder / "program"], input=outputs.tobytes(), capture_output=True, check=True)
    return done.stdout.decode().splitlines()


def deciding(shape: tuple[int, ...], stated: OutputContract) -> QuantizedModel:
    """A model that ends in probabilities."""
    b = ModelBuilder()
    source = b.activation(shape, 0.1, 0)
    flatbuffer = b.finish([source], [b.operator("SOFTMAX", [source], b.activation(shape, 1 / 256, -128), Beta=1.0)])
    return QuantizedModel("sample", flatbuffer, Contract(outputs=(stated,)))


CLASSIFIER = ((1, 7), OutputContract("classify", "probabilities", classes=tuple("abcdefg")))
DETECTOR = ((1, 5, 6, 3), OutputContract("grid", "probabilities", 0.5, ("nothing", "cup", "lamp")))


def test_classes_are_ranked(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    model = deciding(*CLASSIFIER)
    outputs = np.random.default_rng(0).integers(-3, 3, (200, 7)).astype(np.int8)  # with many that are equal
    for line, values in zip(answers(CLASSIFY, model, outputs, tmp_path, require_tool("gcc")), outputs, strict=True):
        best, found, *top = map(int, line.split())
        ranked = sorted(range(7), key=lambda i: (-int(values[i]), i))
        assert (best, found, top) == (ranked[0], 3, ranked[:3])


def test_cells_that_touch_are_one_object(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    model = deciding(*DETECTOR)
    cells = np.zeros((1, 5, 6), int)
    cells[0, 0, 0] = cells[0, 1, 1] = 1  # by a corner
    cells[0, 1, 2] = 2  # beside it, of another class
    cells[0, 4, 5] = 1
    outputs = np.full((1, 5, 6, 3), -120, np.int8)
    np.put_along_axis(outputs, cells[..., None], np.int8(40), axis=-1)
    outputs[0, 3, 3] = [-100, -20, -90]  # highest, and below the threshold
    outputs[0, 1, 1, 1] = 90
    (line,) = answers(GRID, model, outputs, tmp_path, require_tool("gcc"))
    assert line.split() == ["1:2:90:42:51", "2:1:40:106:76", "1:1:40:234:230"]


def test_builtin_ref_is_a_second_opinion(require_tool: Callable[..., str]) -> None:
    """Its FULLY_CONNECTED rounds once and TFLM's twice: devices run TFLM's, so the C that equals it passes."""
    require_tool("gcc", "clang")
    rng = np.random.default_rng(8)
    b = ModelBuilder()
    source = b.activation((1, 64), 0.05, 3)
    weights = b.constant(rng.integers(-127, 128, (48, 64)).astype(np.int8), [0.011])
    bias = b.constant(rng.integers(-900, 900, 48).astype(np.int32), [0.05 * 0.011])
    out = b.operator("FULLY_CONNECTED", [source, weights, bias], b.activation((1, 48), 0.023, -7))
    report = verify(QuantizedModel("sample", b.finish([source], [out])), [(find_board("host"), 40)])
    status = {executor.name: executor.status for executor in report.executors}
    assert report.passed
    assert status.pop("BUILTIN_REF") in ("apart", "absent")
    assert set(status.values()) == {"equal"}


def test_channels_with_their_own_mean(require_tool: Callable[..., str]) -> None:
    """One table a channel, in Python and in the library's camera."""
    require_tool("gcc", "clang")
    picture = Preprocessing(12, 16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    b = ModelBuilder()
    source = b.activation((1, 12, 16, 3), 0.0187, -14)
    weights = np.random.default_rng(2).integers(-90, 90, (1, 3, 3, 3)).astype(np.int8)
    logits = b.convolution(source, weights, [0.01], None, scale=0.05, zero_point=4)
    model = QuantizedModel("sample", b.finish([source], [logits]), segmentation(picture))
    assert "sample_input_lookup[3][256]" in render_aot(compile_model(model)).files["src/sample_input.c"]
    report = verify(model, [(find_board("host"), 16)])
    assert report.passed, report
    assert {"application host", "aot host"} <= {executor.name for executor in report.executors}


@pytest.mark.parametrize(("dtype", "zero_point"), [("int16", 0), ("uint8", 200), ("float32", 0)])
def test_the_interpreter_is_handed_other_types(dtype: str, zero_point: int) -> None:
    """Of models that do not compile; every case is one that the file can be given."""
    b = ModelBuilder()
    quantization = ([], []) if dtype == "float32" else ([0.01], [zero_point])
    source, output = (b._tensor(shape, dtype, *quantization, 0, None) for shape in ((1, 3, 4), (1, 12)))
    b.operator("RESHAPE", [source, b.constant(np.array([1, 12], np.int32))], output)
    model = QuantizedModel("sample", b.finish([source], [output]))
    report = verify(model, [(find_board("host"), 16)], runtime="tflm")
    assert report.passed, report
