"""Say in a line what an input or output means, and how its numbers are to be read."""

from __future__ import annotations

from codegen.graph.graph import Tensor
from codegen.graph.model import InputContract, OutputContract


def input_text(stated: InputContract) -> str:
    """Say what an input is: "image RGB, mean 0.5, std 0.5, box"."""
    if stated.image is None:
        return "raw"
    image = stated.image
    numbers = [", ".join(f"{v:g}" for v in (value if isinstance(value, tuple) else (value,)))
               for value in (image.mean, image.std)]  # fmt: skip
    order = image.color_order if image.channels > 1 else "grey"
    return f"image {order}, mean {numbers[0]}, std {numbers[1]}, {image.resize_filter}"


def output_text(stated: OutputContract) -> str:
    """Say what an output is and how it decides: "segment, logits, threshold 0.5: background, drivable*; * drivable"."""
    if stated.task == "raw":
        return "raw" if stated.values == "raw" else f"raw {stated.values}"
    names = [f"{name}*" if name in stated.drivable else name for name in stated.classes]
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "classes not named"
    drivable = "; * drivable" if stated.drivable else ""
    return f"{stated.task}, {stated.values}, threshold {stated.threshold:g}: {listed}{drivable}"


def quantization_text(tensor: Tensor) -> str:
    """Say behind a tensor's type how it is quantized: ", scale 0.0123, zero point -3"; nothing without one scale."""
    return f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}" if len(tensor.scales) == 1 else ""
