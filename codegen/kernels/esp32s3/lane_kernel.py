"""Define what convolutions have in common whose 16 lanes are channels of one pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import LaneDigits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Present, Table, parameters_of, vectors_of


@dataclass(frozen=True, kw_only=True)
class LaneKernel(VectorKernel):
    """`in_pitch` and `out_pitch`: bytes from one pixel to the next. `zero`: the stored one."""

    window: RowWindow
    out_channels: int
    in_pitch: int
    out_pitch: int
    has_absent_rows: bool
    zero: int
    digits: LaneDigits

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "lane_sum"

    @property
    def padding_value(self) -> int | None:
        return self.zero if self.has_absent_rows else None

    @property
    def groups(self) -> int:
        """Of 16 output channels."""
        return vectors_of(self.out_channels)

    @property
    def row_bytes(self) -> int:
        """Of a row, as far as it is read."""
        return (self.window.last_column + 1) * self.in_pitch

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses(
            rows=tuple(self.row_bytes if there else 0 for there in present),
            required=() if self.has_absent_rows else tuple(range(len(present))),
            output=self.window.out_width * self.out_pitch,
            tables={"digits": self.digits.table_bytes(self.out_channels)},
            padding=0 if all(present) else self.row_bytes,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"])


def fields_of(layer: Convolution, digits: LaneDigits, table: Table) -> dict[str, Any]:
    """State a layer's fields of a LaneKernel, less its shape_name."""
    return {
        "inputs": (layer.input,),
        "output": layer.output,
        "tables": parameters_of((table,)),
        "window": layer.window.row,
        "out_channels": layer.out_channels,
        "in_pitch": layer.input.pixel_bytes(layer.in_channels),
        "out_pitch": layer.output.pixel_bytes(layer.out_channels),
        "has_absent_rows": layer.window.has_absent_rows,
        "zero": layer.stored_zero,
        "digits": digits,
    }
