"""NOT_EQUAL, int8, as GREATER. Reference: .../reference/comparisons.h."""

from __future__ import annotations

import numpy as np

from codegen.operators.greater import by_comparison

OPERATOR = by_comparison(np.not_equal, "!=")
