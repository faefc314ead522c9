"""Multiply matrices of two activations: sums of products of differences to zero points, rounded as TFLite does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.epilogue import Epilogue, two_roundings
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True)
class Strides:
    """Bytes from element to element: of rows and sums in the first matrix, of sums and columns in the second.

    `left_step`, `right_step`: from one matrix to the next.
    """

    left_row: int
    left_sum: int
    right_sum: int
    right_column: int
    left_step: int
    right_step: int


@dataclass(frozen=True, kw_only=True)
class MatrixProduct(Kernel):
    matrices: int  # of a row of the output
    height: int
    depth: int
    width: int
    strides: Strides
    operands: tuple[Storage, Storage]
    zeros: tuple[int, int]  # as stored
    multiplier: int
    shift: int
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        at, sums, matrices = self.strides, self.depth - 1, self.matrices - 1
        left = matrices * at.left_step + (self.height - 1) * at.left_row + sums * at.left_sum
        right = matrices * at.right_step + sums * at.right_sum + (self.width - 1) * at.right_column
        return Accesses((left + 1, right + 1), self.matrices * self.height * self.width, required=(0, 1))


def build(
    extent: tuple[int, int, int, int],
    strides: Strides,
    zero_points: tuple[int, int],
    operands: tuple[Storage, Storage],
    output: Storage,
    scaling: tuple[int, int],
    zero_point: int,
    *,
    is_square: bool,
) -> Built:
    """`extent`: matrices in a row of the output, their height, depth and width. `is_square`: one tensor is both."""
    matrices, height, depth, width = extent
    kernel = MatrixProduct(
        inputs=operands[:1] if is_square else operands,
        output=output,
        shape_name=f"{height}x{depth}x{width}",
        matrices=matrices,
        height=height,
        depth=depth,
        width=width,
        strides=strides,
        operands=operands,
        zeros=(zero_points[0] + operands[0].bias, zero_points[1] + operands[1].bias),
        multiplier=scaling[0],
        shift=scaling[1],
        epilogue=two_roundings(zero_point, output),
    )
    return Built(kernel)
