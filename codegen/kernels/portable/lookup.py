"""Look up any function of one byte in a table of 256, for QUANTIZE, LOGISTIC and all that map each value by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.elementwise import Elementwise
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class Lookup(Kernel):
    size: int  # bytes of a row

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        """Every byte has a place in a table of 256."""
        return Accesses((self.size,), self.size, required=(0,), tables={"lookup": 256})


def applies(layer: Elementwise, target: Target) -> bool:
    return len(layer.inputs) == 1


def build(layer: Elementwise, target: Target) -> Built:
    """Build the kernel of a function of one byte."""
    after = layer.output
    stored = (np.array(layer.exact) + after.bias).astype(np.uint8 if after.bias else np.int8)
    tables = (Table("lookup", stored, 16),)
    kernel = Lookup(
        inputs=layer.inputs, output=after, shape_name=f"{layer.size}", tables=parameters_of(tables), size=layer.size
    )
    return Built(kernel, tables)
