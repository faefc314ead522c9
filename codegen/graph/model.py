"""The quantized model and its contract: what its tensors mean.

`QuantizedModel` is what training hands to the compiler: the .tflite bytes plus everything a device needs
to use them correctly. On disk it is `NAME.tflite` with a sidecar `NAME.json`; a .tflite without a sidecar
(a model made elsewhere) gets the contract that is certain from the file alone, else a raw one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.errors import ModelError
from codegen.untrusted import printable, shown

BINARY_CLASSES = ("background", "drivable")
MAX_CLASSES = 32  # of a map: as many bits say which count as drivable
MAX_LABELS = 4096  # of a classifier
MAX_CLASS_NAME = 64  # characters
MAX_SIDE_PX = 4096
MAX_CHANNELS = 4096
SMALLEST_PROBABILITY = 1e-6
RESIZE_FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # by Pillow's names
COLOR_ORDERS = ("RGB", "BGR")
TASKS = ("segment", "classify", "grid", "raw")
VALUES = ("logits", "probabilities", "raw")
MAX_TENSORS = 64  # inputs, or outputs
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

    def unclamped(self, real: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Real values -> whole numbers, rounded half away from zero; those outside the tensor's type stay there."""
        steps = real / self.scale
        rounded: npt.NDArray[np.float64] = np.where(steps >= 0, np.floor(steps + 0.5), np.ceil(steps - 0.5))
        return rounded + self.zero_point


@dataclass(frozen=True)
class Preprocessing:
    """How camera pixels become model input. Every stage (training, goldens, firmware) uses this one.

    A pixel component v in 0..255 becomes (v / 255 - mean) / std; mean and std are a number for all channels, or one
    for each in the tensor's order. Images of another size are resized with Pillow's `resize_filter` ("box" = area
    average) after conversion to RGB, or to grey (L) for one channel.
    """

    height_px: int
    width_px: int
    channels: int = 3
    mean: float | tuple[float, ...] = 0.5
    std: float | tuple[float, ...] = 0.5
    resize_filter: str = "box"
    color_order: str = "RGB"

    def __post_init__(self) -> None:
        """Check what files state that anybody may have written, and that goes into generated sources."""
        for name, limit in (("height_px", MAX_SIDE_PX), ("width_px", MAX_SIDE_PX), ("channels", MAX_CHANNELS)):
            _check_integer(f"preprocessing {name}", getattr(self, name), limit)
        for name, low in (("mean", -1000.0), ("std", 1e-6)):
            value = getattr(self, name)
            numbers = tuple(value) if isinstance(value, list | tuple) else (value,) * self.channels
            for number in numbers[:MAX_CHANNELS]:
                _check_number(f"preprocessing {name}", number, low, 1000.0)
            if len(numbers) != self.channels:
                raise ModelError(
                    f"preprocessing {name} has {len(numbers)} values for {self.channels} channels",
                    hint="write a number, or a list of one for each channel",
                )
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, numbers if len(numbers) > 1 else numbers[0])
        for name, known in (("resize_filter", RESIZE_FILTERS), ("color_order", COLOR_ORDERS)):
            if getattr(self, name) not in known:
                what = f"{name.replace('_', ' ')} {shown(getattr(self, name))}"
                raise ModelError(f"the preprocessing contract has {what}", hint=f"known are {', '.join(known)}")

    @property
    def is_per_channel(self) -> bool:
        return isinstance(self.mean, tuple) or isinstance(self.std, tuple)

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (..., H, W, C) -> float32 of the same shape, the network's real-valued input."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return (pixels.astype(np.float32) / np.float32(255.0) - mean) / std

    def lookup_table(self, quantization: Quantization) -> npt.NDArray[np.int8]:
        """int8 (256,): the model input byte for each pixel component, rounded half away from zero.

        With a mean or std of its own for each channel, int8 (C, 256).
        """
        return np.clip(self._unclamped(quantization), -128, 127).astype(np.int8)

    def quantize(self, pixels: npt.NDArray[np.uint8], quantization: Quantization) -> npt.NDArray[np.int8]:
        """uint8 (..., H, W, C) -> int8 of the same shape, the model's input."""
        table = self.lookup_table(quantization)
        return table[pixels] if table.ndim == 1 else table[np.arange(self.channels), pixels]

    def saturated(self, quantization: Quantization) -> int:
        """How many of the 256 pixel values lie outside what the input can represent, of the worst channel."""
        quantized = self._unclamped(quantization)
        return int(np.count_nonzero((quantized < -128) | (quantized > 127), axis=-1).max())

    def _unclamped(self, quantization: Quantization) -> npt.NDArray[np.float64]:
        mean, std = np.asarray(self.mean)[..., None], np.asarray(self.std)[..., None]
        return quantization.unclamped((np.arange(256) / 255.0 - mean) / std)


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
class InputContract:
    """What one input is: a picture, or (without `image`) a raw tensor of which nobody has said more."""

    image: Preprocessing | None = None


