"""The Python client against the C device, over terminals, TCP and a serial port's file."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nanou_deploy.device import messages as m
from nanou_deploy.device.client import (
    Device,
    DeviceAbsent,
    DeviceError,
    DeviceRefused,
    DeviceReset,
    LinkLost,
    StaleModel,
    VersionMismatch,
)
from nanou_deploy.device.drill import ResettingLink
from nanou_deploy.device.errors import MalformedAnswer
from nanou_deploy.device.frames import Frame, FrameReader, encode
from nanou_deploy.device.link import ProcessLink
from tests.device.conftest import OTHER_SHA256, SHA256
from tests.device.recurrent_model import expected_outputs as recurrent_outputs
from tests.device.recurrent_model import expected_sums
from tests.unit.invert_model import INPUT_BYTES, expected_outputs

TIMEOUT_S = 10.0  # sanitizers on a busy computer
FRAMES = np.random.default_rng(0).integers(-128, 128, (3, 4, 5, 3)).astype(np.int8)
OUTPUTS = expected_outputs(FRAMES.reshape(3, -1)).reshape(3, 4, 5, 1)


@pytest.fixture
def device(program: Path) -> Iterator[Device]:
    with Device.open(f"exec:{program}", timeout_s=TIMEOUT_S, model_sha256=SHA256) as opened:
        yield opened


def test_info(device: Device) -> None:
    info = device.info()
    assert (info.board, info.runtime, info.model_name, info.model_sha256) == ("host", "aot", "invert", SHA256)
    assert info.inputs == (m.TensorInfo("image", "int8", (1, 4, 5, 3), 60, 0.5, 0),)
    assert [tensor.image_shape for tensor in info.outputs] == [(4, 5, 1)]
    assert (info.self_test, info.reset_reason, info.layers, info.macs) == ("passed", "power-on", 2, 60)
    assert not info.has_camera
    assert not info.judges_frames
    assert re.match(r"(gcc|clang) \d", info.build)
    assert "-fsanitize=address,undefined" in info.build


def test_inferences_golden_bench(device: Device) -> None:
    for frame, output in zip(FRAMES, OUTPUTS, strict=True):
        assert np.array_equal(device.infer(frame).output, output)
        assert np.array_equal(device.infer(frame.reshape(-1)).output, output)
    golden = device.golden()
    assert (golden.passed, golden.layer, golden.actual_crc32) == (True, "", golden.expected_crc32)
    bench = device.bench(4, per_layer=True)
    assert (bench.inferences, bench.best_cycles) == (4, 0)
    assert bench.best_us <= bench.mean_us <= bench.worst_us
    assert [(layer.name, layer.operator_index) for layer in bench.layers] == [("0 invert", 0), ("1 weigh", 1)]
    assert device.bench(1).layers == ()
    assert device.counters.damaged == 0


def test_several_tensors_and_state(recurrent: Path) -> None:
    given = np.random.default_rng(1).integers(-128, 128, (6, 4)).astype(np.int8)
    with Device.open(f"exec:{recurrent}", timeout_s=TIMEOUT_S, model_sha256=SHA256) as device:
        info = device.info()
        found = [(t.name, t.dtype, t.shape) for t in (*info.inputs, *info.outputs)]
        assert found[:2] == [("factor", "int8", (1,)), ("values", "int8", (1, 3))]
        assert found[2:] == [("sums", "int32", (1, 3, 1)), ("echo", "int8", (1,))]
        assert (info.state_bytes, info.mask_size_px) == (12, (0, 0))
        for _ in range(2):
            results = [device.infer(frame) for frame in given]
            assert np.array_equal(np.stack([r.output for r in results]), recurrent_outputs(given))
            assert np.array_equal(np.stack([r.outputs[0].reshape(3) for r in results]), expected_sums(given))
            device.reset()
        with pytest.raises(DeviceError, match="4 bytes, not 3") as caught:
            device.infer(given[0, :3])
        assert caught.value.hint == "it takes int8 (1,), int8 (1, 3)"


@pytest.mark.parametrize(("version", "words"), [(1, "its firmware is older"), (3, "this tool is older")])
def test_ends_of_different_versions_say_which_is_older(version: int, words: str) -> None:
    class Other:
        """A line to a device of that version."""

        slowness = 1.0

        def __init__(self) -> None:
            self.reader, self.out = FrameReader(), b""

        def write(self, data: bytes) -> None:
            for request in self.reader.feed(data):
                answer = Frame(request.type, request.sequence, flags=1, status=3, boot=9, version=version)
                self.out += encode(answer)

        def read(self, timeout_s: float) -> bytes:
            data, self.out = self.out, b""
            return data

        def close(self) -> None: ...

    with pytest.raises(VersionMismatch, match=f"version {version} of the protocol, not 2: {words}") as caught:
        Device(Other())
    assert caught.value.hint


def test_wrong_sizes_are_errors_here(device: Device) -> None:
    with pytest.raises(DeviceError, match="60 bytes, not 61"):
        device.infer(np.zeros(INPUT_BYTES + 1, np.int8))
    with pytest.raises(DeviceError, match="not 7 bytes"):
        device.infer_camera(bytes(7), width_px=2, height_px=2, big_endian=True)


def test_refusals_have_names_and_hints(device: Device) -> None:
    for ask in (device.capture, lambda: device.infer_camera(bytes(8), width_px=2, height_px=2, big_endian=True)):
        with pytest.raises(DeviceRefused, match="UNSUPPORTED") as caught:
            ask()
        assert (caught.value.name, caught.value.status) == ("UNSUPPORTED", 8)
        assert caught.value.hint
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        next(device.stream(seconds=1))


def test_logs_and_restart(device: Device) -> None:
    assert device.logs() == ["self-test passed"]
    assert device.logs() == []
    device.restart()
    assert device.info().reset_reason == "restart"
    assert device.logs() == ["motors STOP: a host uses the model", "self-test passed"]
    assert np.array_equal(device.infer(FRAMES[0]).output, OUTPUTS[0])


def test_a_failed_self_test_says_which_layer(require_tool: Callable[..., str], programs: Callable[..., Path]) -> None:
    require_tool("gcc", "clang")
    with Device.open(f"exec:{programs(late_fault='output[3] ^= 1;')}", timeout_s=TIMEOUT_S) as device:
        assert device.info().self_test == "failed"
        assert not device.golden().passed
        assert device.golden().layer == "1 weigh"
        logs = device.logs()
        assert logs[0].startswith("self-test failed")
        assert logs[-1] == "1 weigh"


def test_stale_model(require_tool: Callable[..., str], program: Path, programs: Callable[..., Path]) -> None:
    other = programs(sha256=OTHER_SHA256)
    with pytest.raises(StaleModel, match="b2b2b2b2b2b2, not a1a1a1a1a1a1"):
        Device.open(f"exec:{other}", timeout_s=TIMEOUT_S, model_sha256=SHA256)
    link = ResettingLink(str(program), str(other))
    with Device(link, timeout_s=TIMEOUT_S) as device:
        link.replace_program(str(other))
        with pytest.raises(DeviceReset):
            device.infer(FRAMES[0])
        with pytest.raises(StaleModel):
            device.infer(FRAMES[0])


def test_a_reset_is_noticed_and_survived(program: Path) -> None:
    link = ProcessLink(str(program))
    with Device(link, timeout_s=TIMEOUT_S) as device:
        link.replace_program(str(program))
        with pytest.raises(DeviceReset):
            device.infer(FRAMES[1])
        assert np.array_equal(device.infer(FRAMES[1]).output, OUTPUTS[1])


def test_a_program_that_dies(program: Path) -> None:
    link = ProcessLink(str(program))
    with Device(link, timeout_s=TIMEOUT_S) as device:
        link.process.kill()
        link.process.wait()
        with pytest.raises(LinkLost, match="ended with code -9"):
            device.infer(FRAMES[0])


@pytest.mark.parametrize(
    "address",
    [
        "exec:/nowhere/device",
        "exec:/o'brien/device",
        "exec:",
        "tcp://127.0.0.1:99999",
        "/nowhere/ttyUSB0",
        "tcp://127.0.0.1:1",
        "exec:SILENT",
        "sim:/nowhere@esp32c3",
    ],
)
def test_absent(address: str, require_module: Callable[[str], None], tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    if address.startswith("sim"):
        require_module("labwired")
    with pytest.raises(DeviceAbsent) as caught:
        Device.open(address.replace("SILENT", str(silent)), timeout_s=0.5)
    assert caught.value.hint


def test_tcp_serves_one_client_after_the_other(program: Path) -> None:
    with subprocess.Popen([program, "--tcp", "0"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        address = f"tcp://127.0.0.1:{child.stdout.readline().strip()}"
        for frame, output in zip(FRAMES, OUTPUTS, strict=True):
            with Device.open(address, timeout_s=TIMEOUT_S) as device:
                assert np.array_equal(device.infer(frame).output, output)
        with Device.open(address, timeout_s=TIMEOUT_S) as device, pytest.raises(LinkLost):
            device.restart()
        with Device.open(address, timeout_s=TIMEOUT_S) as device:
            assert device.info().reset_reason == "restart"
        child.kill()


def test_a_terminal_by_pyserial(program: Path, require_module: Callable[[str], None]) -> None:
    require_module("serial")
    with subprocess.Popen([program, "--pty"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        port = child.stdout.readline().strip()
        for frame, output in zip(FRAMES, OUTPUTS, strict=True):  # the line outlives its clients
            with Device.open(port, timeout_s=TIMEOUT_S) as device:
                assert np.array_equal(device.infer(frame).output, output)
                with pytest.raises(DeviceAbsent):  # the port is taken
                    Device.open(port, timeout_s=TIMEOUT_S)
        device = Device.open(port, timeout_s=TIMEOUT_S)
        child.kill()
        child.wait()
        with pytest.raises(LinkLost):
            device.infer(FRAMES[0])
        device.close()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--stdio, --pty or --tcp"),
        (["--sideways"], "--sideways"),
        (["--stdio", "--camera", "x"], "--camera needs --camera-size"),
        (["--stdio", "--camera-size", "4x4", "--camera", "/nowhere/x"], "/nowhere/x: No such file"),
    ],
)
def test_usage(program: Path, arguments: list[str], complaint: str) -> None:
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_decoders_refuse_what_is_too_short() -> None:
    with pytest.raises(MalformedAnswer, match="INFO has 1 bytes, not 88"):
        m.count_tensors(b"\0")
    with pytest.raises(MalformedAnswer, match="INFO has 16 bytes, not 32"):
        m.decode_tensor(m.INFO_TENSOR.pack(m.TENSOR_PAGE, 0, 0, 8, 1, 1.0, 0) + bytes(16), 0)


def test_no_file_stays_open(program: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        with Device.open(f"exec:{program}", timeout_s=TIMEOUT_S) as device:
            device.info()
        with pytest.raises(DeviceAbsent):
            Device.open("exec:/nowhere/device")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
