"""The Python examples in docs/TRAINING.md run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "TRAINING.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(number: int, capsys: pytest.CaptureFixture[str], require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    exec(compile(EXAMPLES[number], f"{DOCUMENT.name} example {number + 1}", "exec"), {})
    assert capsys.readouterr().out
