"""The quantized model and the contract between camera bytes and decisions.

`QuantizedModel` is what training hands to the compiler: the .tflite bytes plus everything a device needs
to use them correctly. On disk it is `NAME.tflite` with a sidecar `NAME.json`; a .tflite without a sidecar
(a model made elsewhere) gets the contract that its own input quantization implies.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.errors import ModelError
from codegen.untrusted import shown

BINARY_CLASSES = ("background", "drivable")
MAX_CLASSES = 32
MAX_CLASS_NAME = 64  # characters
MAX_SIDE_PX = 4096
MAX_CHANNELS = 4096
SMALLEST_PROBABILITY = 1e-6
RESIZE_FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # by Pillow's names
COLOR_ORDERS = ("RGB", "BGR")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _check_number(what: str, value: object, low: float, high: float) -> None:
    if not (isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high):
        raise ModelError(f"{what} is {shown(value)}", hint=f"write a number from {low:g} to {high:g}")


def _check_integer(what: str, value: object, high: int, hint: str = "") -> None:
    if not (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= high):
        raise ModelError(f"{what} is {shown(value)}", hint=hint or f"write a whole number from 1 to {high}")


@dataclass(frozen=True)
class Quantization:
    """Affine int8 quantization of one tensor: real = scale * (q - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Preprocessing:
    """How camera pixels become model input. Every stage (training, goldens, firmware) uses this one.

    A pixel component v in 0..255 becomes (v / 255 - mean) / std. Images of another size are resized with
    Pillow's `resize_filter` ("box" = area average) after conversion to RGB, or to grey (L) for one channel.
    """

    height_px: int
    width_px: int
    channels: int = 3
    mean: float = 0.5
    std: float = 0.5
    resize_filter: str = "box"
    color_order: str = "RGB"

    def __post_init__(self) -> None:
        """What is stated comes from files that anybody may have written, and goes into generated sources."""
        for name, limit in (("height_px", MAX_SIDE_PX), ("width_px", MAX_SIDE_PX), ("channels", MAX_CHANNELS)):
            _check_integer(f"preprocessing {name}", getattr(self, name), limit)
        _check_number("preprocessing mean", self.mean, -1000.0, 1000.0)
        _check_number("preprocessing std", self.std, 1e-6, 1000.0)
        for name, known in (("resize_filter", RESIZE_FILTERS), ("color_order", COLOR_ORDERS)):
            if getattr(self, name) not in known:
                what = f"{name.replace('_', ' ')} {shown(getattr(self, name))}"
                raise ModelError(f"the preprocessing contract has {what}", hint=f"known are {', '.join(known)}")

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (..., H, W, C) -> float32 of the same shape, the network's real-valued input."""
        return ((pixels.astype(np.float32) / np.float32(255.0)) - np.float32(self.mean)) / np.float32(self.std)

    def lookup_table(self, quantization: Quantization) -> npt.NDArray[np.int8]:
        """int8 (256,): the model input byte for each pixel component, rounded half away from zero."""
        return np.clip(self._quantized(quantization), -128, 127).astype(np.int8)

    def saturated(self, quantization: Quantization) -> int:
        """How many of the 256 pixel values lie outside what the input can represent."""
        quantized = self._quantized(quantization)
        return int(np.count_nonzero((quantized < -128) | (quantized > 127)))

    def _quantized(self, quantization: Quantization) -> npt.NDArray[np.float64]:
        real = (np.arange(256, dtype=np.float64) / 255.0 - self.mean) / self.std
        steps = real / quantization.scale
        rounded: npt.NDArray[np.float64] = np.where(steps >= 0, np.floor(steps + 0.5), np.ceil(steps - 0.5))
        return rounded + quantization.zero_point


@dataclass(frozen=True)
class CameraSize:
    """What the device's camera delivers: RGB565 frames of this size, which the contract resizes as a whole."""

    width_px: int = 160
    height_px: int = 120

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px"):
            hint = f"a camera's picture is WIDTHxHEIGHT, each 1 to {MAX_SIDE_PX}: 160x120"
            _check_integer(f"the camera's {name}", getattr(self, name), MAX_SIDE_PX, hint)

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}"


@dataclass(frozen=True)
class QuantizedModel:
    """A full-int8 .tflite file and its contract.

    With one output channel a pixel is of class 1 (drivable) from `threshold` on, a probability in (0, 1). With several
    it is of the class whose output is highest, the lower index of several that are equal. `classes` are names in the
    order of their indices, and `drivable` those of them that count as drivable; both empty where nobody has said.
    Without `preprocessing` the model is raw: tensors in and tensors out, of which nobody has said what they mean.
    """

    name: str
    flatbuffer: bytes
    preprocessing: Preprocessing | None
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    camera: CameraSize = CameraSize()
    classes: tuple[str, ...] = ()
    drivable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Name and class names go into generated sources, so they are held to what those can show."""
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            hint = "use up to 64 letters, digits, '.', '_' and '-'"
            raise ModelError(f"{shown(self.name)} is no model name", hint=hint)
        _check_number("threshold", self.threshold, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
        for name in self.classes:
            if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_CLASS_NAME):
                hint = f"use up to {MAX_CLASS_NAME} printable characters"
                raise ModelError(f"{shown(name)} is no class name", hint=hint)
        if len(self.classes) > MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ModelError(f"{len(self.classes)} classes, or two of one name", hint=f"name up to {MAX_CLASSES}")
        for name in self.drivable:
            if name not in self.classes:
                hint = f"classes are {', '.join(self.classes) or 'not named'}"
                raise ModelError(f"{shown(name)} is to count as drivable and is none of the classes", hint=hint)

    @property
    def image(self) -> Preprocessing:
        """How pictures become its input. Raises ModelError for a raw model."""
        if self.preprocessing is None:
            raise ModelError(
                f"nobody has said how pictures become the input of {self.name}, or what its output means",
                hint="write a sidecar NAME.json beside NAME.tflite (docs/DESIGN.md, Model files)",
            )
        return self.preprocessing

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.flatbuffer).hexdigest()


def threshold_q(threshold: float, output: Quantization, *, is_probability: bool) -> int:
    """Smallest int8 output that counts as drivable: real value >= the threshold. 128 means "never".

    With logits the threshold p is the real value log(p / (1 - p)); after LOGISTIC it is p itself.
    """
    real = threshold if is_probability else math.log(threshold / (1.0 - threshold))
    # The slack keeps a threshold that is exactly a step (logit 0 at the zero point) on that step.
    return min(128, max(-128, math.ceil(real / output.scale - 1e-9) + output.zero_point))
