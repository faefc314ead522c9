"""Read TFLite metadata: what a model's maker stated of its tensors, in a flatbuffer within the flatbuffer.

Format: https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
Names of classes lie in a zip archive that is appended to the file. Metadata that cannot be read count as absent.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import tflite
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

from codegen.graph.infer_contract import FileMetadata, TensorMetadata
from codegen.graph.model import MAX_CLASS_NAME, MAX_LABELS

_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_LABELS_BYTES = 1 << 18
_MOST = 64  # of each vector
_IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 2, 1, 2  # of their unions and enumeration


def read_metadata(flatbuffer: bytes) -> FileMetadata:
    """Read what the file's metadata state, as far as they can be read. The file has been loaded before."""
    try:
        return _read(flatbuffer)
    except (struct.error, IndexError, ValueError, TypeError, UnicodeDecodeError, OverflowError):
        return FileMetadata()


def _read(flatbuffer: bytes) -> FileMetadata:
    model = tflite.Model.GetRootAs(flatbuffer, 0)
    stated = (model.Metadata(i) for i in range(min(model.MetadataLength(), _MOST)))
    data = next((model.Buffers(m.Buffer()).DataAsNumpy().tobytes() for m in stated if m.Name() == _NAME), b"")
    if data[4:8] != _IDENTIFIER:
        return FileMetadata()
    root = Table(data, encode.Get(packer.uoffset, data, 0))
    for subgraph in _tables(root, 3):
        inputs, outputs = (
            {i: _tensor(tensor, flatbuffer) for i, tensor in enumerate(_tables(subgraph, at))} for at in (2, 3)
        )
        return FileMetadata(inputs, outputs)
    return FileMetadata()


def _tensor(tensor: Table, flatbuffer: bytes) -> TensorMetadata:
    content = _table(tensor, 3)
    is_image = content is not None and _number(content, 0) == _IMAGE_PROPERTIES
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in _tables(tensor, 4):
        if _number(unit, 0) == _NORMALIZATION and (options := _table(unit, 1)) is not None:
            mean, std = _floats(options, 0), _floats(options, 1)
    labels: tuple[str, ...] = ()
    for file in _tables(tensor, 6):
        if _number(file, 2) == _AXIS_LABELS and not labels:
            labels = _labels(flatbuffer, _text(file, 0))
    complete = len(mean) == len(std) > 0
    return TensorMetadata(is_image, mean if complete else (), std if complete else (), labels)


def _labels(flatbuffer: bytes, name: str) -> tuple[str, ...]:
    """Names of classes, a line each, of a text in the archive behind the model."""
    try:
        with zipfile.ZipFile(io.BytesIO(flatbuffer)) as archive, archive.open(name) as file:
            lines = file.read(_LABELS_BYTES).decode("utf-8").splitlines()
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, OSError):
        return ()
    fits = all(line.isprintable() and 0 < len(line) <= MAX_CLASS_NAME for line in lines)
    return tuple(lines) if fits and len(set(lines)) == len(lines) <= MAX_LABELS else ()


# ---- Fields, by their number in the schema -----------------------------------------------------------------------


def _offset(table: Table, field: int) -> int:
    return int(table.Offset(4 + 2 * field))


def _table(table: Table, field: int) -> Table | None:
    at = _offset(table, field)
    return Table(table.Bytes, table.Indirect(table.Pos + at)) if at else None


def _tables(table: Table, field: int) -> Iterator[Table]:
    if at := _offset(table, field):
        start = table.Vector(at)
        for i in range(min(table.VectorLen(at), _MOST)):
            yield Table(table.Bytes, table.Indirect(start + 4 * i))


def _number(table: Table, field: int) -> int:
    at = _offset(table, field)
    return int(table.Get(number_types.Uint8Flags, table.Pos + at)) if at else 0


def _floats(table: Table, field: int) -> tuple[float, ...]:
    at = _offset(table, field)
    if not at:
        return ()
    start, count = table.Vector(at), min(table.VectorLen(at), _MOST)
    return tuple(float(table.Get(number_types.Float32Flags, start + 4 * i)) for i in range(count))


def _text(table: Table, field: int) -> str:
    at = _offset(table, field)
    value: Any = table.String(table.Pos + at) if at else b""
    return bytes(value).decode("utf-8")
