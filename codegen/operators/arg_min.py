"""ARG_MIN of int8: the index of the smallest value, the first of equal ones. Reference: .../reference/arg_min_max.h."""

from __future__ import annotations

from codegen.operators.arg_max import by_arg_extremum

OPERATOR = by_arg_extremum(is_maximum=False)
