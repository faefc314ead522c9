"""What is proven of a compiled model, and that each kind of proof can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codegen.arithmetic.certify import certify
from codegen.compile import Compilation
from codegen.kernels.portable.conv_2d_pointwise import Conv2DPointwise
from codegen.library.render import render_aot
from codegen.library.stack_estimate import estimate_stack
from codegen.program.program import Stage
from codegen.proof.proof import prove
from nanou_deploy.boards.boards import find_board
from nanou_deploy.cli.proofs import show_proofs
from tests.generated import MODELS, compiled


def with_stage(model: Compilation, index: int, stage: Stage) -> Compilation:
    """Exchange one stage, and prove the result."""
    stages = (*model.program.stages[:index], stage, *model.program.stages[index + 1 :])
    program = replace(model.program, stages=stages)
    return replace(model, program=program, proofs=prove(program, model.plan))


RV32 = find_board("rv32-qemu")


def find(model: Compilation, name: str) -> tuple[int, Stage]:
    return next((i, s) for i, s in enumerate(model.program.stages) if s.kernel.name == name)


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("isa", ["rv32", "arm"])
def test_everything_is_proven(which: str, isa: str) -> None:
    model = compiled(which, isa)
    proofs = model.proofs
    assert proofs.failures == ()
    assert len(proofs.layers) == len(model.program.stages)
    assert proofs.memory.steps == len(model.plan.schedule)
    assert proofs.memory.rows_read > proofs.calls
    for layer, stage in zip(proofs.layers, model.program.stages, strict=True):
        output = next(array for array in layer.arrays if array.name == "output")
        assert output.touched == output.available == model.program.rows[stage.output].size_bytes
        assert bool(layer.channels) == (stage.accumulator is not None)


def test_all_forms_of_requantization_occur() -> None:
    channels = [c for which in MODELS for layer in compiled(which).proofs.layers for c in layer.channels]
    assert {c.form for c in channels} == {"one multiply"}
    # No model here needs the other form: the same channels, had the search found nothing.
    stages = [stage for which in MODELS for stage in compiled(which).program.stages]
    given = [channel for stage in stages for table in stage.tables for channel in table.channels]
    exact = [certify(replace(channel, found=None)) for channel in given if channel.sums.low < channel.sums.high]
    assert {(c.form, c.failure) for c in exact} == {("two roundings", "")}
    assert any(c.sign_correction for c in channels)
    assert all(c.compared >= 2 * c.thresholds for c in channels)


def test_a_wrong_multiplier_is_found() -> None:
    model = compiled("default")
    index, stage = find(model, "conv_2d_pointwise")
    first, *others = stage.tables[0].channels
    assert first.found is not None
    wrong = replace(
        first, found=replace(first.found, multiplier=first.found.multiplier + first.found.multiplier // 256)
    )
    table = replace(stage.tables[0], channels=(wrong, *others))
    failures = with_stage(model, index, replace(stage, tables=(table, *stage.tables[1:]))).proofs.failures
    assert len(failures) == 1
    assert f"{stage.label}: channel 0: differs from TFLite's result at the sum" in failures[0]


def test_missing_certificates_are_found() -> None:
    model = compiled("default")
    index, stage = find(model, "depthwise_conv_2d_3x3")
    tables = tuple(replace(table, channels=()) for table in stage.tables)
    failures = with_stage(model, index, replace(stage, tables=tables)).proofs.failures
    assert failures == (f"{stage.label}: its tables carry no certificates",)


def test_a_loop_that_is_too_long_is_found() -> None:
    model = compiled("default")
    index, stage = find(model, "conv_2d_pointwise")
    kernel = stage.kernel
    assert isinstance(kernel, Conv2DPointwise)
    (blocks,) = kernel.pixel_blocks
    kernel = replace(kernel, pixel_blocks=(replace(blocks, count=blocks.count + 1),))
    failures = " ".join(with_stage(model, index, replace(stage, kernel=kernel)).proofs.failures)
    assert f"{stage.label}: rows[0]: touches" in failures
    assert f"{stage.label}: output: touches" in failures


def test_a_table_that_is_too_short_is_found() -> None:
    model = compiled("default")
    index, stage = find(model, "depthwise_conv_2d_3x3_upsampled")
    weights = replace(stage.tables[1], values=stage.tables[1].values[:-1])
    failures = with_stage(model, index, replace(stage, tables=(stage.tables[0], weights))).proofs.failures
    assert len(failures) == 1
    assert "weights: touches" in failures[0]


def test_a_ring_in_the_wrong_place_is_found() -> None:
    model = compiled("default")
    _, stage = find(model, "conv_2d_pointwise")
    source, sink = model.plan.placement(stage.inputs[0]), model.plan.placement(stage.output)
    moved = replace(sink, offset_bytes=source.offset_bytes)
    placements = tuple(moved if place == sink else place for place in model.plan.placements)
    broken = model.with_plan(replace(model.plan, placements=placements))
    assert "overwritten" in " ".join(broken.proofs.failures)
    with pytest.raises(AssertionError, match="overwritten"):
        render_aot(broken)


def test_the_command_fails_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled("default")
    index, stage = find(model, "depthwise_conv_2d_3x3")
    tables = tuple(replace(table, channels=()) for table in stage.tables)
    assert show_proofs(with_stage(model, index, replace(stage, tables=tables)), RV32, as_json=False) == 1
    shown = capsys.readouterr()
    assert "NOT proven" in shown.out
    assert "no int32 overflows" not in shown.out
    assert f"not proven: {stage.label}" in shown.err
    assert "defect of nanou-deploy" in shown.err


def test_the_header_states_what_is_proven_and_what_is_estimated() -> None:
    model = compiled("default")
    header = render_aot(model).files["include/nano_u_offroad.h"]
    assert f"{model.proofs.one_multiply} of {model.proofs.channels} channels by one multiply" in header
    proven, estimated = header.split("/* ---- Stack ", 1)
    assert "/* ---- Proofs" in proven
    assert "_STACK_" not in proven
    assert "Estimated, not proven" in estimated
    for estimate in estimate_stack(model.program):
        assert f"if {estimate.condition} /* {estimate.processor} */" in estimated
        assert f"#define NANO_U_OFFROAD_STACK_ESTIMATE_BYTES {estimate.size_bytes}u" in estimated
    assert "#else" not in estimated  # nothing is stated for processors on which nothing was measured
