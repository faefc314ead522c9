"""SQUEEZE: the same bytes without axes of size 1."""

from __future__ import annotations

from codegen.operators.movement import by_movement, reshaped

OPERATOR = by_movement(reshaped)
