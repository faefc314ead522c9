"""The Python examples in the documents run as they stand there, but for those that need what is not here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = [
    (path.name, number, code)
    for path in sorted(DOCUMENTS.glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL), start=1)
    if not re.search(r"\btorch\b|/dev/tty", code)  # PyTorch, a device
]


def test_there_are_examples() -> None:
    assert {name for name, _, _ in EXAMPLES} >= {"API.md", "TRAINING.md"}


@pytest.mark.parametrize(("name", "number", "code"), EXAMPLES, ids=[f"{name} {number}" for name, number, _ in EXAMPLES])
def test_example_runs(
    name: str,
    number: int,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    require_module: Callable[[str], None],
) -> None:
    require_module("tensorflow")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"{name} example {number}", "exec"), {})
    assert capsys.readouterr().out
