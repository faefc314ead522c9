"""Read and write soft masks: how probable each class is at each pixel, said by any program.

A PNG of one 16-bit channel holds the probability of the drivable class, 0 to 65535. A .npy file (NumPy's format, of
floats) holds that as (H, W) in 0..1, or the probability of each class as (H, W, classes), which add up to 1.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable, read_bounded
from nanou_train.data.images import MOST_FILE_BYTES, MOST_PIXELS, read_picture
from nanou_train.data.labels import MAX_CLASSES
from nanou_train.data.pairs import PictureFiles
from nanou_train.errors import DataError

SUFFIXES = (".npy", ".png")
FULL = 65535
_SUM_TOLERANCE = 0.01
_MOST_BYTES = 4 * MOST_FILE_BYTES
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I")
Shares = npt.NDArray[np.float32]


def find_soft_masks(folder: Path) -> PictureFiles:
    """List the soft masks below a folder by their path without suffix. Raises DataError, also for two of one name."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint="give the folder of the soft masks")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()):
        if path.name.startswith("."):
            continue
        name = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            raise DataError(f"{found[name]} and {path} have the same name up to the suffix", hint="keep one")
        found[name] = path
    if not found:
        raise DataError(f"no soft masks in {folder}", hint="put 16-bit PNG or .npy files there")
    return PictureFiles(found)


def read_soft_mask(path: Path, class_count: int = 2) -> Shares:
    """Read the probability of each class, float32 (H, W, classes). Raises DataError naming what is wrong."""
    values = _read_npy(path) if path.suffix.lower() == ".npy" else _read_png(path)
    if values.ndim == 2:
        if class_count != 2:
            raise DataError(
                f"soft mask {path} has one probability a pixel, and there are {class_count} classes",
                hint=f"save (H, W, {class_count}) as .npy",
            )
        values = np.stack([1 - values, values], axis=-1)
    if values.ndim != 3 or values.shape[2] != class_count or 0 in values.shape:
        raise DataError(
            f"soft mask {path} is {'x'.join(map(str, values.shape))}, and there are {class_count} classes",
            hint=f"save (H, W, {class_count}), classes last, or of two classes (H, W)",
        )
    _check_values(path, values)
    return np.clip(values, 0, 1)


def _check_values(path: Path, values: Shares) -> None:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < -_SUM_TOLERANCE or high > 1 + _SUM_TOLERANCE:
        raise DataError(
            f"soft mask {path} has values from {low:g} to {high:g}: no probabilities",
            hint="of logits, save their sigmoid, or the softmax over classes",
        )
    if np.abs(values.sum(axis=-1) - 1).max() > _SUM_TOLERANCE:
        raise DataError(f"soft mask {path}: the classes of a pixel do not add up to 1", hint="save their softmax")


def _read_png(path: Path) -> Shares:
    image = read_picture(path, upright=False).image
    if image.mode not in _WIDE_MODES:
        raise DataError(
            f"soft mask {path} has Pillow mode {image.mode}, not one 16-bit channel",
            hint="save 65535 times the probability of the drivable class in 16 bits: 8 bits may be a mask of classes",
        )
    return np.asarray(np.asarray(image, np.float64) / FULL, np.float32)


def _read_npy(path: Path) -> Shares:
    """Check the header before anything is allocated; nothing is unpickled."""
    hint = "save floats with numpy.save, without pickling"
    try:
        stream = io.BytesIO(read_bounded(path, _MOST_BYTES))
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"its format is version {version}")
        shape, by_column, dtype = read(stream)
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise ValueError(f"it holds {dtype}, not floats")
        if math.prod(shape) > MOST_PIXELS * MAX_CLASSES or (len(shape) > 1 and shape[0] * shape[1] > MOST_PIXELS):
            raise ValueError(f"it has more than {MOST_PIXELS:,} pixels")
        data = stream.read()
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError("it is shorter or longer than its header says")
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        raise DataError(f"cannot read {path} as .npy: {printable(str(error), 200)}", hint=hint) from error
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")
    return np.asarray(np.ascontiguousarray(values), np.float32)


def soft_mask_bytes(shares: Shares) -> tuple[str, bytes]:
    """Encode (H, W, classes) as a file: its suffix and content; PNG of two classes, else .npy of float16."""
    from PIL import Image

    stream = io.BytesIO()
    if shares.shape[2] == 2:
        Image.fromarray(np.rint(shares[..., 1] * FULL).astype(np.uint16)).save(stream, "PNG")
        return ".png", stream.getvalue()
    np.save(stream, shares.astype(np.float16))
    return ".npy", stream.getvalue()


def resized(shares: Shares, width_px: int, height_px: int, resample: str = "bilinear") -> Shares:
    """Resize (H, W, classes) by one of Pillow's filters, class by class."""
    from PIL import Image

    if shares.shape[:2] == (height_px, width_px):
        return shares
    parts = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(shares[..., index])).resize(
                (width_px, height_px), Image.Resampling[resample.upper()]
            )
        )
        for index in range(shares.shape[2])
    ]
    return np.asarray(np.clip(np.stack(parts, axis=-1), 0, 1), np.float32)


def of_names(files: Mapping[str, Path], names: Sequence[str], what: str) -> dict[str, Path]:
    """Take the soft mask of each name. Raises DataError that counts and names those without."""
    if missing := [name for name in names if name not in files]:
        shown = printable(", ".join(missing[:3]), 200) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of {len(names)} {what} have no soft mask: {shown}",
            hint="a soft mask has its picture's path up to the suffix",
        )
    return {name: files[name] for name in names}


def logits_of(shares: Shares, *, least: float = 1e-4) -> Shares:
    """Turn probabilities (..., classes) into logits float32: of two classes (..., 1), else (..., classes).

    Probabilities are kept `least` away from 0 and 1: no program is that certain, and a loss would be of that alone.
    """
    inside = np.clip(shares.astype(np.float64), least, 1 - least)
    odds = inside[..., 1:] / (1 - inside[..., 1:]) if shares.shape[-1] == 2 else inside
    return np.asarray(np.log(odds), np.float32)
