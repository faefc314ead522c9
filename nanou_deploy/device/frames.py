"""Encode and decode the protocol's frames: COBS, header, payload, CRC-32 (docs/PROTOCOL.md). No I/O.

COBS: Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 2
PAYLOAD_LIMIT_BYTES = 256
FLAG_ANSWER = 1  # from the device, to a request
FLAG_EVENT = 2  # from the device, unasked
FLAG_UNPROVEN = 4  # from the device: its self-test failed, or did not run

_HEADER = struct.Struct("<BBBBII")
_CRC = struct.Struct("<I")
_LEAST_BYTES = _HEADER.size + _CRC.size
_LIMIT_BYTES = _LEAST_BYTES + PAYLOAD_LIMIT_BYTES
_ENCODED_LIMIT_BYTES = _LIMIT_BYTES + 1 + _LIMIT_BYTES // 254


@dataclass(frozen=True)
class Frame:
    """One message. `boot` is the device's boot number; in a request the one that the host expects, 0 for any."""

    type: int
    sequence: int
    payload: bytes = b""
    flags: int = 0
    status: int = 0
    boot: int = 0
    version: int = VERSION


def encode(frame: Frame) -> bytes:
    """Encode a frame for the line, a zero at both ends. Raises ValueError for a payload of more than 256 bytes."""
    if len(frame.payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(f"a payload of {len(frame.payload)} bytes exceeds {PAYLOAD_LIMIT_BYTES}")
    header = _HEADER.pack(frame.version, frame.type, frame.flags, frame.status, frame.sequence, frame.boot)
    body = header + frame.payload
    return b"\0" + cobs_encode(body + _CRC.pack(zlib.crc32(body))) + b"\0"


def decode(encoded: bytes) -> Frame | None:
    """Decode what stood between two zero bytes; None where it is no whole, undamaged frame."""
    body = cobs_decode(encoded)
    if body is None or not _LEAST_BYTES <= len(body) <= _LIMIT_BYTES:
        return None
    if zlib.crc32(body[: -_CRC.size]) != _CRC.unpack(body[-_CRC.size :])[0]:
        return None
    version, kind, flags, status, sequence, boot = _HEADER.unpack_from(body)
    return Frame(kind, sequence, body[_HEADER.size : -_CRC.size], flags, status, boot, version)


def cobs_encode(data: bytes) -> bytes:
    """Encode bytes so that none is zero: one byte longer, and one more for each 254 without a zero."""
    encoded, blocks = bytearray(), data.split(b"\0")
    for number, block in enumerate(blocks):
        while len(block) >= 254:
            # A full block stands for no zero; at the very end of the data it ends the encoding.
            encoded += b"\xff" + block[:254]
            block = block[254:]
            if not block and number == len(blocks) - 1:
                return bytes(encoded)
        encoded.append(len(block) + 1)
        encoded += block
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes | None:
    """Invert `cobs_encode`; None where a block's length points beyond the end, or a zero is inside."""
    if not encoded or 0 in encoded:
        return None
    data, position = bytearray(), 0
    while position < len(encoded):
        end = position + encoded[position]
        if end > len(encoded):
            return None
        data += encoded[position + 1 : end]
        if encoded[position] != 0xFF and end < len(encoded):
            data.append(0)
        position = end
    return bytes(data)


class FrameReader:
    """Finds frames in a stream of bytes; whatever came before, the next zero byte begins anew.

    `damaged` counts pieces between zeros that were no frames.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._piece = bytearray()
        self._too_long = False

    def feed(self, received: bytes) -> Iterator[Frame]:
        *ended, rest = received.split(b"\0")
        for piece in ended:
            self._extend(piece)
            frame = self._finish()
            if frame is not None:
                yield frame
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._piece) + len(piece) > _ENCODED_LIMIT_BYTES
        if not self._too_long:
            self._piece += piece

    def _finish(self) -> Frame | None:
        piece, too_long = bytes(self._piece), self._too_long
        self._piece.clear()
        self._too_long = False
        if not piece and not too_long:
            return None
        frame = None if too_long else decode(piece)
        self.damaged += frame is None
        return frame
