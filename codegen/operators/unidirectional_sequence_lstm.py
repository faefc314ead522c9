"""UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with int16 cells, as Keras has it: no peepholes, projection or normalization.

Reference: tensorflow/lite/micro/kernels/lstm_eval.{h,cc} and lstm_eval_common.cc. The variable tensors are states of
the graph here (canonicalize.recurrent): the operator gives for each step the hidden values, which are its output, and
the cells' bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic import sixteen_bits
from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.fused_activation import read_activation
from codegen.kernels.portable import lstm
from codegen.kernels.portable.lstm import Gate, Scaling
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage

_INPUTS = 24
_STATES = (18, 19)  # hidden values, cells
_ABSENT = (9, 10, 11, 16, 17, 20, 21, 22, 23)
_FORGET, _INPUT, _CELL, _OUTPUT = 2, 1, 3, 4  # positions of weights; recurrent ones are 4 further on, biases 11
_GATE_SCALE, _NONLINEAR_SCALE = 2.0**-12, 2.0**-15
_INT16 = -32768, 32767
_CELL_POWERS = range(-20, 3)  # log2 of the cells' scale, for which tanh's arithmetic stays in 32 bits


def read_options(table: Any) -> Mapping[str, float | bool | str]:
    options = tflite.UnidirectionalSequenceLSTMOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "activation": read_activation(options.FusedActivationFunction()),
        "cell_clip": options.CellClip(),
        "time_major": bool(options.TimeMajor()),
    }


def verify(graph: Graph, operator: Operator) -> None:
    if len(operator.inputs) != _INPUTS or any(operator.inputs[i] >= 0 for i in _ABSENT):
        raise UnsupportedError(
            f"{operator.label} has peepholes, a projection or layer normalization",
            hint="only what keras.layers.LSTM computes is supported",
        )
    source, hidden, cells = (graph.tensor(operator.inputs[i]) for i in (0, *_STATES))
    if len(source.shape) != 3 or source.shape[1 if operator.options["time_major"] else 0] != 1:
        raise UnsupportedError(f"{operator.label} takes {source.shape}, not one sequence")
    units, bytes_per_cell = hidden.size_bytes, 2
    if cells.size_bytes != bytes_per_cell * units or hidden.dtype != "int8" or source.dtype != "int8":
        raise UnsupportedError(f"{operator.label} is not int8 with cells of int16")
    _verify_weights(graph, operator, source.shape[2], units)
    _verify_output(graph, operator, source, units)
    cell_power = math.log2(cells.scale)
    if cell_power not in _CELL_POWERS or cells.zero_point:
        raise UnsupportedError(f"{operator.label} has cells of scale {cells.scale:g}, no power of two of a usual size")
    clip = float(operator.options["cell_clip"])
    if operator.options["activation"] != "tanh" or not math.isfinite(clip):
        raise UnsupportedError(f"{operator.label} has activation {operator.options['activation']}, cell clip {clip:g}")
    if hidden.scale < 2.0**-30:
        raise UnsupportedError(f"{operator.label} has hidden values of scale {hidden.scale:g}")
    for gate in _gates(graph, operator):
        _verify_sums(operator, gate)


def _verify_weights(graph: Graph, operator: Operator, inputs: int, units: int) -> None:
    for position in range(1, 9):
        weights, shape = graph.tensor(operator.inputs[position]), (units, inputs if position < 5 else units)
        if weights.data is None or weights.dtype != "int8" or weights.shape != shape:
            raise UnsupportedError(f"{operator.label} has weights '{weights.name}', no constant int8 {shape}")
        if len(weights.scales) != 1 or weights.zero_point:
            raise UnsupportedError(f"{operator.label} has weights '{weights.name}' of several scales or a zero point")
    for position in range(12, 16):
        bias = graph.tensor(operator.inputs[position]) if operator.inputs[position] >= 0 else None
        if bias is None or bias.data is None or bias.dtype != "int32" or bias.shape != (units,):
            raise UnsupportedError(f"{operator.label} has no constant bias of {units} int32 for each gate")


def _verify_output(graph: Graph, operator: Operator, source: Tensor, units: int) -> None:
    hidden, output = graph.tensor(operator.inputs[_STATES[0]]), graph.tensor(operator.outputs[0])
    steps = source.shape[0] * source.shape[1]
    shape = (*source.shape[:2], units) if hidden.is_variable else (1, steps, 4 * units)
    if output.shape != shape or output.dtype != "int8":
        raise ModelError(f"{operator.label} states output {output.shape}, its operands give {shape}")


def _verify_sums(operator: Operator, gate: Gate) -> None:
    for weights, bias, scaling in (
        (gate.weights, gate.bias, gate.scaling),
        (gate.recurrent, 0 * gate.bias, gate.recurrent_scaling),
    ):
        largest = int((np.abs(weights).sum(1) * 255 + np.abs(bias)).max())
        if largest << max(scaling.shift, 0) > INT32_MAX:
            raise UnsupportedError(
                f"{operator.label}: sums of {largest} at scale 2^{scaling.shift} can leave 32 bits",
                hint="TFLM would overflow; calibrate with real data",
            )


def _gates(graph: Graph, operator: Operator) -> tuple[Gate, ...]:
    """In the order in which the kernel needs them: forget, input, cell, output."""
    source, hidden = graph.tensor(operator.inputs[0]), graph.tensor(operator.inputs[_STATES[0]])
    gates = []
    for position in (_FORGET, _INPUT, _CELL, _OUTPUT):
        weights, recurrent = graph.tensor(operator.inputs[position]), graph.tensor(operator.inputs[position + 4])
        scales = source.scale * weights.scale / _GATE_SCALE, hidden.scale * recurrent.scale / _GATE_SCALE
        new, kept, bias = (_values(graph, operator.inputs[i]) for i in (position, position + 4, position + 11))
        gates.append(Gate(new, kept, bias, *(Scaling(*quantize_multiplier(scale)) for scale in scales)))
    return tuple(gates)


def _values(graph: Graph, index: int) -> IntArray:
    data = graph.tensor(index).data
    assert data is not None  # verified
    return data.astype(np.int64)


@dataclass(frozen=True)
class _Cells:
    """How cells are updated: scalings of forgetting and of the input, the limit, tanh's shift; of the output."""

    forget: Scaling
    input: Scaling
    limit: int
    tanh_shift: int
    output: Scaling


