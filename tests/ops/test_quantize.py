"""QUANTIZE (int8 to int8) against every interpreter and as compiled C; all 256 inputs occur."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(0.05, -20), (0.05, 100), (0.025, -20), (0.1, 3), (0.0007, 0), (30.0, -128), (0.0501, -21)],
)
def test_exact(scale: float, zero_point: int, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 32, 32, 2), 0.05, -20)
    assert_exact(b.finish([source], [b.quantize(source, scale, zero_point)]), tmp_path)
