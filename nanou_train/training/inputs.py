"""Check what a network is fed (shape, normalization, masks), and take arrays as training data.

Networks here take float32 (N, H, W, C) in -1..1, the preprocessing contract's (pixel / 255 - 0.5) / 0.5, because
that is what the firmware computes. Anything else trains, and then fails on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.graph.model import Preprocessing
from nanou_train.data.dataset import Split
from nanou_train.data.images import IGNORE
from nanou_train.errors import DataError

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-3
NORMALIZE = "pixels become input by nanou_train.networks.architectures.preprocessing_of(model).normalize(pixels): -1..1"


def check_input(model: keras.Model, x: Any) -> None:
    """Check that `x` is a normalized batch for `model`. Raises DataError.

    Shape and type are always checked; values where there are any, so not while a tf.function is traced.
    """
    wanted, shape = tuple(model.inputs[0].shape[1:]), tuple(getattr(x, "shape", ()))
    if len(shape) != 4 or any(w not in (None, s) and s is not None for w, s in zip(wanted, shape[1:], strict=True)):
        raise DataError(
            f"x is {_shown(shape)}, {model.name} takes (N, {', '.join(map(str, wanted))})", hint=_reshape(shape, wanted)
        )
    kind = getattr(x.dtype, "name", str(x.dtype))
    if not kind.startswith(("float", "bfloat")):
        raise DataError(f"x is {kind}: pixels, not normalized", hint=NORMALIZE)
    values = _values(x)
    if values is None or not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError("x has values that are not finite", hint="look at what makes it")
    if low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        raise DataError(f"x has values from {low:g} to {high:g}, not normalized to -1..1", hint=NORMALIZE)


def check_masks(model: keras.Model, x: Any, y: Any) -> None:
    """Check that `y` is a batch of masks (N, H, W) or (N, H, W, 1) that belongs to `x`. Raises DataError."""
    shape, images = tuple(getattr(y, "shape", ())), tuple(x.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 1) or shape[:3] != images[:3]:
        raise DataError(
            f"y is {_shown(shape)}, x is {_shown(images)}", hint="one mask for each image: (N, H, W) or (N, H, W, 1)"
        )
    values, outputs = _values(y), model.outputs[0].shape[-1]
    top = 1 if outputs == 1 else outputs - 1
    if values is None:
        return
    known = values[values != IGNORE]
    if known.size and (known.min() < 0 or known.max() > top):
        raise DataError(
            f"y has values from {known.min():g} to {known.max():g}, {model.name} tells 0 to {top} apart",
            hint=f"masks hold 0 and 1, or class indices, and {IGNORE} where nobody has labelled",
        )
    if top == 1 and known.size < values.size and not known.any():
        raise DataError(
            f"y has 0 and {IGNORE} only, and {IGNORE} is what nobody has labelled",
            hint="masks hold 0 and 1: divide 0 and 255 by 255",
        )


def as_split(data: Any, model: keras.Model, what: str) -> Split:
    """Make a Split of training data: one as it is, arrays (x, y), or anything that gives such batches, as tf.data does.

    `x` is uint8 pixels, or float normalized to -1..1, which is brought back to the 8 bits that a camera gives; `y` as
    in `check_masks`. `what` names the data in errors. Raises DataError.
    """
    if isinstance(data, Split):
        if data.images.dtype != np.uint8:
            raise DataError(f"the {what} images are {data.images.dtype}, not uint8", hint="a Split holds pixels")
        return data
    x, y = data if isinstance(data, tuple) else _gathered(data, what)
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != np.uint8:
        check_input(model, x)
        if len(x) and x.min() >= 0 and x.max() > 0:
            raise DataError(
                f"the {what} x has no value below 0: scaled to 0..1, not to -1..1",
                hint=f"{NORMALIZE}; or give the pixels themselves, uint8",
            )
        contract = Preprocessing(1, 1)
        x = np.rint((x * contract.std + contract.mean) * 255.0).astype(np.uint8)
    if x.ndim != 4:
        raise DataError(f"the {what} x is {_shown(x.shape)}", hint="give (N, H, W, C)")
    check_masks(model, x, y)
    masks = y.reshape(x.shape[:3]).astype(np.uint8)
    return Split(x, masks, tuple(f"{what}_{index:05d}" for index in range(len(x))))


def _gathered(batches: Any, what: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    try:
        pairs = [(np.asarray(x), np.asarray(y)) for x, y in batches]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the {what} data are a {type(batches).__name__}", hint="give a Split, (x, y), or batches of (x, y)"
        ) from error
    if not pairs:
        raise DataError(f"the {what} data are empty", hint="give at least one batch")
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _values(x: Any) -> npt.NDArray[Any] | None:
    """Return the numbers of an array or eager tensor; None of a symbolic one."""
    if hasattr(x, "numpy"):
        try:
            return np.asarray(x.numpy())
        except (NotImplementedError, AttributeError):
            return None
    return x if isinstance(x, np.ndarray) else None


def _shown(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _reshape(shape: Sequence[Any], wanted: Sequence[Any]) -> str:
    if tuple(shape) == tuple(wanted):
        return "give a batch: x[None]"
    if len(shape) == 4 and (shape[2], shape[3], shape[1]) == tuple(wanted):
        return "channels come last: np.moveaxis(x, 1, -1)"
    return "resize the images, or build the model for their size"
