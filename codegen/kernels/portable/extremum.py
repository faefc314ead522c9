"""Take the larger or the smaller of two values, element by element, with broadcasting; all are stored alike."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.kernels.broadcast import BroadcastKernel, Operand, constants_of, lay_out
from codegen.program.kernel import Built, Storage, parameters_of


@dataclass(frozen=True, kw_only=True)
class Extremum(BroadcastKernel):
    is_maximum: bool


def build(operands: tuple[Operand, Operand], stored: Storage, *, is_maximum: bool) -> Built:
    tables, fields = constants_of(operands, stored.bias), lay_out(operands, stored.bias)
    fields["shape_name"] = f"{'max' if is_maximum else 'min'}_{fields['shape_name']}"
    kernel = Extremum(**fields, output=stored, tables=parameters_of(tables), is_maximum=is_maximum)
    return Built(kernel, tables)
