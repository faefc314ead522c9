"""Describe the conversions at a model's border for the template: float32 or uint8 of the file, int8 of the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from codegen.canonicalize.border import convert, is_bytes
from codegen.graph.graph import Graph, Tensor
from codegen.library.c_text import c_type, float_literal, number_lines


@dataclass(frozen=True)
class Conversion:
    """Describes one input or output: `count` values of `c_type`. `lines` are of `table`, by the source's byte."""

    kind: Literal["input", "output"]
    position: int
    c_type: str
    count: int
    size_bytes: int
    conversion: Literal["none", "quantize", "dequantize", "flip", "table", "widen"]
    scale: str
    zero_point: int
    table: str
    lines: tuple[str, ...]


def border_conversions(graph: Graph) -> tuple[Conversion, ...]:
    """List what is converted, inputs first; nothing where the file takes and gives what the library does."""
    if graph.file_inputs == graph.inputs and graph.file_outputs == graph.outputs:
        return ()
    entries = zip(graph.file_inputs, graph.inputs, strict=True)
    exits = zip(graph.outputs, graph.file_outputs, strict=True)
    return (
        *(_conversion("input", i, graph.tensor(a), graph.tensor(b)) for i, (a, b) in enumerate(entries)),
        *(
            _conversion("output", i, graph.tensor(a), graph.tensor(b), graph.conversions.get(b))
            for i, (a, b) in enumerate(exits)
        ),
    )


def _conversion(
    kind: Literal["input", "output"],
    position: int,
    source: Tensor,
    target: Tensor,
    table: npt.NDArray[Any] | None = None,
) -> Conversion:
    """`table`: what each byte, -128 .. 127, becomes where that is no plain conversion."""
    outer, inner = (source, target) if kind == "input" else (target, source)
    what: Literal["none", "quantize", "dequantize", "flip", "table", "widen"] = "none"
    lines: Sequence[str] = ()
    if is_bytes(source, target):
        what = "none"
    elif table is not None:
        what, lines = "table", _table_lines(table[np.arange(256).astype(np.uint8).view(np.int8).astype(np.int64) + 128])
    elif outer.dtype == "float32":
        what = "quantize" if kind == "input" else "dequantize"
    elif outer.dtype == "int32":
        what = "widen"
    elif outer.dtype == "uint8":
        every_byte = np.arange(256).astype(np.uint8).view(source.dtype)
        values = convert(every_byte, source, target)
        is_flip = bool((values.view(np.uint8) == every_byte.view(np.uint8) ^ 0x80).all())
        what = "flip" if is_flip else "table"
        lines = () if is_flip else number_lines(values, 16)
    return Conversion(
        kind,
        position,
        c_type(outer.dtype),
        outer.size_bytes // np.dtype(outer.dtype).itemsize,
        outer.size_bytes,
        what,
        float_literal(inner.scale),
        inner.zero_point,
        f"{kind}_{position}_bytes",
        tuple(lines),
    )


def _table_lines(values: npt.NDArray[Any]) -> Sequence[str]:
    if values.dtype != np.float32:
        return number_lines(values.astype(np.int64), 8)
    literals = [float_literal(value) for value in values]
    return [", ".join(literals[i : i + 4]) for i in range(0, len(literals), 4)]
