"""Check that a .tflite file is well formed: every offset in it leads to a table, vector or string inside the file.

Interpreters in C++ follow offsets without looking, and generated Python classes nearly so. Here are the tables of
TFLite's schema with the sizes of their fields; those of operators' options only as far as they hold vectors or text.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tflite

from codegen.errors import ModelError

MAX_TABLES = 50_000
_DAMAGED = "convert or copy it again"


@dataclass(frozen=True)
class Vector:
    """Of scalars of so many bytes, or of tables."""

    of: int | str


# Bytes of a scalar, a vector, text, or the name of a table; None is a field that no runtime here reads.
Field = int | Vector | str | None
_NUMBERS = Vector(4)

_TABLES: Mapping[str, Sequence[Field]] = {
    "Model": (4, Vector("OperatorCode"), Vector("SubGraph"), "text", Vector("Buffer"), _NUMBERS, Vector("Metadata"),
              Vector("SignatureDef")),
    "OperatorCode": (1, "text", 4, 4),
    "SubGraph": (Vector("Tensor"), _NUMBERS, _NUMBERS, Vector("Operator"), "text", 4),
    "Tensor": (_NUMBERS, 1, 4, "text", "Quantization", 1, "Sparsity", _NUMBERS, 1, Vector("Variant")),
    "Quantization": (_NUMBERS, _NUMBERS, _NUMBERS, Vector(8), 1, "Options", 4),
    "Operator": (4, _NUMBERS, _NUMBERS, 1, "Options", Vector(1), 1, Vector(1), _NUMBERS, 8, 8, 1, "Options", 4),
    "Buffer": (Vector(1), 8, 8),
    "Metadata": ("text", 4),
    "SignatureDef": (Vector("TensorMap"), Vector("TensorMap"), "text", None, 4),
    "TensorMap": ("text", 4),
    "Sparsity": (),
    "Variant": (_NUMBERS, 1, 1),
    "Options": (),
    # Options of operators, by the number of their type.
    f"Options {tflite.BuiltinOptions.ReshapeOptions}": (_NUMBERS,),
    f"Options {tflite.BuiltinOptions.SqueezeOptions}": (_NUMBERS,),
    f"Options {tflite.BuiltinOptions.VarHandleOptions}": ("text", "text"),
}  # fmt: skip
_OPERATOR_OPTIONS_TYPE = 3  # the field before the options
_WIDEST_SCALAR_BYTES = 8


def check_flatbuffer(data: bytes) -> None:
    """Raise ModelError unless `data` is a TFLite file whose tables, vectors and strings lie within it."""
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise ModelError("not a TFLite file", hint=_DAMAGED)
    _Walk(data).table(_Walk(data).number("<I", 0), "Model")


@dataclass
class _Walk:
    data: bytes
    seen: set[tuple[int, str]] = field(default_factory=set)

    def number(self, form: str, position: int) -> int:
        size = struct.calcsize(form)
        self._require(0 <= position <= len(self.data) - size and position % size == 0, position)
        return int(struct.unpack_from(form, self.data, position)[0])

    def table(self, position: int, kind: str) -> None:
        if (position, kind) in self.seen:  # shared tables are legal, and checked once
            return
        self.seen.add((position, kind))
        if len(self.seen) > MAX_TABLES:
            raise ModelError(f"the TFLite file has more than {MAX_TABLES:,} tables", hint=_DAMAGED)
        vtable = position - self.number("<i", position)
        vtable_bytes, table_bytes = self.number("<H", vtable), self.number("<H", vtable + 2)
        self._require(vtable_bytes >= 4 and vtable_bytes % 2 == 0 and vtable + vtable_bytes <= len(self.data), vtable)
        self._require(table_bytes >= 4 and position + table_bytes <= len(self.data), position)
        offsets = struct.unpack_from(f"<{vtable_bytes // 2 - 2}H", self.data, vtable + 4)
        fields = _TABLES[kind]
        for number, offset in enumerate(offsets):
            if offset and number < len(fields):
                self._field(position, offset, table_bytes, self._kind(kind, number, position, offsets))
            elif offset:  # a scalar of options
                self._require(4 <= offset < table_bytes, position)
                self._require(position + offset + _WIDEST_SCALAR_BYTES <= len(self.data), position)

    def _kind(self, kind: str, number: int, position: int, offsets: Sequence[int]) -> Field:
        found = _TABLES[kind][number]
        if kind == "Operator" and number == _OPERATOR_OPTIONS_TYPE + 1 and offsets[_OPERATOR_OPTIONS_TYPE]:
            named = f"Options {self.data[position + offsets[_OPERATOR_OPTIONS_TYPE]]}"
            return named if named in _TABLES else found
        return found

    def _field(self, position: int, offset: int, table_bytes: int, kind: Field) -> None:
        size = kind if isinstance(kind, int) else 4
        place = position + offset
        self._require(4 <= offset <= table_bytes - size and place % size == 0, place)
        if kind is None or isinstance(kind, int):
            return
        target = place + self.number("<I", place)
        if isinstance(kind, Vector):
            self._vector(target, kind)
        elif kind == "text":
            end = target + 4 + self._length(target, 1)
            self._require(end < len(self.data) and self.data[end] == 0, target)
        else:
            self.table(target, kind)

    def _vector(self, position: int, vector: Vector) -> None:
        if isinstance(vector.of, int):
            self._length(position, vector.of)
            return
        for i in range(self._length(position, 4)):
            place = position + 4 + 4 * i
            self.table(place + self.number("<I", place), vector.of)

    def _length(self, position: int, element_bytes: int) -> int:
        count = self.number("<I", position)
        first = position + 4
        self._require(first + count * element_bytes <= len(self.data) and first % element_bytes == 0, position)
        return count

    def _require(self, condition: bool, position: int) -> None:
        if not condition:
            raise ModelError(
                f"the TFLite file is damaged or truncated (at byte {position} of {len(self.data)})", hint=_DAMAGED
            )
