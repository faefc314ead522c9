"""Describe layers that compute each value from those at the same place of one or two rows, to choose a kernel by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.scaled_sum import ScaledSum
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import INT8
from codegen.program.kernel import Layout, Storage

Exact = ScaledSum | tuple[int, ...]


def every_result(exact: Exact) -> tuple[tuple[IntArray, ...], IntArray]:
    """Return all values of each input, to be broadcast, and the results."""
    if isinstance(exact, ScaledSum):
        first, second = INT8[:, None], INT8
        return (first, second), exact.apply(first, second)
    return (INT8,), np.array(exact, np.int64)


@dataclass(frozen=True)
class Elementwise:
    """`exact`: TFLite's own sum of two values, or the int8 results for -128, -127, ..., 127.

    `ratios`: what a step of each of two values adds to the result. `size`: bytes of a row.
    """

    exact: Exact
    size: int
    inputs: tuple[Storage, ...]
    output: Storage
    ratios: tuple[float, ...] = ()

    @property
    def layout(self) -> Layout:
        stored = (*self.inputs, self.output)
        return next((storage.layout for storage in stored if storage.layout != "interleaved"), "interleaved")
