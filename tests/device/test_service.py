"""What the C device answers, request by request, and that nothing it is sent can break it."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from codegen.library.golden import golden_frame
from nanou_deploy.device import messages as m
from nanou_deploy.device.frames import FLAG_UNPROVEN, encode
from nanou_deploy.resources import firmware_folder
from tests.device.conftest import OTHER_SHA256, SHA256
from tests.device.noise import assault
from tests.device.raw import RawDevice, infer, read, write
from tests.device.recurrent_model import expected_outputs as recurrent_outputs
from tests.device.specification import section, table
from tests.unit.invert_model import INPUT_BYTES, OUTPUT_BYTES, expected_outputs, golden_input


@pytest.fixture
def device(program: Path) -> Iterator[RawDevice]:
    with RawDevice(program) as raw:
        yield raw


STATUS = {number: name for number, (name, _) in m.STATUSES.items()}
NUMBER = {name: number for number, name in STATUS.items()}
FRAME = np.arange(INPUT_BYTES, dtype=np.int8)


def test_the_specification_states_these_numbers() -> None:
    requests = {name: int(number) for number, name, _ in table(section("Requests"), "type")}
    assert requests == {name: getattr(m, name) for name in requests}
    assert len(requests) == 13
    buffers = {name: int(number) for number, name, *_ in table(section("Requests"), "buffer")}
    assert buffers == {"INPUT": m.INPUT, "OUTPUT": m.OUTPUT, "FRAME": m.FRAME, "MASK": m.MASK}
    statuses = {int(number): name for number, name, _ in table(section("Asking"), "status")}
    assert statuses == {0: "OK", **STATUS}
    events = {name: int(number) for number, name, _ in table(section("Events"), "type")}
    assert events == {"LOG": m.LOG_EVENT, "STREAM": m.STREAM_EVENT}


def test_c_states_these_numbers() -> None:
    header = (firmware_folder() / "app" / "messages.h").read_text()
    assert all(f"STATUS_{name} = {number}" in header for number, name in STATUS.items())


def test_offsets_of_info_are_those_of_the_specification(device: RawDevice) -> None:
    payload = device.ask(m.INFO, b"\0").payload
    offsets = {row[1].split()[1].split(",")[0]: int(row[0]) for row in table(section("INFO"), "offset")}
    assert len(payload) == offsets["layers"] + 2 == m.INFO_NUMBERS.size
    assert payload[offsets["model"] :][:32].hex() == SHA256
    assert payload[offsets["self_test"]] == 1
    assert (payload[offsets["inputs"]], payload[offsets["inputs"] + 1]) == (1, 1)
    assert struct.unpack_from("<I", payload, offsets["state_bytes"]) == (0,)
    assert struct.unpack_from("<I", payload, offsets["macs"]) == (60,)
    assert struct.unpack_from("<H", payload, offsets["layers"]) == (2,)


def test_write_infer_read(device: RawDevice) -> None:
    answer = device.ask(m.WRITE, write(m.INPUT, 0, FRAME[:40].tobytes()))
    assert answer.payload == struct.pack("<BBIH", m.INPUT, 0, 0, 40)
    device.ask(m.WRITE, write(m.INPUT, 40, FRAME[40:].tobytes()))
    answer = device.ask(m.INFER, infer(SHA256, zlib.crc32(FRAME.tobytes())))
    source, crc32, size_bytes, _, cycles = struct.unpack("<BIIII", answer.payload)
    want = expected_outputs(FRAME[None])[0].tobytes()
    assert (answer.status, source, crc32, size_bytes, cycles) == (0, 0, zlib.crc32(want), OUTPUT_BYTES, 0)
    assert device.ask(m.READ, read(m.OUTPUT, 5, 15)).payload == struct.pack("<BBI", m.OUTPUT, 0, 5) + want[5:]


def test_several_tensors_and_state(recurrent: Path) -> None:
    with RawDevice(recurrent) as device:
        numbers = device.ask(m.INFO, b"\0").payload
        assert m.count_tensors(numbers) == 4
        assert struct.unpack_from("<I", numbers, 50) == (12,)
        pages = [device.ask(m.INFO, bytes([m.TENSOR_PAGE, number])).payload for number in range(4)]
        assert pages[1] == struct.pack("<BBBBIfi2I", 6, 1, 0, 2, 3, 0.25, 7, 1, 3) + b"values"
        assert pages[2] == struct.pack("<BBBBIfi3I", 6, 2, 1, 3, 12, 0.0, 0, 1, 3, 1) + b"sums"
        given = np.array([[2, 1, -1, 5]] * 2, np.int8)
        device.ask(m.WRITE, write(m.INPUT, 0, given[0, :1].tobytes()))
        device.ask(m.WRITE, write(m.INPUT, 0, given[0, 1:].tobytes(), number=1))
        request = infer(SHA256, zlib.crc32(given[0].tobytes()))
        for want in (*recurrent_outputs(given), None, recurrent_outputs(given)[0]):
            if want is None:
                assert device.ask(m.RESET).status == 0
                continue
            answer = struct.unpack("<BIIII", device.ask(m.INFER, request).payload)
            assert answer[1:3] == (zlib.crc32(want.tobytes()), 13)
            sums, echo = (device.ask(m.READ, read(m.OUTPUT, 0, n, number=i)).payload for i, n in ((0, 12), (1, 1)))
            assert sums[6:] + echo[6:] == want.tobytes()


def test_golden_leaves_the_initial_state(recurrent: Path) -> None:
    with RawDevice(recurrent) as device:
        request = infer(SHA256, zlib.crc32(golden_frame(4).tobytes()))
        first = [device.ask(m.GOLDEN).payload[0], device.ask(m.INFER, request).payload[:9]]
        assert first == [device.ask(m.GOLDEN).payload[0], device.ask(m.INFER, request).payload[:9]]
        assert first[0] == 1


@pytest.mark.parametrize(
    ("kind", "payload", "status"),
    [
        (m.INFO, b"", "MALFORMED"),
        (m.INFO, b"\x07", "RANGE"),
        (m.INFO, b"\x06", "MALFORMED"),
        (m.INFO, b"\0\0", "MALFORMED"),
        (m.INFO, b"\x06\x02", "RANGE"),
        (m.WRITE, write(m.INPUT, 0, b""), "MALFORMED"),
        (m.WRITE, write(m.INPUT, INPUT_BYTES, b"x"), "RANGE"),
        (m.WRITE, write(m.INPUT, INPUT_BYTES - 1, b"xx"), "RANGE"),
        (m.WRITE, write(m.INPUT, 2**32 - 1, b"xx"), "RANGE"),
        (m.WRITE, write(m.OUTPUT, 0, b"x"), "RANGE"),
        (m.WRITE, write(9, 0, b"x"), "RANGE"),
        (m.READ, read(m.OUTPUT, 0, 0), "RANGE"),
        (m.READ, read(m.OUTPUT, 0, OUTPUT_BYTES + 1), "RANGE"),
        (m.READ, read(m.INPUT, 0, 251), "RANGE"),
        (m.READ, read(m.INPUT, 0, 1, number=1), "RANGE"),
        (m.READ, read(m.OUTPUT, 0, 1, number=1), "RANGE"),
        (m.READ, read(m.FRAME, 0, 1), "RANGE"),
        (m.READ, read(m.MASK, 0, 1), "RANGE"),
        (m.WRITE, write(m.INPUT, 0, b"x", number=255), "RANGE"),
        (m.READ, read(m.OUTPUT, 2**32 - 4, 8), "RANGE"),
        (m.READ, b"\0", "MALFORMED"),
        (m.INFER, b"", "MALFORMED"),
        (m.INFER, infer(SHA256, 0, 3), "RANGE"),
        (m.INFER, infer(OTHER_SHA256, 0), "STALE_MODEL"),
        (m.INFER, infer(SHA256, 1), "INPUT_DIFFERS"),
        (m.INFER, infer(SHA256, 0, 1), "UNSUPPORTED"),
        (m.GOLDEN, b"x", "MALFORMED"),
        (m.BENCH, b"\3\0\0", "RANGE"),
        (m.BENCH, b"\2\0\0", "RANGE"),  # nothing was traced yet
        (m.BENCH, b"\0", "MALFORMED"),
        (m.CAPTURE, b"", "UNSUPPORTED"),
        (m.STREAM, bytes(6), "UNSUPPORTED"),
        (m.TUNE, b"", "UNSUPPORTED"),
        (m.RESET, b"x", "MALFORMED"),
        (m.RESTART, b"", "OTHER_BOOT"),  # the boot must be named
        (0, b"", "UNKNOWN"),
        (200, b"x" * 256, "UNKNOWN"),
    ],
)
def test_refusals(device: RawDevice, kind: int, payload: bytes, status: str) -> None:
    answer = device.ask(kind, payload)
    assert (STATUS[answer.status], answer.payload) == (status, b"")


def test_another_version_is_answered_in_ours(device: RawDevice) -> None:
    for version in (1, 3, 255):
        assert device.ask(m.INFO, b"\0", version=version).status == NUMBER["VERSION"]


def test_a_repetition_is_answered_and_not_executed(device: RawDevice) -> None:
    device.ask(m.WRITE, write(m.INPUT, 0, b"\1"))
    request = encode(device.request(m.WRITE, write(m.INPUT, 0, b"\2")))
    device.send(request)
    first = device.receive()
    device.ask(m.WRITE, write(m.INPUT, 0, b"\3"))
    device.send(encode(device.request(m.READ, read(m.INPUT, 0, 1))) * 3)
    answers = [device.receive() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].payload[-1:] == b"\3"
    assert first.status == 0


def test_inference_is_not_repeated(device: RawDevice) -> None:
    """What the input holds at the second arrival does not matter: the answer is the first one's."""
    device.ask(m.WRITE, write(m.INPUT, 0, FRAME.tobytes()))
    request = encode(device.request(m.INFER, infer(SHA256, zlib.crc32(FRAME.tobytes()))))
    device.send(request + request)
    assert device.receive() == device.receive()