def _cells(graph: Graph, operator: Operator) -> _Cells:
    hidden, cells = (graph.tensor(operator.inputs[i]) for i in _STATES)
    clip = float(operator.options["cell_clip"])
    limit = int(min(max(clip / cells.scale, -32768.0), 32767.0)) if clip > 0 else -_INT16[0]
    return _Cells(
        Scaling(*quantize_multiplier(_NONLINEAR_SCALE)),
        Scaling(*quantize_multiplier(_NONLINEAR_SCALE**2 / cells.scale)),
        limit,
        12 + round(math.log2(cells.scale)),
        Scaling(*quantize_multiplier(_NONLINEAR_SCALE**2 / hidden.scale)),
    )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    source, hidden = graph.tensor(operator.inputs[0]), graph.tensor(operator.inputs[_STATES[0]])
    gates, how = _gates(graph, operator), _cells(graph, operator)
    values, (state, cell_bytes) = inputs[0].reshape(-1, source.shape[2]) - source.zero_point, inputs[-2:]
    cells = cell_bytes.reshape(-1).astype(np.int8).view("<i2").astype(np.int64)
    state, outputs = state.reshape(-1), []
    for value in values:
        sums = [_gate(gate, value, state - hidden.zero_point) for gate in gates]
        forget, take, give = (sixteen_bits.logistic(sums[number]) for number in (0, 1, 3))
        taken = _scaled(how.input, take * sixteen_bits.tanh(sums[2], 0))
        cells = np.clip(_scaled(how.forget, forget * cells) + taken, *_INT16)
        cells = np.clip(cells, -how.limit, how.limit)
        product = sixteen_bits.tanh(cells, how.tanh_shift) * give
        scaled = multiply_by_quantized_multiplier(product, how.output.multiplier, how.output.shift)
        state = np.clip(scaled + hidden.zero_point, -128, 127)
        outputs.append(np.concatenate([state, state, cells.astype("<i2").view(np.int8).astype(np.int64)]))
    return np.stack(outputs)[None]


def _gate(gate: Gate, value: IntArray, state: IntArray) -> IntArray:
    new = _scaled(gate.scaling, gate.weights @ value + gate.bias)
    sums: IntArray = np.clip(new + _scaled(gate.recurrent_scaling, gate.recurrent @ state), *_INT16)
    return sums


def _scaled(scaling: Scaling, values: IntArray) -> IntArray:
    scaled: IntArray = np.clip(multiply_by_quantized_multiplier(values, scaling.multiplier, scaling.shift), *_INT16)
    return scaled


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, hidden, cells = (graph.tensor(operator.inputs[i]) for i in (0, *_STATES))
    made = operator.outputs[0]
    inputs = source.index, hidden.index, cells.index, made  # of which each row is made from the one before
    steps, gates, how = source.shape[0] * source.shape[1], _gates(graph, operator), _cells(graph, operator)
    units, depth = gates[0].weights.shape
    built = lstm.build(
        gates,
        zero_points=(source.zero_point, hidden.zero_point),
        forget=how.forget,
        input=how.input,
        limit=how.limit,
        tanh_shift=how.tanh_shift,
        output=how.output,
        storage=tuple(context.storage[index] for index in inputs),
    )
    return Stage(
        operator.index,
        operator.stem,
        f"{steps} steps of {depth} values, {units} units",
        inputs,
        made,
        tuple(RowRead(number, tuple(rows)) for number, rows in enumerate(_reads(steps))),
        *built,
        macs=steps * 4 * units * (depth + units),
        part=operator.part,
    )


def _reads(steps: int) -> tuple[Iterable[int], ...]:
    """Rows of new values, of both states, which are one row each, and of the step before."""
    return range(steps), [0] * steps, [0] * steps, range(-1, steps - 1)


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=9, state_inputs=_STATES)
