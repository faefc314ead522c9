"""A device program asked with frames of the test's own making."""

from __future__ import annotations

import itertools
import struct
import time
from collections import deque
from pathlib import Path

from nanou_deploy.device.frames import FLAG_ANSWER, VERSION, Frame, FrameReader, encode
from nanou_deploy.device.link import ProcessLink

PATIENCE_S = 20.0  # sanitizers on a busy computer


class RawDevice:
    """Sends what it is told to, and gives back whatever frames come."""

    def __init__(self, program: Path, arguments: str = "") -> None:
        self.link = ProcessLink(f"{program} {arguments}")
        self.reader = FrameReader()
        self._answers: deque[Frame] = deque()
        self._numbers = itertools.count(1)

    def __enter__(self) -> RawDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def send(self, data: bytes) -> None:
        self.link.write(data)

    def drain(self) -> None:
        """Take what has arrived, so that the device need not wait."""
        self._answers.extend(f for f in self.reader.feed(self.link.read(0.0)) if f.flags & FLAG_ANSWER)

    def receive(self, sequence: int | None = None) -> Frame:
        """The next frame that is an answer, to that request if one is given."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            while self._answers:
                frame = self._answers.popleft()
                if sequence in (None, frame.sequence):
                    return frame
            self._answers.extend(f for f in self.reader.feed(self.link.read(0.1)) if f.flags & FLAG_ANSWER)
        raise AssertionError("no answer")

    def request(self, kind: int, payload: bytes = b"", *, boot: int = 0, version: int = VERSION) -> Frame:
        """A frame with a sequence number of its own."""
        return Frame(kind, next(self._numbers), payload, boot=boot, version=version)

    def ask(self, kind: int, payload: bytes = b"", *, boot: int = 0, version: int = VERSION) -> Frame:
        request = self.request(kind, payload, boot=boot, version=version)
        self.send(encode(request))
        answer = self.receive(request.sequence)
        assert (answer.type, answer.version) == (kind, VERSION)
        return answer


def write(buffer: int, offset: int, data: bytes, number: int = 0) -> bytes:
    return struct.pack("<BBI", buffer, number, offset) + data


def read(buffer: int, offset: int, count: int, number: int = 0) -> bytes:
    return struct.pack("<BBIH", buffer, number, offset, count)


def infer(model: str, crc32: int, source: int = 0) -> bytes:
    return struct.pack("<BBHH8sI", source, 0, 0, 0, bytes.fromhex(model)[:8], crc32)
