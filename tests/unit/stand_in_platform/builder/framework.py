"""A framework needs a script; this one has nothing to add."""
