"""Objectives: what `ram`, `time` and limits make of a U-Net with skip connections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codegen.compile import Compilation
from codegen.errors import BudgetError
from codegen.plan.rematerialize import forks, recompute
from codegen.plan.schedule import demand_order, lifetimes, live_bytes
from codegen.program.objective import Objective
from tests.exactness import assert_exact, compile_bytes
from tests.separable_u_net import separable_u_net


def again(compiled: Compilation) -> list[int]:
    return [stage.operator_index for stage in compiled.program.stages if stage.is_again]


@pytest.fixture(scope="module")
def balanced() -> Compilation:
    return compile_bytes(separable_u_net())


@pytest.fixture(scope="module")
def least() -> Compilation:
    return compile_bytes(separable_u_net(), objective=Objective("ram"))


def test_ram_computes_skip_connections_again(balanced: Compilation, least: Compilation) -> None:
    assert again(balanced) == []
    assert again(least)[:4] == [0, 1, 2, 3]  # the first stage of the encoder
    assert least.plan.working_bytes < 0.9 * balanced.plan.working_bytes
    assert least.plan.macs == balanced.plan.macs
    assert least.program.recomputed_macs > 0
    assert least.program.table_bytes == balanced.program.table_bytes


@pytest.mark.usefixtures("compiler")
def test_what_is_computed_again_is_exact(tmp_path: Path) -> None:
    compiled = assert_exact(separable_u_net(), tmp_path, objective=Objective("ram"))
    assert again(compiled)


def test_a_limit_takes_only_what_it_must(balanced: Compilation, least: Compilation) -> None:
    most, fewest = balanced.plan.working_bytes, least.plan.working_bytes
    roomy = compile_bytes(separable_u_net(), objective=Objective(max_ram_bytes=most))
    assert again(roomy) == []
    tight = compile_bytes(separable_u_net(), objective=Objective(max_ram_bytes=most - 1))
    assert again(tight)
    assert fewest <= tight.plan.working_bytes < most


def test_a_limit_that_cannot_be_met_names_the_least(least: Compilation) -> None:
    fewest = least.plan.working_bytes
    with pytest.raises(BudgetError, match=f"needs {fewest:,} bytes of working memory, more than {fewest - 1:,}"):
        compile_bytes(separable_u_net(), objective=Objective(max_ram_bytes=fewest - 1))


def test_no_plan_is_below_the_bytes_that_hold_wanted_rows(balanced: Compilation) -> None:
    program = balanced.program
    order = demand_order(program, balanced.plan.cuts)
    assert order == balanced.plan.schedule
    bound = live_bytes(program, lifetimes(program, order)).max()
    assert bound <= balanced.plan.working_bytes <= 1.3 * bound


def test_the_proof_fails_for_rows_in_the_wrong_place(balanced: Compilation) -> None:
    places = list(balanced.plan.placements)
    moved = next(i for i, place in enumerate(places) if place.region == "work" and place.offset_bytes > 0)
    places[moved] = replace(places[moved], offset_bytes=places[moved].offset_bytes - 1)
    assert balanced.with_plan(replace(balanced.plan, placements=tuple(places))).proofs.memory.failures


def test_every_fork_can_be_computed_again(balanced: Compilation) -> None:
    found = forks(balanced.program)
    assert len(found) == 2
    program = recompute(balanced.program, found)
    made: set[int] = {program.input}
    for stage in program.stages:
        assert made.issuperset(stage.inputs), "stages stand in an order in which they could run"
        assert stage.output not in made
        made.add(stage.output)
