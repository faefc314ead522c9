"""The interpreters: that they agree, refuse what is wrong without crashing, and keep quiet."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tflite

from codegen.errors import CodegenError
from codegen.tflite import interpreter_process
from codegen.tflite import interpreters as reference
from codegen.tflite.interpreters import (
    ExecutorError,
    measure_tflm_arena_bytes,
    run_builtin_ref,
    run_tflm,
    trace_builtin_ref,
)
from codegen.tflite.load import load_graph

REPOSITORY = Path(__file__).resolve().parents[2]
FindModel = Callable[[str], Path]
Require = Callable[[str], None]


@pytest.fixture(scope="module")
def model() -> bytes:
    return (REPOSITORY / "models" / "nano_u_terrain.tflite").read_bytes()


def cases(flatbuffer: bytes, random_count: int = 3) -> np.ndarray:
    """Random frames, then all lowest, all highest, all zero, one pixel on."""
    shape = load_graph(flatbuffer).input.shape[1:]
    frames = np.random.default_rng(7).integers(-128, 128, (random_count + 4, *shape), dtype=np.int8)
    for frame, value in zip(frames[random_count:], (-128, 127, 0, -128), strict=True):
        frame[:] = value
    frames[-1, shape[0] // 2, shape[1] // 2] = 127
    return frames


def test_interpreters_agree(model: bytes, require_module: Require) -> None:
    require_module("tensorflow")
    inputs = cases(model)
    outputs = run_tflm(model, inputs)
    assert outputs.shape == (len(inputs), *load_graph(model).output.shape[1:])
    assert len(np.unique(outputs)) > 10  # a constant would agree with anything
    np.testing.assert_array_equal(run_builtin_ref(model, inputs), outputs)


def test_all_of_tensorflow_is_imported_where_its_interpreter_alone_cannot_be(require_module: Require) -> None:
    require_module("tensorflow")
    is_there: list[bool] = []

    def import_module(name: str) -> str:
        is_there.append("tensorflow" in sys.modules)
        if len(is_there) == 1:
            raise ImportError(name)
        return name

    with mock.patch.dict(sys.modules), mock.patch.object(importlib, "import_module", import_module):
        assert interpreter_process.tflite_alone() == "tensorflow.lite.python.interpreter"
    assert is_there == [True, False]


def test_interpreters_agree_on_a_public_model(shared_model: FindModel, require_module: Require) -> None:
    require_module("tensorflow")
    public = shared_model("nano_u_botanic.tflite").read_bytes()  # its shape_signature has batch -1
    np.testing.assert_array_equal(run_builtin_ref(public, cases(public)), run_tflm(public, cases(public)))


def test_cases_do_not_influence_each_other(model: bytes) -> None:
    inputs = cases(model)
    np.testing.assert_array_equal(run_tflm(model, inputs[::-1])[::-1], run_tflm(model, inputs))


def test_trace_holds_every_activation(model: bytes, require_module: Require) -> None:
    require_module("tensorflow")
    graph, inputs = load_graph(model), cases(model)
    trace = trace_builtin_ref(model, inputs[0])
    activations = {*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)}
    assert set(trace) == activations
    assert all(trace[index].shape == graph.tensor(index).shape for index in activations)
    np.testing.assert_array_equal(trace[graph.inputs[0]][0], inputs[0])
    np.testing.assert_array_equal(trace[graph.outputs[0]], run_builtin_ref(model, inputs[:1]))
    again = trace_builtin_ref(model, inputs[1:2])
    assert any((again[index] != trace[index]).any() for index in activations)


def test_arena_is_what_tflm_needs_and_no_more(model: bytes) -> None:
    arena_bytes = measure_tflm_arena_bytes(model)
    assert arena_bytes % 16 == 0
    assert reference._runs_in(model, arena_bytes)
    assert not reference._runs_in(model, arena_bytes - 16)


@pytest.mark.parametrize(("name", "arena_bytes"), [("nano_u_botanic", 87_776), ("person_detect", 85_264)])
def test_arena_of_public_models(shared_model: FindModel, name: str, arena_bytes: int) -> None:
    assert measure_tflm_arena_bytes(shared_model(f"{name}.tflite").read_bytes()) == arena_bytes


def test_planning_may_need_more_than_running(shared_model: FindModel) -> None:
    """A tiny model: TFLM reports 1,504 bytes after inference, but did not plan it in fewer than 1,936."""
    tiny = shared_model("hello_world_int8.tflite").read_bytes()
    assert reference._reported_arena_bytes(tiny, load_graph(tiny)) == 1_504
    assert not reference._runs_in(tiny, 1_504)
    assert 1_936 <= measure_tflm_arena_bytes(tiny) < 2_500


def test_damaged_files_are_refused_in_python(model: bytes) -> None:
    inputs = cases(model)
    truncated = [model[: len(model) * part // 8] for part in range(8)]
    renamed = [model[:4] + b"TFL2" + model[8:], b"garbage", b"\0\0\0\0TFL3" + bytes(64)]
    for damaged in (*truncated, *renamed):
        with pytest.raises(CodegenError):
            run_tflm(damaged, inputs)


def test_inputs_of_another_shape_or_type(model: bytes) -> None:
    inputs = cases(model)
    with pytest.raises(ExecutorError, match=r"int8 \(7, 60, 80, 2\).*takes int8 \(N, 60, 80, 3\)"):
        run_tflm(model, inputs[..., :2])
    with pytest.raises(ExecutorError, match="inputs are float32") as error:
        run_tflm(model, inputs.astype(np.float32))
    assert "lookup_table" in error.value.hint


def test_operators_that_tflm_lacks_are_named(model: bytes) -> None:
    with pytest.raises(ExecutorError, match="RELU_N1_TO_1"):
        measure_tflm_arena_bytes(_with_operator(model, tflite.BuiltinOperator.RELU_N1_TO_1))


def _with_operator(flatbuffer: bytes, builtin: int) -> bytes:
    """The same file with its first operator code replaced, in both fields that hold it."""
    code = tflite.Model.GetRootAs(flatbuffer, 0).OperatorCodes(0)
    patched = bytearray(flatbuffer)
    for slot, size in ((4, 1), (10, 4)):  # deprecated_builtin_code: int8; builtin_code: int32
        if offset := code._tab.Offset(slot):
            position = code._tab.Pos + offset
            patched[position : position + size] = builtin.to_bytes(size, "little")
    return bytes(patched)


def test_nothing_is_printed(model: bytes, require_module: Require, capfd: pytest.CaptureFixture[str]) -> None:
    require_module("tensorflow")
    measure_tflm_arena_bytes.cache_clear()
    run_tflm(model, cases(model))
    run_builtin_ref(model, cases(model)[:1])
    with pytest.raises(ExecutorError):  # TFLM says on stderr which operator it lacks
        run_tflm(_with_operator(model, tflite.BuiltinOperator.RELU_N1_TO_1), cases(model))
    assert capfd.readouterr() == ("", "")
    os.write(1, b"heard\n")
    os.write(2, b"heard too\n")
    assert capfd.readouterr() == ("heard\n", "heard too\n")


def test_without_tensorflow(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "builtin_ref_available", lambda: False)
    with pytest.raises(ExecutorError, match="TensorFlow") as error:
        run_builtin_ref(model, cases(model))
    assert "nanou-deploy[train]" in error.value.hint
    assert run_tflm(model, cases(model)[:1]).size


def test_importing_the_module_imports_no_interpreter() -> None:
    check = "import sys, codegen.tflite.interpreters as r; r.builtin_ref_available(); "
    check += "sys.exit(any(name.split('.')[0] in ('tensorflow', 'tflite_micro') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, check=False).returncode == 0


def test_a_crash_is_one_error_and_the_next_model_runs(model: bytes) -> None:
    inputs = cases(model)[:1]
    expected = run_tflm(model, inputs)
    with reference._process("tflm") as process:
        process._child.send_signal(signal.SIGSEGV)
        process._child.wait()
    with pytest.raises(ExecutorError, match=r"TensorFlow Lite Micro crashed on this file \(SIGSEGV\)"):
        run_tflm(model, inputs)
    np.testing.assert_array_equal(run_tflm(model, inputs), expected)


def test_one_child_serves_many_models(model: bytes) -> None:
    run_tflm(model, cases(model)[:1])
    with reference._process("tflm") as process:
        first = process._child.pid
    measure_tflm_arena_bytes.cache_clear()
    measure_tflm_arena_bytes(model)
    run_tflm(model, cases(model)[:1])
    with reference._process("tflm") as process:
        assert process._child.pid == first


def test_what_does_not_end_is_ended(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    run_tflm(model, cases(model)[:1])
    monkeypatch.setattr(reference, "_ANSWER_S", 0.2)
    with reference._process("tflm") as process:
        process._child.send_signal(signal.SIGSTOP)
    with pytest.raises(ExecutorError, match=r"did not finish within 0\.2 s"):
        run_tflm(model, cases(model)[:1])
    monkeypatch.undo()
    assert run_tflm(model, cases(model)[:1]).size
