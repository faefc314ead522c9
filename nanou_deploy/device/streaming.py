"""Assemble and check the pictures of STREAM events, whose pieces may be lost (docs/PROTOCOL.md). No I/O."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from dataclasses import replace

from nanou_deploy.device.messages import STREAM_HEAD, CameraFrame, Decision, Stages, StreamFrame, mask_row_bytes

_KIND = struct.Struct("<BI")
_OFFSET = struct.Struct("<I")
_HEAD, _MASK, _PICTURE = range(3)
_KEPT = 8  # whole pictures that nobody has fetched yet
_SIZE_LIMIT_BYTES = 1 << 20


class _Pieces:
    """A buffer that fills in any order."""

    def __init__(self, size_bytes: int, crc32: int) -> None:
        self.data = bytearray(size_bytes)
        self._crc32 = crc32
        self._missing = size_bytes
        self._seen: set[int] = set()

    def put(self, offset: int, piece: bytes) -> None:
        if offset not in self._seen and offset + len(piece) <= len(self.data):
            self._seen.add(offset)
            self.data[offset : offset + len(piece)] = piece
            self._missing -= len(piece)

    @property
    def is_full(self) -> bool:
        return self._missing <= 0

    @property
    def is_whole(self) -> bool:
        return self.is_full and zlib.crc32(self.data) == self._crc32


class StreamAssembler:
    """Assembles frames; `complete` holds those that arrived whole. One whose mask did not is lost and counted."""

    def __init__(self) -> None:
        self.complete: deque[StreamFrame] = deque(maxlen=_KEPT)
        self._number: int | None = None
        self._lost = 0

    def feed(self, payload: bytes) -> None:
        if len(payload) < _KIND.size:
            return
        kind, number = _KIND.unpack_from(payload)
        body = payload[_KIND.size :]
        if kind == _HEAD and len(body) == STREAM_HEAD.size:
            self._begin(number, body)
        elif number == self._number and kind in (_MASK, _PICTURE) and len(body) > _OFFSET.size:
            pieces = self._mask if kind == _MASK else self._picture
            pieces.put(_OFFSET.unpack_from(body)[0], body[_OFFSET.size :])
            if self._mask.is_full and self._picture.is_full:
                self._finish()

    def _begin(self, number: int, body: bytes) -> None:
        if self._number is not None:
            self._finish()  # its picture may be lost, the mask all the same whole
        numbers = STREAM_HEAD.unpack(body)
        width_px, height_px, mask_crc32, *decided, tenths, across_px, down_px, big_endian, picture_crc32 = numbers[:-4]
        mask_bytes, picture_bytes = mask_row_bytes(width_px) * height_px, 2 * across_px * down_px
        if max(mask_bytes, picture_bytes) > _SIZE_LIMIT_BYTES:
            return
        self._number = number
        self._mask, self._picture = _Pieces(mask_bytes, mask_crc32), _Pieces(picture_bytes, picture_crc32)
        go, steer, left, centre, right = decided
        self._frame = StreamFrame(
            number=number,
            picture=CameraFrame(b"", across_px, down_px, bool(big_endian)) if picture_bytes else None,
            mask=b"",
            width_px=width_px,
            height_px=height_px,
            decision=Decision(bool(go), steer, left, centre, right),
            fps=tenths / 10,
            lost=0,
            stages=Stages(*numbers[-4:]),
        )

    def _finish(self) -> None:
        self._number = None
        if not self._mask.is_whole:
            self._lost += 1
            return
        picture = self._frame.picture
        if picture is not None:
            whole = self._picture.is_whole
            picture = replace(picture, pixels=bytes(self._picture.data)) if whole else None
        self.complete.append(replace(self._frame, picture=picture, mask=bytes(self._mask.data), lost=self._lost))
        self._lost = 0
