"""List the kernels that can compute a layer, best first, and build the first that applies.

A layer of which there is but one kernel needs no entry: its operator builds that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from codegen.kernels.armv7e_m import conv_2d as armv7e_m_conv_2d
from codegen.kernels.armv7e_m import conv_2d_pointwise as armv7e_m_conv_2d_pointwise
from codegen.kernels.armv7e_m import depthwise_conv_2d_3x3 as armv7e_m_depthwise_conv_2d_3x3
from codegen.kernels.armv7e_m import depthwise_conv_2d_3x3_upsampled as armv7e_m_depthwise_conv_2d_3x3_upsampled
from codegen.kernels.convolution import Convolution, UpsampledDepthwise
from codegen.kernels.elementwise import Elementwise
from codegen.kernels.esp32s3 import conv_2d as esp32s3_conv_2d
from codegen.kernels.esp32s3 import conv_2d_pointwise as esp32s3_conv_2d_pointwise
from codegen.kernels.esp32s3 import depthwise_conv_2d as esp32s3_depthwise_conv_2d
from codegen.kernels.esp32s3 import depthwise_conv_2d_3x3 as esp32s3_depthwise_conv_2d_3x3
from codegen.kernels.esp32s3 import depthwise_conv_2d_3x3_upsampled as esp32s3_depthwise_conv_2d_3x3_upsampled
from codegen.kernels.esp32s3 import max_pool_2d as esp32s3_max_pool_2d
from codegen.kernels.esp32s3 import pool_pixels as esp32s3_pool_pixels
from codegen.kernels.esp32s3 import scaled_sum as esp32s3_scaled_sum
from codegen.kernels.pooling import Pooling
from codegen.kernels.portable import (
    average_pool_2d,
    conv_2d,
    conv_2d_paired,
    conv_2d_pointwise,
    depthwise_conv_2d,
    depthwise_conv_2d_3x3,
    depthwise_conv_2d_3x3_upsampled,
    lookup,
    max_pool_2d,
    max_pool_2d_inside,
)
from codegen.program.kernel import Built, Layout
from codegen.program.target import Target


class AnyLayer(Protocol):
    @property
    def layout(self) -> Layout:
        """How its rows lie (Storage.layout)."""


Layer = TypeVar("Layer", bound=AnyLayer)
LayerIn = TypeVar("LayerIn", contravariant=True)


class NoKernelError(Exception):
    """No kernel computes the layer in this layout on this processor."""


class KernelModule(Protocol[LayerIn]):
    """What a module codegen/kernels/ISA/NAME.py offers for one kind of layer."""

    def applies(self, layer: LayerIn, target: Target) -> bool:
        """Whether the kernel computes exactly this layer, on this processor."""

    def build(self, layer: LayerIn, target: Target) -> Built:
        """Build the kernel for a layer to which it applies, and the layer's tables."""


@dataclass(frozen=True)
class Kernels(Generic[Layer]):
    """Kernels for one kind of layer, best first, by its layout."""

    interleaved: tuple[KernelModule[Layer], ...]
    blocked: tuple[KernelModule[Layer], ...]
    padded: tuple[KernelModule[Layer], ...] = ()


CONV_2D: Kernels[Convolution] = Kernels(
    (esp32s3_conv_2d, armv7e_m_conv_2d, armv7e_m_conv_2d_pointwise, conv_2d_paired, conv_2d_pointwise, conv_2d),
    (esp32s3_conv_2d_pointwise,),
    (esp32s3_conv_2d,),
)
DEPTHWISE_CONV_2D: Kernels[Convolution] = Kernels(
    (
        esp32s3_depthwise_conv_2d,
        esp32s3_conv_2d,
        armv7e_m_depthwise_conv_2d_3x3,
        depthwise_conv_2d_3x3,
        depthwise_conv_2d,
    ),
    (esp32s3_depthwise_conv_2d_3x3,),
    (esp32s3_depthwise_conv_2d, esp32s3_conv_2d),
)
UPSAMPLED_DEPTHWISE: Kernels[UpsampledDepthwise] = Kernels(
    (armv7e_m_depthwise_conv_2d_3x3_upsampled, depthwise_conv_2d_3x3_upsampled),
    (esp32s3_depthwise_conv_2d_3x3_upsampled,),
)
MAX_POOL_2D: Kernels[Pooling] = Kernels(
    (esp32s3_pool_pixels, max_pool_2d_inside, max_pool_2d), (esp32s3_max_pool_2d,), (esp32s3_pool_pixels,)
)
AVERAGE_POOL_2D: Kernels[Pooling] = Kernels((esp32s3_pool_pixels, average_pool_2d), (), (esp32s3_pool_pixels,))
# A sum of two rows that lie otherwise has a kernel of its own (codegen.kernels.portable.add).
ELEMENTWISE: Kernels[Elementwise] = Kernels((esp32s3_scaled_sum, lookup), (esp32s3_scaled_sum,), (esp32s3_scaled_sum,))


def find(kernels: Kernels[Layer], layer: Layer, target: Target) -> KernelModule[Layer] | None:
    """Find the first kernel that applies; None where none does."""
    among = {"interleaved": kernels.interleaved, "blocked": kernels.blocked, "padded": kernels.padded}[layer.layout]
    return next((kernel for kernel in among if kernel.applies(layer, target)), None)


def build(kernels: Kernels[Layer], layer: Layer, target: Target) -> Built:
    """Build the first kernel that applies. Where channels lie side by side, the last one applies to every layer."""
    kernel = find(kernels, layer, target)
    if kernel is None:
        raise NoKernelError(f"no kernel applies to {layer}")
    return kernel.build(layer, target)
