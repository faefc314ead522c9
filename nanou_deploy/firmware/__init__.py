"""Make firmware in one order, for every door."""
