"""The model of the ESP32-S3's vector instructions does what the reference manual documents, at its corners too."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import REPOSITORY
from tests.pie.words import read_forms

FORMS = read_forms()
QACC_LOW, QACC_HIGH = -(2**19), 2**19 - 1
Int8 = npt.NDArray[np.int8]


class _State(ctypes.Structure):
    _fields_ = [("q", ctypes.c_int8 * 16 * 8), ("qacc", ctypes.c_int32 * 16), ("sar_byte", ctypes.c_uint32)]


class Machine:
    """The compiled model: registers and memory as arrays, and `run` for one instruction."""

    def __init__(self, library: Any) -> None:
        library.model_state.restype = ctypes.POINTER(_State)
        library.model_memory.restype = ctypes.POINTER(ctypes.c_int8 * 4096)
        self.state = library.model_state().contents
        self.q: Int8 = np.ctypeslib.as_array(self.state.q)
        self.qacc: npt.NDArray[np.int32] = np.ctypeslib.as_array(self.state.qacc)
        self.memory: Int8 = np.ctypeslib.as_array(library.model_memory().contents)
        self.a = np.zeros(16, np.uint32)
        self.forms = FORMS
        self._execute = library.model_execute

    def run(self, name: str, *operands: int) -> None:
        code = FORMS[name].encode(*operands)
        size = self._execute(code + b"\0", self.a.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)))
        assert size == len(code)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    target = tmp_path_factory.mktemp("pie") / "model.so"
    source = Path(__file__).with_name("model.c")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", f"-I{REPOSITORY / 'firmware/pie'}"]
    subprocess.run(["gcc", *flags, source, "-o", target], check=True, timeout=60)
    return ctypes.CDLL(str(target))


@pytest.fixture
def machine(library: Any, require_tool: Callable[..., str]) -> Machine:
    require_tool("gcc")
    machine, rng = Machine(library), np.random.default_rng(1)
    machine.q[:] = rng.integers(-128, 128, machine.q.shape)
    machine.memory[:] = rng.integers(-128, 128, machine.memory.shape)
    machine.qacc[:] = 0
    machine.a[:] = 64
    return machine


def test_loads_and_stores_ignore_four_address_bits_and_step_the_whole_address(machine: Machine) -> None:
    machine.a[3] = 0x107
    machine.run("ee.vld.128.ip", 5, 3, -2048)
    assert (machine.q[5] == machine.memory[0x100:0x110]).all()
    assert machine.a[3] == np.uint32(0x107 - 2048 + 2**32)
    machine.a[3], machine.a[4] = 0x20F, 2032
    machine.run("ee.vst.128.xp", 5, 3, 4)
    assert (machine.memory[0x200:0x210] == machine.q[5]).all()
    assert machine.a[3] == 0x20F + 2032
    machine.run("ee.vst.128.ip", 2, 3, 16)
    place = (0x20F + 2032) & ~15
    assert (machine.memory[place : place + 16] == machine.q[2]).all()
    machine.a[7], machine.a[8] = 0x300, 2**32 - 48
    machine.run("ee.vld.128.xp", 0, 7, 8)
    assert (machine.q[0] == machine.memory[0x300:0x310]).all()
    assert machine.a[7] == 0x300 - 48


@pytest.mark.parametrize("offset", [0, 1, 15])
def test_two_loads_and_a_shift_take_sixteen_bytes_from_anywhere(machine: Machine, offset: int) -> None:
    machine.a[3] = 0x100 + offset
    machine.run("ee.ld.128.usar.ip", 5, 3, 16)
    assert (machine.q[5] == machine.memory[0x100:0x110]).all()
    assert machine.a[3] == 0x110 + offset
    machine.run("ee.vld.128.ip", 6, 3, 0)
    machine.run("ee.src.q", 5, 5, 6)
    assert (machine.q[5] == machine.memory[0x100 + offset : 0x110 + offset]).all()


def test_a_broadcast_takes_any_byte_and_leaves_its_address(machine: Machine) -> None:
    machine.a[15] = 0x123
    machine.run("ee.vldbc.8", 7, 15)
    assert (machine.q[7] == machine.memory[0x123]).all()
    assert machine.a[15] == 0x123


@pytest.mark.parametrize("lane", [0, 1, 7, 8, 15])
def test_products_are_added_to_lanes_of_20_bits(machine: Machine, lane: int) -> None:
    machine.run("ee.vsmulas.s8.qacc", 1, 6, lane)
    assert (machine.qacc == machine.q[1].astype(int) * int(machine.q[6, lane])).all()


def test_a_lane_saturates_at_each_step_and_not_at_the_end(machine: Machine) -> None:
    machine.q[1], machine.q[2] = 127, [127, -128, 1] + [0] * 13
    machine.qacc[:8], machine.qacc[8:] = QACC_HIGH - 5, QACC_LOW + 5
    machine.run("ee.vsmulas.s8.qacc", 1, 2, 0)
    assert (machine.qacc[:8] == QACC_HIGH).all()
    assert (machine.qacc[8:] == QACC_LOW + 5 + 127 * 127).all()
    machine.run("ee.vsmulas.s8.qacc", 1, 2, 1)
    assert (machine.qacc[:8] == QACC_HIGH - 127 * 128).all()
    assert (machine.qacc[8:] == QACC_LOW).all()
    machine.run("ee.zero.qacc")
    assert not machine.qacc.any()


@pytest.mark.parametrize(("qx", "qy"), [(1, 6), (6, 1), (3, 3)])
def test_products_of_lane_and_lane_are_added_to_lanes_of_20_bits(machine: Machine, qx: int, qy: int) -> None:
    machine.qacc[:] = np.arange(16) - 8
    machine.run("ee.vmulas.s8.qacc", qx, qy)
    assert (machine.qacc == np.arange(16) - 8 + machine.q[qx].astype(int) * machine.q[qy]).all()
    machine.qacc[:8], machine.qacc[8:] = QACC_HIGH - 5, QACC_LOW + 5
    machine.q[1], machine.q[2] = [127] * 8 + [-128] * 8, 127
    machine.run("ee.vmulas.s8.qacc", 1, 2)
    assert (machine.qacc[:8] == QACC_HIGH).all()
    assert (machine.qacc[8:] == QACC_LOW).all()


@pytest.mark.parametrize("step", [-512, -16, 0, 16, 496])
def test_products_of_lanes_use_what_a_load_overwrites_and_step_by_six_bits(machine: Machine, step: int) -> None:
    expected = machine.q[5].astype(int) * machine.q[4]
    machine.a[12] = 0x40F
    machine.run("ee.vmulas.s8.qacc.ld.ip", 5, 12, step, 5, 4)
    assert (machine.qacc == expected).all()
    assert (machine.q[5] == machine.memory[0x400:0x410]).all()
    assert machine.a[12] == 0x40F + step


@pytest.mark.parametrize(("qu", "qx", "qy"), [(0, 1, 2), (3, 3, 4), (5, 6, 5)])
def test_multiplying_while_loading_uses_what_the_registers_held_before(
    machine: Machine, qu: int, qx: int, qy: int
) -> None:
    expected = machine.q[qx].astype(int) * int(machine.q[qy, 9])
    machine.a[11] = 0x40F
    machine.run("ee.vsmulas.s8.qacc.ld.incp", qu, 11, qx, qy, 9)
    assert (machine.qacc == expected).all()
    assert (machine.q[qu] == machine.memory[0x400:0x410]).all()
    assert machine.a[11] == 0x40F + 16


@pytest.mark.parametrize("shift", [0, 1, 8, 19, 31, 32, 40, 255])
def test_the_shift_rounds_down_saturates_and_stays(machine: Machine, shift: int) -> None:
    values = np.array([0, 1, -1, 127, 128, -128, -129, 255, 256, -256, -257, QACC_HIGH, QACC_LOW, 4096, 999, -999])
    machine.qacc[:] = values
    machine.a[2] = shift
    machine.run("ee.srcmb.s8.qacc", 4, 2)
    assert (machine.qacc == values >> (shift & 31)).all()
    assert (machine.q[4] == np.clip(values >> (shift & 31), -128, 127)).all()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17])
def test_two_registers_are_shifted_by_sar_byte(machine: Machine, count: int) -> None:
    machine.a[9] = count
    machine.run("wur.sar_byte", 9)
    both, first = np.concatenate([machine.q[3], machine.q[6]]), count % 16
    machine.run("ee.src.q", 3, 3, 6)
    assert (machine.q[3] == both[first : first + 16]).all()


def test_zip_and_unzip_are_inverse_and_in_the_documented_order(machine: Machine) -> None:
    a, b = machine.q[1].copy(), machine.q[2].copy()
    machine.run("ee.vzip.8", 1, 2)
    assert (np.concatenate([machine.q[1], machine.q[2]]) == np.stack([a, b], 1).reshape(-1)).all()
    machine.run("ee.vunzip.8", 1, 2)
    assert (machine.q[1] == a).all()
    assert (machine.q[2] == b).all()


def test_extremes_by_lane(machine: Machine) -> None:
    machine.run("ee.vmax.s8", 0, 5, 7)
    assert (machine.q[0] == np.maximum(machine.q[5], machine.q[7])).all()
    machine.run("ee.vmin.s8", 7, 5, 7)
    assert (machine.q[7] <= machine.q[5]).all()


def test_what_is_not_modelled_is_refused_and_changes_nothing(machine: Machine) -> None:
    before = machine.q.copy(), machine.qacc.copy(), machine.a.copy()
    for word in (0x8E0064, 0xCD7204, 0x000000, 0xE0100C0E, 0xFFFFFFFF, 0x250804):
        code = word.to_bytes(4, "little")
        assert machine._execute(code, machine.a.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))) == 0
    after = machine.q, machine.qacc, machine.a
    assert all((x == y).all() for x, y in zip(before, after, strict=True))
