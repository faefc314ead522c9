"""Damage a .tflite file where it hurts: single fields, lengths and elements set to what a reader may not expect, scales
to what arithmetic may not hold.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import tflite

from codegen.tflite import flatbuffer

NUMBERS = {
    1: (0, 1, 2, 3, 9, 127, 128, 255),
    2: (0, 1, 4, 6, 255, 256, 32767, 65535),
    4: (0, 1, 2, 3, 4, 7, 8, 127, 255, 256, 1000, 65535, 65536, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1),
    8: (0, 1, 127, 128, 255, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
}


@dataclass
class Places(flatbuffer._Walk):
    """The walk of the check, which notes where numbers stand and how wide they are."""

    places: list[tuple[int, int]] = field(default_factory=list)

    def table(self, position: int, kind: str) -> None:
        if (position, kind) not in self.seen:
            vtable = position - self.number("<i", position)
            offsets = struct.unpack_from(f"<{self.number('<H', vtable) // 2 - 2}H", self.data, vtable + 4)
            known = len(flatbuffer._TABLES[kind])
            self.places += [(vtable + 4 + 2 * i, 2) for i in range(len(offsets))]
            self.places += [(position + offset, 1) for i, offset in enumerate(offsets) if offset and i >= known]
            self.places += [(position + offset, 4) for i, offset in enumerate(offsets) if offset and i >= known]
        super().table(position, kind)

    def _field(self, position: int, offset: int, table_bytes: int, kind: flatbuffer.Field) -> None:
        self.places.append((position + offset, kind if isinstance(kind, int) else 4))
        super()._field(position, offset, table_bytes, kind)

    def _vector(self, position: int, vector: flatbuffer.Vector) -> None:
        count, width = self.number("<I", position), vector.of if isinstance(vector.of, int) else 4
        self.places.append((position, 4))
        self.places += [(position + 4 + i * width, width) for i in range(min(count, 64))]
        if width == 1:  # data of a constant, which may be wider
            self.places += [(position + 4 + 4 * i, 4) for i in range(min(count // 4, 16))]
        super()._vector(position, vector)


def places(data: bytes) -> Sequence[tuple[int, int]]:
    """Position and width of every number in the file's structure."""
    walk = Places(data)
    walk.table(walk.number("<I", 0), "Model")
    return [place for place in dict.fromkeys(walk.places) if sum(place) <= len(data)]


def damage(rng: Random, data: bytes, where: Sequence[tuple[int, int]]) -> bytes:
    """The file with one to three of its numbers replaced: by an extreme one, a neighbour, another's, or any."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        position, width = rng.choice(where)
        before = int.from_bytes(damaged[position : position + width], "little")
        other, _ = rng.choice([place for place in where if place[1] == width])
        number = rng.choice(
            (
                rng.choice(NUMBERS[width]),
                rng.choice(NUMBERS[width]),
                before + rng.choice((-1, 1)),
                int.from_bytes(damaged[other : other + width], "little"),
                rng.getrandbits(8 * width),
                before ^ 1 << rng.randrange(8 * width),
            )
        )
        damaged[position : position + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(damaged)


def scale_places(data: bytes) -> list[range]:
    """Positions of each tensor's scales, float32."""
    model, found = tflite.Model.GetRootAs(data, 0), []
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for quantization in (graph.Tensors(i).Quantization() for i in range(graph.TensorsLength())):
            if quantization is not None and quantization.ScaleLength():
                first = quantization._tab.Vector(quantization._tab.Offset(8))
                found.append(range(first, first + 4 * quantization.ScaleLength(), 4))
    return found


def rescale(rng: Random, data: bytes, where: Sequence[range]) -> bytes:
    """The file with the scales of one to three tensors multiplied, often by so much that TFLM's integers overflow."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3)) if where else 0):
        factor = rng.choice((10 ** rng.uniform(-13, 13), 2.0 ** rng.randint(-40, 40)))
        for position in rng.choice(where):
            (before,) = struct.unpack_from("<f", damaged, position)
            struct.pack_into("<f", damaged, position, min(max(before * factor, -3e38), 3e38))
    return bytes(damaged)
