"""MAX_POOL_2D against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize(
    ("window", "stride", "options"),
    [
        pytest.param((2, 2), (2, 2), {}, id="2x2"),
        pytest.param((3, 2), (3, 2), {}, id="3x2"),
        pytest.param((3, 3), (1, 1), {"padding": "same"}, id="overlapping-same"),
        pytest.param((2, 2), (2, 2), {"padding": "same"}, id="overhanging"),
        pytest.param((1, 1), (3, 2), {}, id="subsampling"),
        pytest.param((2, 2), (2, 2), {"activation": "relu6"}, id="relu6"),
    ],
)
def test_exact(window: tuple[int, int], stride: tuple[int, int], options: dict[str, Any], tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 9, 7, 5), 0.05, -20)
    assert_exact(b.finish([source], [b.max_pool(source, window, stride, **options)]), tmp_path)


def test_requantizing_pool_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, 0)
    out = b.max_pool(source, (2, 2), (2, 2))
    b.tensors[out]["zeros"] = [1]
    with pytest.raises(UnsupportedError, match="changes quantization"):
        compile_bytes(b.finish([source], [out]))
