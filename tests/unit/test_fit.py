"""`fit`: the best network that meets a goal, and what would be needed where none does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.library import open_model
from nanou_deploy.choose.fit import ASSUMED_CYCLES_PER_INSTRUCTION, Goal, find_fit, make_budget
from nanou_deploy.cli.fit import fit
from nanou_deploy.cli.output import fail
from nanou_deploy.device.messages import DeviceBench, DeviceInfo, TensorInfo
from nanou_deploy.errors import DeployError
from nanou_deploy.measure import timing
from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.measure.timing import InstructionTiming, load_timing, save_timing
from nanou_deploy.verify.device_check import DeviceTimes
from nanou_train.networks.cost import Cost
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search.pareto import Front, Point, write_front

BOARDS = ("esp32c3", "rp2040", "rv32-qemu")
STRUCTURE = Structure("nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(4),)),), (Block(6),))


def point(name: str, val_miou: float, instructions: int, ram_bytes: int = 5000, flash_bytes: int = 24000) -> Point:
    costs = {b: Cost(b, 1000, instructions, ram_bytes, 19200, 6000, 12000, flash_bytes - 12000) for b in BOARDS}
    return Point(name, f"points/{name}", STRUCTURE, 99, val_miou, val_miou - 0.01, None, 1000, costs, "prune", (12, 16))


FRONT = Front("front", (point("large", 0.80, 7_000_000), point("half", 0.79, 3_500_000), point("small", 0.7, 900_000)))
C3 = find_board("esp32c3")


def test_the_best_that_fits_is_chosen_and_the_next_named() -> None:
    everything = find_fit(FRONT, C3, Goal())
    assert everything.chosen is not None
    assert everything.chosen.point.name == "large"
    limited = find_fit(FRONT, C3, Goal(max_instructions=4_000_000))
    assert limited.chosen is not None
    assert limited.runner_up is not None
    assert (limited.chosen.point.name, limited.runner_up.point.name) == ("half", "small")
    assert limited.verdicts[0].violations == ("instructions 7,000,000 on esp32c3, 3,000,000 more than 4,000,000",)


def test_a_frame_rate_becomes_cycles_by_a_stated_assumption() -> None:
    found = find_fit(FRONT, C3, Goal(fps=20))
    assert found.budget.cycles == 160e6 / 20
    assert found.budget.limits.max_instructions == 8_000_000 / ASSUMED_CYCLES_PER_INSTRUCTION
    assert any("an assumption, not measured" in reason for reason in found.budget.reasons)
    assert found.chosen is not None
    assert found.chosen.point.name == "half"
    assert found.chosen.affordable_cycles_per_instruction == pytest.approx(8e6 / 3.5e6)
    assert found.chosen.ms is None
    own = make_budget(C3, Goal(fps=20, cycles_per_instruction=1.1), None)
    assert own.limits.max_instructions == int(8_000_000 / 1.1)
    assert any("--cycles-per-instruction" in reason for reason in own.reasons)


def test_milliseconds_come_from_a_timing_of_that_board_alone() -> None:
    measured = InstructionTiming("esp32c3", "ab", 7_000_000, 70_000.0, 11_200_000, "build")
    found = find_fit(FRONT, C3, Goal(fps=25), measured)
    assert found.budget.limits.max_instructions == pytest.approx(4_000_000, abs=1)
    assert found.budget.cycles is None
    assert found.chosen is not None
    assert found.chosen.ms == pytest.approx(35.0)
    with pytest.raises(DeployError, match="measured on esp32c3, not on rp2040"):
        find_fit(FRONT, find_board("rp2040"), Goal(fps=25), measured)


def test_what_would_be_needed_is_said() -> None:
    found = find_fit(FRONT, C3, Goal(max_instructions=450_000, max_ram_bytes=4096))
    assert found.chosen is None
    words = " | ".join(found.needed)
    assert "the nearest is small" in words
    assert "--max-ram 5000" in words
    assert "--max-instructions 900000" in words
    assert "0.50 times those of small" in words
    assert "nanou-deploy prune --run points/small --to 0.5" in words
    # What is proposed is enough.
    assert find_fit(FRONT, C3, Goal(max_instructions=900_000, max_ram_bytes=5000)).chosen is not None


def test_a_slower_frame_rate_that_is_proposed_is_enough() -> None:
    words = " ".join(find_fit(FRONT, C3, Goal(fps=333)).needed)
    fps = float(words.split("--fps ")[1].split()[0])
    assert 80 < fps < 90
    assert find_fit(FRONT, C3, Goal(fps=fps)).chosen is not None


def test_the_frames_have_to_fit_as_well() -> None:
    big = Front("big", (point("big", 0.8, 1000, ram_bytes=190_000),))
    (verdict,) = find_fit(big, C3, Goal()).verdicts
    assert verdict.violations == ("working RAM and frames 209,200 bytes, 4,400 more than 204,800",)


def test_least_miou_is_of_the_int8_model_where_it_was_measured() -> None:
    found = find_fit(FRONT, C3, Goal(min_miou=0.785))
    assert found.chosen is not None
    assert [bool(one.violations) for one in found.verdicts] == [False, True, True]
    unmeasured = Front("x", (replace(FRONT.points[1], int8_miou=None),))
    assert find_fit(unmeasured, C3, Goal(min_miou=0.785)).chosen is not None
    words = " ".join(find_fit(FRONT, C3, Goal(min_miou=0.9)).needed)
    assert "--min-miou 0.79" in words


@pytest.mark.parametrize(
    ("board", "goal", "said"),
    [("esp32p4", Goal(), "has no costs for esp32p4"), ("rv32-qemu", Goal(fps=20), "has no clock")],
)
def test_questions_without_an_answer(board: str, goal: Goal, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        find_fit(FRONT, find_board(board), goal)


def test_a_timing_is_read_as_it_was_written(tmp_path: Path) -> None:
    measured = InstructionTiming("esp32c3", "ab", 7_000_000, 70_000.0, 0, "build")
    save_timing(measured, tmp_path / "c3.json")
    assert load_timing(tmp_path / "c3.json") == measured
    assert measured.cycles_per_instruction is None
    assert json.loads((tmp_path / "c3.json").read_text())["us_per_instruction"] == pytest.approx(0.01)
    for damage in ("{}", "[]", '{"schema": 2}', "x"):
        (tmp_path / "bad.json").write_text(damage)
        with pytest.raises(DeployError, match="no timing"):
            load_timing(tmp_path / "bad.json")
    with pytest.raises(DeployError, match="cannot read"):
        load_timing(tmp_path / "absent.json")
    with pytest.raises(DeployError, match="cannot write"):
        save_timing(measured, tmp_path / "c3.json" / "other.json")


def device_times(model_sha256: str) -> DeviceTimes:
    frame = TensorInfo("x", "int8", (1, 1, 1, 1), 1, 1.0, 0)
    info = DeviceInfo(
        2, 2, "esp32c3", "aot", "m", model_sha256, (frame,), (frame,), 0, 1, 1, 0, 1, "build", "power", "passed",
        False, True, False, False, False, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return DeviceTimes("port", info, DeviceBench(20, 69_000, 70_000.0, 71_000, 11_200_000, 11_300_000.0))


def test_a_device_is_timed_with_the_model_that_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, said = open_model(None), list[str]()
    counted = BenchResult("rv32-qemu", "aot", model.sha256, 1, 7_000_000, 1.0, 1, 1, 1, 1, 1, True, "gcc", ())
    monkeypatch.setattr(timing, "bench", lambda model, board, progress: counted)
    found = timing.time_instructions(device_times(model.sha256), model, progress=said.append)
    assert found == InstructionTiming("esp32c3", model.sha256, 7_000_000, 70_000.0, 11_200_000, "build")
    assert found.cycles_per_instruction == pytest.approx(1.6)
    with pytest.raises(DeployError, match="the device runs the model abab"):
        timing.time_instructions(device_times("ab" * 32), model, progress=said.append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_front(tmp_path / "front" / "pareto.json", FRONT.points)
    return tmp_path / "front"


def invoke(*arguments: object) -> tuple[int, str]:
    """Exit code and output, as the command line gives them."""
    done = CliRunner().invoke(fit, list(map(str, arguments)), standalone_mode=False)
    if done.exception is not None:
        assert isinstance(done.exception, Exception)
        return fail(done.exception), done.output
    return done.return_value, done.output


def test_the_command_names_the_next_one(folder: Path) -> None:
    code, said = invoke(folder, "--board", "esp32c3", "--fps", 20)
    assert code == 0
    assert "chosen: half" in said
    assert "runner-up: small, 9.0 points less, for 26 % of its instructions" in said
    assert f"next: nanou-deploy build --board esp32c3 --model {folder}/points/half" in said
    assert "may take, cycles each" in said
    _, said = invoke(folder, "--board", "rp2040")
    assert "next: nanou-deploy generate --board rp2040" in said


def test_exit_code_1_where_none_fits(folder: Path) -> None:
    code, said = invoke(folder, "--board", "esp32c3", "--max-instructions", "0.4M")
    assert code == 1
    assert "none fits" in said
    assert "it would fit with --max-instructions 900000" in said


def test_json(folder: Path) -> None:
    code, said = invoke(folder / "pareto.json", "--board", "esp32c3", "--max-ram", "8KB", "--json")
    document: dict[str, Any] = json.loads(said)
    assert (code, document["schema"]) == (0, "nanou-deploy/fit/1")
    assert document["chosen"]["point"]["name"] == "large"
    assert document["budget"]["limits"]["max_ram_bytes"] == 8192
    assert [one["name"] for one in document["candidates"]] == ["large", "half", "small"]
    code, said = invoke(folder, "--board", "esp32c3", "--max-ram", "1KB", "--json")
    assert code == 1
    assert json.loads(said)["chosen"] is None
