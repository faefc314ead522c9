"""Random small models: every interpreter agrees with the oracle, the plan proves itself, and compiled C is exact.

A program costs a second to compile, so most examples stop at the interpreters and the plan. `tests.property.soak` does
everything for as many models as one likes.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from codegen.program.objective import OPTIMIZE, Objective
from tests.exactness import assert_interpreters_agree, compile_bytes, frames_for, interpreters_differ
from tests.property import soak
from tests.property.random_graphs import random_model


@pytest.mark.parametrize("seed", range(100))
def test_interpreters_agree(seed: int) -> None:
    objective = Objective(OPTIMIZE[seed % len(OPTIMIZE)])
    compiled = compile_bytes(random_model(Random(seed)), objective=objective)  # every plan proves itself
    frames = frames_for(compiled, count=3)
    assert_interpreters_agree(compiled, frames, builtin_ref=not interpreters_differ(compiled))
    together = sum(-(-p.size_bytes // 16) * 16 for p in compiled.plan.placements if p.region == "work")
    assert compiled.plan.working_bytes <= together
    assert all(1 <= p.depth_rows <= p.rows for p in compiled.plan.placements)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("seed", range(12))
def test_compiled_c_is_exact(seed: int, tmp_path: Path) -> None:
    soak.check_model(random_model(Random(seed)), seed=seed, folder=tmp_path)


@pytest.mark.usefixtures("compiler")
def test_soak_is_counted_and_keeps_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = soak.run_soak(range(1), seed=5, jobs=1, keep=tmp_path / "kept")
    assert (tally["exact"], tally["failed"]) == (1, 0)
    assert not (tmp_path / "kept").exists()
    right = soak.assert_exact_every_way
    # One wrong byte in what C is compared with.
    monkeypatch.setattr(soak, "assert_exact_every_way", lambda m, d, f, truth, turn: right(m, d, f, truth ^ np.int8(1)))
    assert soak.run_case(0, seed=5, keep=tmp_path / "kept")["failed"] == 1
    (case,) = (tmp_path / "kept").iterdir()
    assert (case / "model.tflite").read_bytes() == random_model(Random("5/0"))
    assert len(np.load(case / "frames.npy")) == tally["frames"]
    why = (case / "why.txt").read_text()
    assert "--seed 5 --first 0 --cases 1" in why
    assert "and TFLM" in why
