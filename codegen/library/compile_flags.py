"""State the flags of a generated library. Imports nothing, for builders that have no other packages."""

OPTIMIZE = "-O2"
# gcc's first scheduling pass would move reads of the kernels to where their sums no longer fit into registers.
NO_SCHEDULING = "-fno-schedule-insns"
# nanou_model.c says what it costs where it is compiled without.
FLAGS_SET = "-DNANOU_FLAGS_SET"
