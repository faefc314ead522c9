"""The same application on simulated chips, through the flash image and the chip's UART."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device
from nanou_deploy.device.client import Device, DeviceAbsent, DeviceReset
from nanou_deploy.device.link import device_address
from tests.device.conftest import SHA256
from tests.unit.invert_model import expected_outputs, make_library

FRAME = np.random.default_rng(0).integers(-128, 128, (4, 5, 3)).astype(np.int8)


@pytest.fixture(params=["esp32c3-sim", "esp32c6-sim", "esp32s3-sim", "esp32-sim"])
def board(
    request: pytest.FixtureRequest, require_tool: Callable[..., str], require_module: Callable[[str], None]
) -> str:
    require_module("labwired")
    require_module("esptool")
    if str(request.param).startswith("esp32c"):
        require_tool("riscv64-unknown-elf-gcc")
    else:
        for tool in ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld"):
            require_tool(tool)
    return str(request.param)


def test_everything_over_the_uart(board: str, tmp_path: Path) -> None:
    library = make_library(tmp_path / "lib", sha256=SHA256)
    build = build_device(library, find_board(board), tmp_path / "build")
    assert build.image is not None
    with Device.open(device_address(build), model_sha256=SHA256) as device:
        info = device.info()
        assert (info.board, info.self_test, info.reset_reason, info.layers) == (board, "passed", "power-on", 2)
        assert info.counts_cycles
        assert 8192 < info.stack_free_bytes < 16384
        want = expected_outputs(FRAME.reshape(1, -1)).reshape(4, 5, 1)
        first, second = device.infer(FRAME), device.infer(FRAME)
        assert np.array_equal(first.output, want)
        assert np.array_equal(second.output, want)
        assert first.cycles == second.cycles > 60
        assert device.golden().passed
        bench = device.bench(1, per_layer=True)
        assert bench.best_cycles <= sum(layer.cycles for layer in bench.layers) < 4 * bench.best_cycles
        device.restart()
        assert device.info().reset_reason == "restart"
        assert np.array_equal(device.infer(FRAME).output, want)
        assert device.logs() == ["self-test passed", "motors STOP: a host uses the model", "self-test passed"]


def test_an_exception_is_a_reset_with_a_reason(board: str, tmp_path: Path) -> None:
    """The golden input does not begin with 99: the self-test passes, and one input makes it crash."""
    trap = "ecall" if board.startswith("esp32c") else "syscall"
    fault = f'if (input[0] == 99) __asm__ volatile("{trap}");'
    library = make_library(tmp_path / "lib", fault, sha256=SHA256)
    build = build_device(library, find_board(board), tmp_path / "build")
    with Device.open(device_address(build)) as device:
        assert device.infer(FRAME).output.size == 20
        crashing = FRAME.copy()
        crashing.flat[0] = 99
        with pytest.raises(DeviceReset):
            device.infer(crashing)
        assert device.info().reset_reason.startswith("exception ")
        assert np.array_equal(device.infer(FRAME).output.reshape(1, -1), expected_outputs(FRAME.reshape(1, -1)))


def test_an_image_of_another_chip_is_refused(
    require_tool: Callable[..., str], require_module: Callable[[str], None], tmp_path: Path
) -> None:
    require_module("labwired")
    require_module("esptool")
    require_tool("riscv64-unknown-elf-gcc")
    build = build_device(make_library(tmp_path / "lib"), find_board("esp32c3-sim"), tmp_path / "build")
    with pytest.raises(DeviceAbsent, match="for the esp32c3, not the esp32s3"):
        Device.open(f"sim:{build.image}@esp32s3")
