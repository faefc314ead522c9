"""Golden tests compile C, so they need a compiler."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def compiler(require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang", "cc")
