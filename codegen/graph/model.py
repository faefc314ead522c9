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

BINARY_CLASSES = ("background", "drivable")
MAX_CLASSES = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


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

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (..., H, W, C) -> float32 of the same shape, the network's real-valued input."""
        return ((pixels.astype(np.float32) / np.float32(255.0)) - np.float32(self.mean)) / np.float32(self.std)

    def lookup_table(self, quantization: Quantization) -> npt.NDArray[np.int8]:
        """int8 (256,): the model input byte for each pixel component, rounded half away from zero."""
        real = (np.arange(256, dtype=np.float64) / 255.0 - self.mean) / self.std
        steps = real / quantization.scale
        rounded = np.where(steps >= 0, np.floor(steps + 0.5), np.ceil(steps - 0.5))
        clipped: npt.NDArray[np.float64] = np.clip(rounded + quantization.zero_point, -128, 127)
        return clipped.astype(np.int8)


@dataclass(frozen=True)
class CameraSize:
    """What the device's camera delivers: RGB565 frames of this size, which the contract resizes as a whole."""

    width_px: int = 160
    height_px: int = 120

    def __post_init__(self) -> None:
        if not (1 <= self.width_px <= 4096 and 1 <= self.height_px <= 4096):
            raise ModelError(f"no camera gives {self} pixels", hint="write WIDTHxHEIGHT, each 1 to 4096: 160x120")

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}"


@dataclass(frozen=True)
class QuantizedModel:
    """A full-int8 .tflite file and its contract.

    With one output channel a pixel is of class 1 (drivable) from `threshold` on, a probability in (0, 1). With several
    it is of the class whose output is highest, the lower index of several that are equal. `classes` are names in the
    order of their indices, and `drivable` those of them that count as drivable; both empty where nobody has said.
    """

    name: str
    flatbuffer: bytes
    preprocessing: Preprocessing
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    camera: CameraSize = CameraSize()
    classes: tuple[str, ...] = ()
    drivable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """The name goes into C comments and string literals, so it is held to a plain alphabet."""
        if not _NAME.fullmatch(self.name):
            raise ModelError(f"{self.name!r} is no model name", hint="use letters, digits, '.', '_' and '-'")
        if not 0.0 < self.threshold < 1.0:
            raise ModelError(f"threshold {self.threshold} is no probability between 0 and 1")
        if len(self.classes) > MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ModelError(f"{len(self.classes)} classes, or two of one name", hint=f"name up to {MAX_CLASSES}")
        if strange := set(self.drivable) - set(self.classes):
            raise ModelError(
                f"{sorted(strange)[0]!r} is to count as drivable and is none of the classes",
                hint=f"classes are {', '.join(self.classes)}",
            )

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
