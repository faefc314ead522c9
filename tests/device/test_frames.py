"""Frames in Python and in C, against the vectors of docs/PROTOCOL.md and against each other."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanou_deploy.device.frames import Frame, FrameReader, cobs_decode, cobs_encode, encode
from nanou_deploy.resources import firmware_folder
from tests.device.noise import noisy_stream
from tests.device.specification import vectors

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-g", "-O1"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
Reader = Callable[[bytes], tuple[bytes, int]]

frames = st.builds(
    Frame,
    type=st.integers(0, 255),
    sequence=st.integers(0, 2**32 - 1),
    payload=st.one_of(st.binary(max_size=256), st.binary(min_size=230, max_size=256)),
    flags=st.integers(0, 255),
    status=st.integers(0, 255),
    boot=st.integers(0, 2**32 - 1),
    version=st.integers(0, 255),
)


@pytest.fixture(scope="module")
def c_reader(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reader]:
    """c_reader(compiler)(stream) -> the frames that C found, encoded again by C, and how many pieces were damaged."""

    def build(compiler: str) -> Reader:
        program = tmp_path_factory.mktemp("frames") / "frames"
        app = firmware_folder() / "app"
        sources = [Path(__file__).with_name("frames_main.c"), app / "protocol.c"]
        sanitize = SANITIZE if "gcc" in Path(compiler).name else []  # clang's runtime for it is a package of its own
        subprocess.run([compiler, *STRICT, *sanitize, f"-I{app}", *sources, "-o", program], check=True)

        def read(stream: bytes) -> tuple[bytes, int]:
            done = subprocess.run([program], input=stream, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
            damaged = re.search(rb"damaged (\d+)", done.stderr)
            assert damaged
            return done.stdout, int(damaged[1])

        return read

    return build


def python_reader(stream: bytes) -> tuple[bytes, int]:
    reader = FrameReader()
    found = b"".join(encode(frame) for frame in reader.feed(stream))
    return found, reader.damaged


def test_python_follows_the_vectors() -> None:
    assert len(vectors()) >= 5
    for frame, line in vectors():
        assert encode(frame) == line
        assert list(FrameReader().feed(line)) == [frame]
    longest = max(len(frame.payload) for frame, _ in vectors())
    assert longest == 256


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_follows_the_vectors(
    compiler: str, require_tool: Callable[..., str], c_reader: Callable[[str], Reader]
) -> None:
    stream = b"".join(line for _, line in vectors())
    assert c_reader(require_tool(compiler))(stream) == (stream, 0)


@given(st.lists(frames, max_size=5), st.integers(0, 2**32))
def test_any_frames_cut_anywhere(sent: list[Frame], seed: int) -> None:
    stream, reader, found = b"".join(map(encode, sent)), FrameReader(), []
    cuts = random.Random(seed)
    while stream:
        size = cuts.randrange(1, 40)
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == sent
    assert reader.damaged == 0


@given(st.binary(max_size=700))
def test_cobs_is_reversible_and_holds_no_zero(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(encoded) == data


@given(frames, st.integers(0, 2**16), st.integers(1, 255))
def test_one_damaged_byte_is_noticed(frame: Frame, place: int, change: int) -> None:
    line = bytearray(encode(frame))
    line[1 + place % (len(line) - 2)] ^= change
    reader = FrameReader()
    assert list(reader.feed(bytes(line) + encode(frame)))[-1:] == [frame]  # in step again
    assert reader.damaged >= 1
    assert all(found == frame for found in FrameReader().feed(bytes(line)))


def test_c_and_python_understand_the_same_of_noise(
    require_tool: Callable[..., str], c_reader: Callable[[str], Reader]
) -> None:
    read = c_reader(require_tool("gcc"))
    for seed in range(20):
        stream = noisy_stream(seed, 300)
        assert read(stream) == python_reader(stream)
        assert read(stream)[1] > 50
