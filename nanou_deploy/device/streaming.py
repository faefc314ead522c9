"""Assemble and check the pictures of STREAM events, whose pieces may be lost (docs/PROTOCOL.md). No I/O."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from dataclasses import replace

from nanou_deploy.device.errors import MalformedAnswer
from nanou_deploy.device.messages import (
    STREAM_HEAD,
    CameraFrame,
    Stages,
    StreamFrame,
    check_picture,
    decode_decision,
    expect,
    mask_row_bytes,
)

_KIND = struct.Struct("<BI")
_OFFSET = struct.Struct("<I")
_HEAD, _MASK, _PICTURE = range(3)
_KEPT = 8  # whole pictures that nobody has fetched yet


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
    """Assembles frames whose masks are `size_px` (width, height); `complete` holds those that arrived whole.

    One whose mask did not is lost and counted. `fault` is the first frame's that can be no device's.
    """

    def __init__(self, size_px: tuple[int, int]) -> None:
        self.complete: deque[StreamFrame] = deque(maxlen=_KEPT)
        self.fault: MalformedAnswer | None = None
        self._size_px = size_px
        self._number: int | None = None
        self._lost = 0

    def feed(self, payload: bytes) -> None:
        if len(payload) < _KIND.size:
            return
        kind, number = _KIND.unpack_from(payload)
        body = payload[_KIND.size :]
        if kind == _HEAD and len(body) == STREAM_HEAD.size:
            if self._number is not None:
                self._finish()  # its picture may be lost, the mask all the same whole
            try:
                self._begin(number, body)
            except MalformedAnswer as fault:
                self.fault = self.fault or fault
        elif number == self._number and kind in (_MASK, _PICTURE) and len(body) > _OFFSET.size:
            pieces = self._mask if kind == _MASK else self._picture
            pieces.put(_OFFSET.unpack_from(body)[0], body[_OFFSET.size :])
            if self._mask.is_full and self._picture.is_full:
                self._finish()

    def _begin(self, number: int, body: bytes) -> None:
        numbers = STREAM_HEAD.unpack(body)
        width_px, height_px, mask_crc32, *decided, tenths, across_px, down_px, big_endian, picture_crc32 = numbers[:-4]
        mask_bytes, picture_bytes = mask_row_bytes(width_px) * height_px, 2 * across_px * down_px
        size = self._size_px
        expect((width_px, height_px) == size, f"a mask of {width_px}x{height_px}, the model's has {size[0]}x{size[1]}")
        if across_px or down_px:
            check_picture(across_px, down_px)
        decision = decode_decision(*decided)
        self._number = number
        self._mask, self._picture = _Pieces(mask_bytes, mask_crc32), _Pieces(picture_bytes, picture_crc32)
        self._frame = StreamFrame(
            number=number,
            picture=CameraFrame(b"", across_px, down_px, bool(big_endian)) if picture_bytes else None,
            mask=b"",
            width_px=width_px,
            height_px=height_px,
            decision=decision,
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
