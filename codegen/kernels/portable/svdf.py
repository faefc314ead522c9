"""Filter a sequence of vectors: each filter takes the newest vector's feature and weighs the last few in time.

What a call gives is the outputs and the new state, so that nothing is kept inside.

Source: EvalIntegerSvdfReference in tensorflow/lite/micro/kernels/svdf_common.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Svdf(Kernel):
    depth: int
    units: int
    rank: int  # filters of a unit
    memory: int  # steps that a filter remembers
    element_bytes: int  # of the state
    feature: tuple[int, int]  # multiplier and shift
    result: tuple[int, int]
    zero_point: int  # of the outputs

    @property
    def requires(self) -> tuple[str, ...]:
        return ("requantize",)

    @property
    def element(self) -> str:
        return f"int{8 * self.element_bytes}_t"

    @property
    def limit(self) -> int:
        return 1 << (8 * self.element_bytes - 1)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        filters = self.units * self.rank
        state_bytes = filters * self.memory * self.element_bytes
        sizes = {
            "features": filters * self.depth,
            "times": filters * self.memory,
            "bias": self.units,
            "starts": filters,
        }
        return Accesses((self.depth, state_bytes), self.units + state_bytes, required=(0, 1), tables=sizes)


def build(
    features: IntArray,
    times: IntArray,
    bias: IntArray,
    *,
    dtype: str,
    scalings: tuple[tuple[int, int], tuple[int, int]],
    zero_points: tuple[int, int],
    storage: tuple[Storage, ...],
) -> Built:
    """`zero_points`: of input and output; `storage`: of input, state and what is made."""
    zero = zero_points[0] + storage[0].bias
    tables = (
        Table("features", features.reshape(-1).astype(np.int8), 20),
        Table("starts", (-zero * features.sum(1)).astype(np.int32), 10),
        Table("times", times.reshape(-1).astype(dtype), 12),
        Table("bias", bias.astype(np.int32), 10),
    )
    (filters, depth), units = features.shape, len(bias)
    kernel = Svdf(
        inputs=storage[:-1],
        output=storage[-1],
        shape_name=f"{depth}_to_{units}_by_{filters}x{times.shape[1]}",
        tables=parameters_of(tables),
        depth=depth,
        units=units,
        rank=filters // units,
        memory=times.shape[1],
        element_bytes=np.dtype(dtype).itemsize,
        feature=scalings[0],
        result=scalings[1],
        zero_point=zero_points[1],
    )
    return Built(kernel, tables)
