"""The board table is consistent, and a mistyped name gets an answer that helps."""

from __future__ import annotations

import pytest

from nanou_deploy.boards.boards import BOARDS, Board, find_board
from nanou_deploy.errors import DeployError


def test_names_of_the_boards() -> None:
    assert list(BOARDS) == [
        "host",
        "rv32-qemu",
        "esp32c3-sim",
        "esp32c6-sim",
        "cortex-m0-qemu",
        "cortex-m4-qemu",
        "cortex-m7-qemu",
        "xtensa-qemu",
        "esp32s3-qemu",
        "esp32s3-sim",
        "esp32-sim",
        "esp32s3",
        "esp32s3-eye",
        "xiao-esp32s3",
        "esp32cam",
        "esp32dev",
        "esp32c3",
        "esp32c6",
        "esp32p4",
        "rp2040",
    ]
    assert all(name == board.name for name, board in BOARDS.items())


@pytest.mark.parametrize("board", [b for b in BOARDS.values() if b.kind == "hardware"], ids=lambda b: b.name)
def test_hardware_is_complete_and_verified_somewhere(board: Board) -> None:
    assert all((board.pio_board, board.idf_target, board.cpu_mhz, board.flash_bytes, board.ram_bytes))
    assert not board.runs_here
    assert board.emulated_as is not None
    assert BOARDS[board.emulated_as].runs_here
    assert (board.psram == "none") == (board.psram_bytes == 0)


def test_esp32s3_is_the_devkit_with_psram() -> None:
    board = find_board("esp32s3")
    assert (board.pio_board, board.flash_bytes, board.ram_bytes) == ("esp32-s3-devkitc-1", 8 << 20, 512 << 10)
    assert board.psram_bytes == 2 << 20


@pytest.mark.parametrize(("typed", "meant"), [("esp32-s3", "esp32s3"), ("rv32qemu", "rv32-qemu"), ("hots", "host")])
def test_near_names_are_offered(typed: str, meant: str) -> None:
    with pytest.raises(DeployError) as error:
        find_board(typed)
    assert meant in error.value.hint


def test_all_names_are_listed_when_none_is_near() -> None:
    with pytest.raises(DeployError) as error:
        find_board("toaster")
    assert all(name in error.value.hint for name in BOARDS)
