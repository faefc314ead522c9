"""One test module for each operator, test_OPERATOR.py, and some for what operators share.

A module of an operator may give more than tests: `random_layer(rng, b, values)` adds the operator to a random graph
(tests.property.random_graphs), and `sample()` is a model in which every kernel of the operator occurs
(tests.golden.test_accesses).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from codegen.operators import IMPLEMENTATIONS


def contributions(name: str) -> Mapping[str, Any]:
    """What the operators' test modules call `name`, by operator."""
    modules = {operator: import_module(f"tests.ops.test_{operator}") for operator in IMPLEMENTATIONS}
    return {operator: getattr(module, name) for operator, module in modules.items() if hasattr(module, name)}
