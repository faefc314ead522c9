"""CAST of a model's last values to float32 or int32: numbers of the bytes, whatever their scale."""

from __future__ import annotations

import pytest

from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify


def cast(b: ModelBuilder, source: int, dtype: str) -> int:
    output = b._tensor(b.tensors[source]["shape"], dtype, [], [], 0, None)
    return b.operator("CAST", [source], output, None)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 7)])
def test_exact(dtype: str, shape: tuple[int, ...]) -> None:
    b = ModelBuilder()
    source = b.activation(shape, 0.1, -128)
    value = b.quantize(source, 0.07, 11)
    report = verify(
        QuantizedModel("sample", b.finish([source], [cast(b, value, dtype), value])), [(find_board("host"), 8)]
    )
    assert report.passed, report
