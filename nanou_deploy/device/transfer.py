"""Move bytes to and from a device's buffers, in pieces that a noisy line lets through."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate

from nanou_deploy.device import messages as m
from nanou_deploy.device.errors import DeviceTimeout
from nanou_deploy.device.exchange import Exchange

_PIECE_TRIES, _PIECE_LEAST_BYTES = 3, 8

Buffer = tuple[int, int, int]  # which of the protocol's, number of the tensor, size in bytes


def buffers_of(kind: int, tensors: Sequence[m.TensorInfo]) -> list[Buffer]:
    """Name the buffers of a model's inputs or outputs."""
    return [(kind, number, tensor.size_bytes) for number, tensor in enumerate(tensors)]


def total_bytes(buffers: Sequence[Buffer]) -> int:
    """Add up sizes."""
    return sum(size_bytes for _, _, size_bytes in buffers)


def split(data: bytes, buffers: Sequence[Buffer]) -> list[bytes]:
    """Cut data, one buffer's behind the other, into each one's."""
    ends = accumulate(size_bytes for _, _, size_bytes in buffers)
    return [data[end - size_bytes : end] for (_, _, size_bytes), end in zip(buffers, ends, strict=True)]


class Transfer:
    """Write and read buffers. Pieces become smaller where long frames get lost, and grow again where none do."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._piece_bytes = m.PIECE_LIMIT_BYTES

    def write(self, buffers: Sequence[Buffer], data: bytes, deadline: float) -> None:
        """Write `data`, one buffer's behind the other, until `deadline`. Raises DeviceError."""
        for (kind, number, _), part in zip(buffers, split(data, buffers), strict=True):
            offset = 0
            while offset < len(part):
                piece = part[offset : offset + self._piece_bytes]
                answer = self._piece(m.WRITE, m.WRITE_HEAD.pack(kind, number, offset) + piece, deadline)
                if answer is not None:
                    written = m.WRITE_ANSWER.pack(kind, number, offset, len(piece))
                    m.expect(answer == written, "WRITE wrote something else")
                    offset += len(piece)

    def read(self, buffers: Sequence[Buffer], deadline: float) -> bytes:
        """Read buffers whole, one behind the other, until `deadline`. Raises DeviceError."""
        return b"".join(self._read_one(*buffer, deadline) for buffer in buffers)

    def _read_one(self, kind: int, number: int, size_bytes: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size_bytes:
            count = min(self._piece_bytes, size_bytes - len(data))
            answer = self._piece(m.READ, m.READ_REQUEST.pack(kind, number, len(data), count), deadline)
            if answer is not None:
                head, piece = answer[: m.WRITE_HEAD.size], answer[m.WRITE_HEAD.size :]
                m.expect(head == m.WRITE_HEAD.pack(kind, number, len(data)), "READ read something else")
                m.expect(len(piece) == count, f"{len(piece)} bytes for READ of {count}")
                data += piece
        return bytes(data)

    def _piece(self, kind: int, payload: bytes, deadline: float) -> bytes | None:
        """Ask for one WRITE or READ; None where a smaller piece is to be tried: noisy lines lose long frames first."""
        try:
            answer = self._exchange.ask(kind, payload, tries=_PIECE_TRIES, deadline=deadline)
        except DeviceTimeout:
            if time.monotonic() >= deadline or self._exchange.is_silent:
                raise
            self._piece_bytes = max(_PIECE_LEAST_BYTES, self._piece_bytes // 2)
            return None
        self._piece_bytes = min(m.PIECE_LIMIT_BYTES, self._piece_bytes + max(1, self._piece_bytes // 16))
        return answer
