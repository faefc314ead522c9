"""Networks that nobody here made, where they lie beside the checkout: compiled C and TFLM give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from codegen.graph.model import QuantizedModel
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_exact

SMALL = ("bakenn_mnist_common", "micro_speech_quantized", "seeed_mnv2_cifar10", "tinymaix_mnist_resnet")


@pytest.mark.parametrize("name", SMALL)
def test_exact(
    name: str, shared_model: Callable[[str], Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """BUILTIN_REF is not asked: its FULLY_CONNECTED rounds once, TFLM's twice."""
    require_tool("gcc", "clang", "cc")
    assert_exact(shared_model(f"{name}.tflite").read_bytes(), tmp_path, builtin_ref=False)


STATEFUL = ("esphome_okay_nabu_v2", "tflm_mnist_lstm_int8")


@pytest.mark.parametrize("name", [*STATEFUL, "silabs_rock_paper_scissors", "tflm_simple_add"])
def test_state_borders_and_several_inputs(
    name: str, shared_model: Callable[[str], Path], require_tool: Callable[..., str]
) -> None:
    """A wake word over 50 consecutive inferences, float32 in and out, two inputs."""
    require_tool("gcc", "clang", "cc")
    report = verify(QuantizedModel(name, shared_model(f"{name}.tflite").read_bytes()), [(find_board("host"), 50)])
    assert report.passed, report
