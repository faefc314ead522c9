"""One check for every operator: oracle, TFLM, BUILTIN_REF and compiled C give the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen import reference
from codegen.compile import Compiled, compile_model
from codegen.model import Preprocessing, QuantizedModel
from codegen.oracle import run_oracle
from codegen.render import render_aot
from codegen.target import REGISTERS_32, Target
from codegen.write import write_project
from nanou_deploy.boards import find_board
from nanou_deploy.build import build_harness
from nanou_deploy.emulate import run_harness


def compile_bytes(flatbuffer: bytes, name: str = "case", target: Target = REGISTERS_32) -> Compiled:
    """A model whose preprocessing does not matter."""
    return compile_model(QuantizedModel(name, flatbuffer, Preprocessing(1, 1)), target)


def frames_for(compiled: Compiled, count: int = 4, seed: int = 0) -> npt.NDArray[np.int8]:
    """Both extremes, then noise."""
    shape = compiled.graph.input.shape[1:]
    noise = np.random.default_rng(seed).integers(-128, 128, (count, *shape)).astype(np.int8)
    noise[0], noise[1] = -128, 127
    return noise


def assert_interpreters_agree(
    compiled: Compiled, frames: npt.NDArray[np.int8], *, builtin_ref: bool = True
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
    sanitize: bool = True,
    builtin_ref: bool = True,
    target: Target = REGISTERS_32,
) -> Compiled:
    """All of the above, and the C compiled for `target`, on `board`."""
    compiled = compile_bytes(flatbuffer, target=target)
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames, builtin_ref=builtin_ref)
    library = folder / "nanou_model"
    write_project(render_aot(compiled), library)
    build = build_harness(library, find_board(board), folder / "work", sanitize=sanitize)
    outputs = run_harness(build, frames.reshape(len(frames), -1)).outputs
    np.testing.assert_array_equal(outputs.reshape(truth.shape), truth, f"compiled C on {board} and TFLM")
    return compiled
