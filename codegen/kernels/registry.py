"""List the kernels that can compute a layer, best first, and build the first that applies.

A layer of which there is but one kernel needs no entry: its operator builds that one.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from codegen.kernels.armv7e_m import conv_2d_pointwise as armv7e_m_conv_2d_pointwise
from codegen.kernels.armv7e_m import depthwise_conv_2d_3x3 as armv7e_m_depthwise_conv_2d_3x3
from codegen.kernels.armv7e_m import depthwise_conv_2d_3x3_upsampled as armv7e_m_depthwise_conv_2d_3x3_upsampled
from codegen.kernels.convolution import Convolution, UpsampledDepthwise
from codegen.kernels.pooling import Pooling
from codegen.kernels.portable import (
    conv_2d,
    conv_2d_pointwise,
    depthwise_conv_2d,
    depthwise_conv_2d_3x3,
    depthwise_conv_2d_3x3_upsampled,
    max_pool_2d,
    max_pool_2d_inside,
)
from codegen.program.kernel import Built
from codegen.program.target import Target

Layer = TypeVar("Layer", contravariant=True)


class KernelModule(Protocol[Layer]):
    """What a module codegen/kernels/ISA/NAME.py offers for one kind of layer."""

    def applies(self, layer: Layer, target: Target) -> bool:
        """Whether the kernel computes exactly this layer, on this processor."""

    def build(self, layer: Layer, target: Target) -> Built:
        """The kernel for a layer to which it applies, and the layer's tables."""


CONV_2D: tuple[KernelModule[Convolution], ...] = (armv7e_m_conv_2d_pointwise, conv_2d_pointwise, conv_2d)
DEPTHWISE_CONV_2D: tuple[KernelModule[Convolution], ...] = (
    armv7e_m_depthwise_conv_2d_3x3,
    depthwise_conv_2d_3x3,
    depthwise_conv_2d,
)
UPSAMPLED_DEPTHWISE: tuple[KernelModule[UpsampledDepthwise], ...] = (
    armv7e_m_depthwise_conv_2d_3x3_upsampled,
    depthwise_conv_2d_3x3_upsampled,
)
MAX_POOL_2D: tuple[KernelModule[Pooling], ...] = (max_pool_2d_inside, max_pool_2d)

AnyLayer = TypeVar("AnyLayer")


def find(kernels: tuple[KernelModule[AnyLayer], ...], layer: AnyLayer, target: Target) -> KernelModule[AnyLayer] | None:
    """Find the first kernel that applies; None where none does."""
    return next((kernel for kernel in kernels if kernel.applies(layer, target)), None)


def build(kernels: tuple[KernelModule[AnyLayer], ...], layer: AnyLayer, target: Target) -> Built:
    """Build the first kernel that applies, of which the last applies to every layer."""
    kernel = find(kernels, layer, target)
    assert kernel is not None, f"no kernel applies to {layer}"
    return kernel.build(layer, target)
