"""CONCATENATION against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("count", [2, 3])
def test_exact(axis: int, count: int, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 4, 3), 0.05, -20)
    pooled = b.max_pool(source, (3, 3), (1, 1), "same")
    assert_exact(b.finish([source], [b.concatenate([source, pooled, source][:count], axis)]), tmp_path)


def test_requantizing_concatenation_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, 0)
    other = b.quantize(source, 0.2, 0)
    with pytest.raises(UnsupportedError, match="differ in quantization"):
        compile_bytes(b.finish([source], [b.concatenate([source, other])]))