@dataclass(frozen=True)
class OutputContract:
    """What one output is, and how it decides.

    `task`: "segment" (a map, a class for each pixel), "grid" (the same in coarse cells, each of which finds an object
    or nothing, as FOMO does), "classify" (one class), "raw" (nobody has said). `values` says what its numbers are.

    With one channel it decides for class 1 from `threshold` on, a probability in (0, 1). With several it decides for
    the highest, the lower index of several that are equal; in a grid, only from `threshold` on. `classes` are names in
    the order of their indices, and `drivable` those of them that count as drivable; both empty where nobody has said.
    """

    task: str = "raw"
    values: str = "raw"
    threshold: float = 0.5
    classes: tuple[str, ...] = ()
    drivable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Class names go into generated sources, so they are held to what those can show."""
        for what, value, known in (("task", self.task, TASKS), ("values", self.values, VALUES)):
            if value not in known:
                raise ModelError(f"an output has the {what} {shown(value)}", hint=f"known are {', '.join(known)}")
        _check_number("threshold", self.threshold, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
        for name in self.classes:
            if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_CLASS_NAME):
                hint = f"use up to {MAX_CLASS_NAME} printable characters"
                raise ModelError(f"{shown(name)} is no class name", hint=hint)
        limit = MAX_LABELS if self.task == "classify" else MAX_CLASSES
        if len(self.classes) > limit or len(set(self.classes)) < len(self.classes):
            raise ModelError(f"{len(self.classes)} classes, or two of one name", hint=f"name up to {limit}")
        for name in self.drivable:
            if name not in self.classes:
                hint = f"classes are {printable(', '.join(self.classes), 200) or 'not named'}"
                raise ModelError(f"{shown(name)} is to count as drivable and is none of the classes", hint=hint)
        if self.task == "raw" and self.classes:
            raise ModelError("a raw output has classes", hint=f"say what they are of: {', '.join(TASKS[:-1])}")
        if self.task != "segment" and self.drivable:
            raise ModelError(
                f"{shown(self.drivable[0])} is to count as drivable in no map", hint="of task segment only"
            )

    @property
    def real_threshold(self) -> float:
        """`threshold` as one of its values: the logit where those are logits."""
        return self.threshold if self.values == "probabilities" else logit(self.threshold)


@dataclass(frozen=True)
class Contract:
    """What a model's tensors mean, in the order of the file. Nothing here is guessed."""

    inputs: tuple[InputContract, ...] = (InputContract(),)
    outputs: tuple[OutputContract, ...] = (OutputContract(),)

    def __post_init__(self) -> None:
        for what, found in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not 1 <= len(found) <= MAX_TENSORS:
                raise ModelError(f"a contract for {len(found)} {what}", hint=f"state 1 to {MAX_TENSORS}")

    @property
    def image_input(self) -> int | None:
        """The index of the first input that is a picture."""
        return next((i for i, stated in enumerate(self.inputs) if stated.image is not None), None)

    @property
    def decisive_output(self) -> int | None:
        """The index of the first output that decides something."""
        return next((i for i, stated in enumerate(self.outputs) if stated.task != "raw"), None)


def segmentation(
    preprocessing: Preprocessing,
    threshold: float = 0.5,
    *,
    values: str = "logits",
    classes: tuple[str, ...] = BINARY_CLASSES,
    drivable: tuple[str, ...] = BINARY_CLASSES[1:],
) -> Contract:
    """State what networks of this project are: a picture in, a map of classes out."""
    output = OutputContract("segment", values, threshold, classes, drivable)
    return Contract((InputContract(preprocessing),), (output,))


@dataclass(frozen=True)
class QuantizedModel:
    """A .tflite file and its contract: what its tensors mean. The default is a raw model of one input and output."""

    name: str
    flatbuffer: bytes
    contract: Contract = Contract()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    camera: CameraSize = CameraSize()

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            hint = "use up to 64 letters, digits, '.', '_' and '-'"
            raise ModelError(f"{shown(self.name)} is no model name", hint=hint)

    @property
    def picture(self) -> Preprocessing | None:
        """How pictures become its first input that is one; None where none is, or nobody has said how."""
        at = self.contract.image_input
        return None if at is None else self.contract.inputs[at].image

    @property
    def decision(self) -> OutputContract:
        """The contract of its first output that decides something, else of a raw one."""
        at = self.contract.decisive_output
        return OutputContract() if at is None else self.contract.outputs[at]

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures become the input of a model that segments them; None for any other."""
        return self.picture if self.decision.task == "segment" else None

    @property
    def image(self) -> Preprocessing:
        """`preprocessing`. Raises ModelError where there is none."""
        if self.preprocessing is None:
            lacking = "what the output means" if self.picture else "how pictures become the input"
            raise ModelError(
                f"nobody has said {lacking} of {self.name}, so that it decides nothing about pictures"
                if self.decision.task in ("raw", "segment")
                else f"{self.name} is a model to {self.decision.task}, which decides nothing about a picture's pixels",
                hint="`nanou-deploy describe MODEL` shows what is known and writes the rest beside it",
            )
        return self.preprocessing

    @property
    def threshold(self) -> float:
        return self.decision.threshold

    @property
    def classes(self) -> tuple[str, ...]:
        return self.decision.classes

    @property
    def drivable(self) -> tuple[str, ...]:
        return self.decision.drivable

    def deciding(self, **changes: Any) -> QuantizedModel:
        """Return the same model with other fields of its `decision`."""
        outputs, at = list(self.contract.outputs), self.contract.decisive_output or 0
        outputs[at] = replace(outputs[at], **changes)
        return replace(self, contract=replace(self.contract, outputs=tuple(outputs)))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.flatbuffer).hexdigest()


def logit(probability: float) -> float:
    """Compute log(p / (1 - p))."""
    return math.log(probability / (1.0 - probability))


def threshold_q(real: float, output: Quantization) -> int:
    """Smallest int8 output that counts as drivable: real value >= `real`, a `real_threshold`. 128 means "never"."""
    # The slack keeps a threshold that is exactly a step (logit 0 at the zero point) on that step.
    return min(128, max(-128, math.ceil(real / output.scale - 1e-9) + output.zero_point))
