"""Networks that nobody here made, where they lie beside the checkout: compiled C and TFLM give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exactness import assert_exact

SMALL = ("bakenn_mnist_common", "micro_speech_quantized", "seeed_mnv2_cifar10", "tinymaix_mnist_resnet")


@pytest.mark.parametrize("name", SMALL)
def test_exact(
    name: str, shared_model: Callable[[str], Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """BUILTIN_REF is not asked: its FULLY_CONNECTED rounds once, TFLM's twice."""
    require_tool("gcc", "clang", "cc")
    assert_exact(shared_model(f"{name}.tflite").read_bytes(), tmp_path, builtin_ref=False)