def test_boot_number(device: RawDevice) -> None:
    boot = device.ask(m.INFO, b"\0").boot
    assert boot != 0
    assert device.ask(m.INFO, b"\0", boot=boot).status == 0
    assert device.ask(m.INFO, b"\0", boot=boot ^ 1).status == NUMBER["OTHER_BOOT"]
    assert device.ask(m.RESTART, boot=boot).status == 0
    after = device.ask(m.INFO, b"\5", boot=boot)
    assert (after.status, after.boot != boot) == (NUMBER["OTHER_BOOT"], True)
    assert device.ask(m.INFO, b"\5").payload == b"\5restart"


def test_an_echoing_line_is_no_conversation(device: RawDevice) -> None:
    answer = device.ask(m.INFO, b"\1")
    device.send(encode(answer))
    request = device.request(m.INFO, b"\1")
    device.send(encode(request))
    assert device.receive().sequence == request.sequence  # nothing came in between


def test_golden(device: RawDevice) -> None:
    passed, expected, actual, _, layer, _ = struct.unpack("<BIIIHH", device.ask(m.GOLDEN).payload)
    want = zlib.crc32(expected_outputs(golden_input()[None]).tobytes())
    assert (passed, expected, actual, layer) == (1, want, want, 65535)


@pytest.mark.parametrize(
    ("fault", "layer"), [({"fault": "work[7] ^= 64;"}, 0), ({"late_fault": "output[3] ^= 1;"}, 1)]
)
def test_a_wrong_layer_is_named(
    fault: dict[str, str], layer: int, require_tool: Callable[..., str], programs: Callable[..., Path]
) -> None:
    require_tool("gcc", "clang")
    with RawDevice(programs(**fault)) as device:
        answer = device.ask(m.GOLDEN)
        passed, _, _, _, number, operator = struct.unpack_from("<BIIIHH", answer.payload)
        assert (passed, number, operator) == (0, layer, layer)
        assert answer.payload[17:].decode() == ("0 invert", "1 weigh")[layer]
        assert answer.flags & FLAG_UNPROVEN
        info = device.ask(m.INFO, b"\0")
        assert info.payload[1] == 2
        assert info.flags & FLAG_UNPROVEN


