"""Bring a file's graph into the form that the compiler works on: int8 from end to end, and no bookkeeping.

What converters write around a network is taken away, exactly: conversions at the borders, arithmetic on shapes,
variables as operators, upsampling as reshape and tile. Each rule is one function, Graph -> Graph.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.canonicalize.conditions import conditions_as_bytes, repeat_selected
from codegen.canonicalize.equivalent import (
    copy_shared_outputs,
    drop_unused,
    give_constants,
    repeat_mixed_operands,
    split_wide_padding,
)
from codegen.canonicalize.fold_constants import fold_constants
from codegen.canonicalize.read_through_reshapes import read_through_reshapes
from codegen.canonicalize.recognize_upsampling import recognize_upsampling
from codegen.canonicalize.recurrent import resolve_own_variables
from codegen.canonicalize.resolve_variables import resolve_variables, without_variables
from codegen.canonicalize.tabulate import tabulate
from codegen.canonicalize.take_off_borders import indices_as_bytes, take_off_borders, take_off_casts
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, Operator

_SHAPED = frozenset({"int8", "uint8", "float32"})  # others count, or say where, until they are folded


def canonicalize(graph: Graph, refused: list[UnsupportedError] | None = None) -> Graph:
    """Rewrite a graph as the same function of int8 inputs.

    Raises ModelError where operators lack operands, UnsupportedError where a file's variables cannot be resolved;
    with a list for `refused`, that is told there, and what is read of variables counts as inputs.
    """
    _check_operands(graph)
    try:
        resolve_variables(graph)
    except UnsupportedError as error:
        if refused is None:
            raise
        refused.append(error)
        graph = without_variables(graph)
    try:
        graph = resolve_own_variables(graph)
    except UnsupportedError as error:
        if refused is None:
            raise
        refused.append(error)
    rules = (
        *(_give_numbers_a_shape, fold_constants, resolve_variables),
        *(take_off_casts, take_off_borders, conditions_as_bytes),
        *(tabulate, repeat_selected, indices_as_bytes),
        *(recognize_upsampling, split_wide_padding, repeat_mixed_operands, give_constants, copy_shared_outputs),
        *(read_through_reshapes, drop_unused),
    )
    for rule in rules:
        graph = rule(graph)
    return graph


def check_inputs(operator: Operator, needed: int) -> None:
    """Raise ModelError unless the first `needed` inputs are there."""
    if len(operator.inputs) < needed or min(operator.inputs[:needed], default=0) < 0:
        raise ModelError(f"{operator.label} has inputs {operator.inputs}, of which it needs {needed}")


def _check_operands(graph: Graph) -> None:
    """Every operator has what the rules below look at; `verify` checks the rest."""
    needed = {"var_handle": 0, "call_once": 0, "assign_variable": 2}
    for operator in graph.operators:
        count = needed.get(operator.stem, 1)
        check_inputs(operator, count)
        if not operator.outputs and operator.stem not in ("assign_variable", "call_once"):
            raise ModelError(f"{operator.label} has no output")


def _give_numbers_a_shape(graph: Graph) -> Graph:
    """One number without a shape is a vector of one: the same bytes."""
    tensors = (
        replace(t, shape=(1,)) if not t.shape and t.data is None and t.dtype in _SHAPED else t for t in graph.tensors
    )
    return replace(graph, tensors=tuple(tensors))
