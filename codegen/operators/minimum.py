"""MINIMUM, int8, of two operands of one quantization. Reference: .../reference/maximum_minimum.h."""

from __future__ import annotations

import numpy as np

from codegen.operators.maximum import by_extremum

OPERATOR = by_extremum(np.minimum)