def test_a_model_that_fails_is_reported(require_tool: Callable[..., str], programs: Callable[..., Path]) -> None:
    require_tool("gcc", "clang")
    with RawDevice(programs(fault="return NANOU_ERROR_RUNTIME;")) as device:
        for kind, payload in ((m.GOLDEN, b""), (m.BENCH, bytes(3)), (m.BENCH, b"\1\0\0")):
            answer = device.ask(kind, payload)
            assert (answer.status, answer.payload) == (NUMBER["MODEL_FAILED"], b"\5")


def test_layers_are_measured(device: RawDevice) -> None:
    what, _, _, layers = struct.unpack("<BIIH", device.ask(m.BENCH, b"\1\0\0").payload)
    assert (what, layers) == (1, 2)
    answer = device.ask(m.BENCH, b"\2\1\0").payload
    assert struct.unpack_from("<BHH", answer) == (2, 1, 1)
    assert answer[9:] == b"1 weigh"
    assert device.ask(m.BENCH, b"\2\2\0").status == NUMBER["RANGE"]


def test_nothing_breaks_it(program: Path) -> None:
    """4,000 requests and pieces of noise, under AddressSanitizer and UBSan; then it still computes."""
    with RawDevice(program) as device:
        assault(device, random.Random(7), 4000)
        device.ask(m.WRITE, write(m.INPUT, 0, FRAME.tobytes()))
        answer = device.ask(m.INFER, infer(SHA256, zlib.crc32(FRAME.tobytes())))
        assert struct.unpack_from("<BI", answer.payload)[1] == zlib.crc32(expected_outputs(FRAME[None]).tobytes())
        assert device.link.process.poll() is None


def test_the_application_keeps_no_heap_and_its_ram_is_stated(require_tool: Callable[..., str], tmp_path: Path) -> None:
    """docs/PROTOCOL.md states the bytes of protocol and service; portable files call no allocator."""
    app = firmware_folder() / "app"
    for source in app.rglob("*.[ch]"):
        assert not {"malloc(", "calloc(", "free("} & set(source.read_text().replace(" ", "\n").split())
    (tmp_path / "main.c").write_text(
        '#include "service.h"\n#include <stdio.h>\nint main(void) { printf("%u", (unsigned)(sizeof(service_t) - '
        "sizeof(profile_t))); return 0; }"
    )
    library = Path(__file__).parents[1] / "unit" / "invert_library"
    includes = [f"-I{path}" for path in (app, library / "include", library / "app", firmware_folder() / "include")]
    compiler = require_tool("gcc", "clang")
    subprocess.run([compiler, *includes, tmp_path / "main.c", "-o", tmp_path / "size"], check=True)
    size_bytes = int(subprocess.run([tmp_path / "size"], capture_output=True, check=True).stdout)
    assert 800 < size_bytes <= 1024
    assert "at most 1,024 bytes" in section("Memory")
