"""Test modules for operators, or for a few that are alike, and for what operators share.

A module may give more than tests: `random_layer(rng, b, values)` adds an operator to a random graph
(tests.property.random_graphs), and `sample()` is a model in which every kernel of its operators occurs
(tests.golden.test_accesses).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


def contributions(name: str) -> Mapping[str, Any]:
    """What the test modules of this folder call `name`, by module."""
    found = (module.stem for module in sorted(Path(__file__).parent.glob("test_*.py")))
    modules = {stem.removeprefix("test_"): import_module(f"tests.ops.{stem}") for stem in found}
    return {stem: getattr(module, name) for stem, module in modules.items() if hasattr(module, name)}
