"""PAD against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize(
    "paddings",
    [
        pytest.param([(0, 0), (1, 1), (1, 1), (0, 0)], id="frame"),
        pytest.param([(0, 0), (0, 2), (3, 0), (0, 0)], id="one-sided"),
        pytest.param([(0, 0), (0, 0), (0, 0), (1, 2)], id="channels"),
        pytest.param([(0, 0), (0, 0), (0, 0), (0, 0)], id="nothing"),
    ],
)
def test_exact(paddings: list[tuple[int, int]], tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 5, 4, 3), 0.05, 17)
    assert_exact(b.finish([source], [b.pad(source, paddings)]), tmp_path)
