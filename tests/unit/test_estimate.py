"""Instruction estimates: every kernel has counts, what was never measured is refused, and errors are as stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import compile_model
from codegen.errors import UnsupportedError
from codegen.estimate import REST, estimate, estimate_with, instruction_costs
from codegen.features import stage_counts
from codegen.program.target import find_target
from codegen.tflite.files import load_model
from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.build.library import open_model
from nanou_deploy.measure.calibrate import Layer, Measured, error_percent, fit
from nanou_deploy.measure.cost_corpus import calibration_models, checked_models
from nanou_train.networks.random_weights import stand_in_model
from nanou_train.networks.structure import Block, Level, Structure

SMALL = Structure(
    "nano_u",
    (24, 32, 3),
    (Level((Block(3), Block(6, 5)), (2, 2), (Block(5),), True), Level((Block(9),), (3, 2), (Block(7),))),
    (Block(10), Block(6)),
)


def test_every_emulated_board_is_calibrated_and_close() -> None:
    costs = instruction_costs()
    assert set(costs) == {board.name for board in BOARDS.values() if board.kind == "qemu"}
    for board in costs.values():
        assert board.checked >= 10
        assert board.checked_max_percent <= 5, board.board
        assert REST in board.coefficients


def test_counts_of_a_layer_by_hand() -> None:
    program = compile_model(stand_in_model(SMALL), find_target("rv32imc")).program
    first, second = program.stages[:2]  # depthwise 3x3 of 24x32x3, pointwise to 3
    counts = stage_counts(program, first)
    assert counts["channels"] == 24 * 3
    assert counts["columns 3"] == 24 * 3 * 10  # 1 + 10 * 3 + 1 columns
    assert counts["columns 1"] == 24 * 3
    assert counts["row"] == 24
    counts = stage_counts(program, second)
    assert counts["pixels 4x3"] == 24 * 8
    assert counts["inputs 4x3x1"] == 24 * 8 * 3


def test_figures_that_were_measured_of_the_default_model() -> None:
    compiled = compile_model(open_model(None), find_target("rv32imc"))
    found = estimate(compiled.program, "rv32-qemu")
    assert abs(found.instructions / 7_258_920 - 1) < 0.02  # README: counted exactly
    assert found.instructions == found.rest + sum(stage.instructions for stage in found.stages)
    assert all(stage.instructions > 0 for stage in found.stages)


@pytest.mark.parametrize(("board", "counted"), [("rv32-qemu", 7_266_925), ("cortex-m4-qemu", 4_105_289)])
def test_figures_that_were_measured_of_the_public_model(
    board: str, counted: int, shared_model: Callable[[str], Path]
) -> None:
    model = load_model(shared_model("nano_u_botanic.tflite"))
    compiled = compile_model(model, find_target(find_board(board).isa))
    assert abs(estimate(compiled.program, board).instructions / counted - 1) < 0.02


def test_what_was_never_measured_is_refused_by_name() -> None:
    program = compile_model(stand_in_model(SMALL), find_target("rv32imc", "fast")).program
    with pytest.raises(UnsupportedError, match=r"layer 0: a depthwise_conv_2d_3x3 kernel with .* was never measured"):
        estimate(program, "rv32-qemu")
    with pytest.raises(UnsupportedError, match="not estimated for host") as caught:
        estimate(program, "host")
    assert "rv32-qemu" in caught.value.hint


def test_the_fit_finds_what_made_the_numbers() -> None:
    rng = np.random.default_rng(3)
    truth = {"row": 40.0, "loop": 7.5}

    def network(name: str) -> Measured:
        layers = []
        for _ in range(6):
            counts = {"row": float(rng.integers(1, 50)), "loop": float(rng.integers(0, 5000))}
            layers.append(Layer("kernel", counts, round(sum(truth[k] * n for k, n in counts.items()))))
        return Measured(name, tuple(layers))

    networks = [network(str(i)) for i in range(8)]
    coefficients = fit(networks[:-1])
    assert coefficients["kernel"]["loop"] == pytest.approx(7.5, rel=0.01)
    assert abs(error_percent(networks[-1], coefficients)) < 1
    unknown = Measured("other", (Layer("another", {"row": 5.0}, 100),))
    assert error_percent(unknown, coefficients) == -100  # nothing is known of it: no error to hide


def test_a_negative_sum_is_no_estimate() -> None:
    program = compile_model(stand_in_model(SMALL), find_target("rv32imc")).program
    minus = {
        kernel: dict.fromkeys(names, -1.0) for kernel, names in instruction_costs()["rv32-qemu"].coefficients.items()
    }
    assert all(stage.instructions == 0 for stage in estimate_with(program, "rv32-qemu", minus).stages)


def test_the_corpus_is_the_same_every_time_and_kept_apart() -> None:
    first, again = calibration_models(), calibration_models()
    assert [m.sha256 for m in first] == [m.sha256 for m in again]
    assert not {m.sha256 for m in first} & {m.sha256 for m in checked_models()}
