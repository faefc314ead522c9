"""Define what code is generated from: storage of activations, kernels, constant tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.one_multiply_search import RequantizedChannel

BLOCK_PX = 16
LANES = 16  # bytes of a vector

Layout = Literal["interleaved", "padded", "blocked"]


@dataclass(frozen=True)
class Storage:
    """How an activation lies in memory, or sums that become one.

    `bias`: bytes are the int8 values as they are (0), or plus 128 as uint8. The latter where the zero point is -128, so
    that real 0 is byte 0: padding costs nothing, and neither do offsets.
    `layout`: the channels of a pixel side by side (interleaved), and filled up to a multiple of 16 bytes (padded); or
    the row in blocks of 16 pixels, in each block 16 bytes for each channel, one behind the other (blocked). What lies
    behind the last channel, or behind the last pixel in the last block, is nobody's.
    `is_sum`: int32 in the processor's byte order, at multiples of 4 bytes, since rings begin at multiples of 16.
    """

    bias: int
    layout: Layout = "interleaved"
    is_sum: bool = False

    @property
    def c_type(self) -> str:
        if self.is_sum:
            return "int32_t"
        return "uint8_t" if self.bias else "int8_t"

    @property
    def value_bytes(self) -> int:
        return 4 if self.is_sum else 1

    @property
    def low(self) -> int:
        return self.bias - 128

    @property
    def high(self) -> int:
        return self.bias + 127

    def row_bytes(self, width: int, channels: int) -> int:
        """Of one row, with its padding."""
        if self.is_blocked:
            return blocks_of_row(width) * BLOCK_PX * channels
        return width * self.pixel_bytes(channels)

    def pixel_bytes(self, channels: int) -> int:
        """From one pixel to the next, where the channels of a pixel lie side by side."""
        return vectors_of(channels) * LANES if self.layout == "padded" else channels * self.value_bytes

    @property
    def is_blocked(self) -> bool:
        return self.layout == "blocked"


BLOCKED = Storage(0, "blocked")
SUMS = Storage(0, is_sum=True)


def padded(channels: int) -> Storage:
    """Where the channels of each pixel fill whole vectors; those that do anyway are interleaved."""
    return Storage(0, "padded" if channels % LANES else "interleaved")


def vectors_of(channels: int) -> int:
    return -(-channels // LANES)


def blocks_of_row(width: int) -> int:
    return -(-width // BLOCK_PX)


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array. `values` is 1-D; `per_line` of them are printed on one line of C.

    With several `phases`, the kernel for output row y gets the (y % phases)-th part of equal size. `channels` is what
    numbers for requantization claim, channel by channel; `codegen.proof.proof` checks it. `is_aligned`: it begins at a
    multiple of 16 bytes, as vector loads ask for.
    """

    name: str
    values: npt.NDArray[np.integer]
    per_line: int
    phases: int = 1
    channels: tuple[RequantizedChannel, ...] = ()
    is_aligned: bool = False

    @property
    def size_bytes(self) -> int:
        return self.values.nbytes

    @property
    def c_type(self) -> str:
        return f"{self.values.dtype.name}_t"


Present = tuple[bool, ...]  # by row pointer; False: NULL, the row lies outside the image


@dataclass(frozen=True)
class Accesses:
    """What one call of a kernel touches, from the first element of each array on.

    `rows`: bytes behind each row pointer, 0 where it is absent; `required`: pointers that must not be absent.
    `tables`: elements, by parameter. `padding`: bytes of the padding row, where one stands in for an absent row.
    """

    rows: tuple[int, ...]
    output: int
    required: tuple[int, ...] = ()
    tables: Mapping[str, int] = field(default_factory=dict)
    padding: int = 0


@dataclass(frozen=True, kw_only=True)
class Kernel(ABC):
    """One C function that computes one row. Stages with equal kernels share it.

    A subclass lives in codegen/kernels/ISA/NAME.py and is printed by templates/aot/kernels/ISA/NAME.c.j2, which sees
    its fields as `k`. The C signature is (const INPUT *const rows[], OUTPUT *output, tables...): one pointer for each
    of the stage's `reads`, NULL where that row lies outside the image.
    """

    inputs: tuple[Storage, ...]  # of each of the stage's inputs
    output: Storage
    shape_name: str  # "80x4_k3x3_s1": the end of the C function's name, which says what it does
    tables: tuple[tuple[str, str], ...] = ()  # (parameter name, C type) of each table, in call order

    never_inlined: ClassVar[bool] = (
        False  # runs a few times for each row, and inlining would enlarge the caller's frame
    )
    is_assembly: ClassVar[bool] = False  # NAME.S.j2 beside NAME.c.j2, which calls it

    @property
    def template(self) -> str:
        """ISA/NAME, from the module's own place."""
        return "/".join(type(self).__module__.split(".")[-2:])

    @property
    def name(self) -> str:
        """The beginning of the C function's name."""
        isa, name = self.template.split("/")
        return name if isa == "portable" else f"{name}_{isa}"

    @property
    def requires(self) -> tuple[str, ...]:
        """Functions of templates/aot/arithmetic that it calls; one that another one calls comes first."""
        return ()

    @property
    def padding_value(self) -> int | None:
        """The stored value that rows outside the image are made of, where the kernel reads such a row."""
        return None

    @property
    def row_type(self) -> str:
        """C type behind the row pointers."""
        types = {storage.c_type for storage in self.inputs}
        return types.pop() if len(types) == 1 else "void"

    @property
    def table_types(self) -> Mapping[str, str]:
        return dict(self.tables)

    @abstractmethod
    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        """Repeat the template's index arithmetic: how far a call reaches in which only `present` rows are not NULL.

        tests/golden/test_accesses.py runs every kernel on buffers of exactly these sizes, under AddressSanitizer:
        control flow does not depend on the data, so one run of each is the proof of what is stated here.
        """

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Where the kernel's arithmetic is not TFLite's, in words: the proof demands that there are none.

        For kernels that compute something of their own. Those that requantize weighted sums have certificates in their
        tables (`Table.channels`) instead; those that move or look up bytes have nothing to compare.
        """
        return ()


class Built(NamedTuple):
    """What a layer becomes: the kernel, which other layers may share, and its own tables."""

    kernel: Kernel
    tables: tuple[Table, ...] = ()


def parameters_of(tables: Sequence[Table]) -> tuple[tuple[str, str], ...]:
    return tuple((table.name, table.c_type) for table in tables)
