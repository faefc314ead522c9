"""Read image files, and bring pixels and masks to a model's size by the preprocessing contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nanou_train.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from codegen.graph.model import Preprocessing

Pixels = npt.NDArray[np.uint8]
SUFFIXES = (".png", ".jpg", ".jpeg")
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # Pillow's single-channel modes of more than 8 bits


def open_image(path: Path) -> Image:
    """Load an image, turned upright where the camera noted its orientation. Raises DataError."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {path} as an image: {error}", hint="remove it or save it again") from error
    return upright


def camera_pixels(image: Image, path: Path, contract: Preprocessing) -> Pixels:
    """Resize an image to uint8 (H, W, channels) of the contract's size and colour order, by its filter.

    Transparency is dropped. Raises DataError for an image of one 16-bit or floating-point channel, because Pillow
    would cut its values off at 255 without a word (it reads 16-bit RGB files by their high bytes, which is right).
    """
    if image.mode in WIDE_MODES:
        raise DataError(
            f"image {path} has Pillow mode {image.mode}: more than 8 bits per channel",
            hint="save it with 8 bits per channel, scaled as you want it to look",
        )
    check_contract(contract)
    converted = image.convert("RGB" if contract.channels == 3 else "L")
    pixels = np.asarray(_resize(converted, contract), np.uint8).reshape(
        contract.height_px, contract.width_px, contract.channels
    )
    return np.ascontiguousarray(pixels[..., ::-1]) if contract.color_order == "BGR" else pixels


def grey_pixels(image: Pixels) -> Pixels:
    """Convert RGB uint8 (H, W, 3) to (H, W, 1) by Pillow's luma (ITU-R 601-2)."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"), np.uint8)[..., None]


def vote(classes: Pixels, class_count: int, contract: Preprocessing) -> Pixels:
    """Resize class indices uint8 (H, W) to the contract's size: each pixel takes the class of the greatest share.

    Each class's indicator is resized by the contract's filter; the greatest share wins, a tie goes to the higher
    index. For two classes this is: class 1 where its share is at least one half.
    """
    from PIL import Image

    check_contract(contract)
    shares = [
        np.asarray(_resize(Image.fromarray(np.where(classes == index, np.uint8(255), np.uint8(0))), contract))
        for index in range(class_count)
    ]
    winner: Pixels = (class_count - 1 - np.argmax(np.stack(shares[::-1]), axis=0)).astype(np.uint8)
    return winner


def check_contract(contract: Preprocessing) -> None:
    """Raise DataError for a channel count that pictures cannot be brought to."""
    if contract.channels not in (1, 3):
        raise DataError(f"the preprocessing contract has {contract.channels} channels", hint="known are 1 and 3")


def _resize(image: Image, contract: Preprocessing) -> Image:
    from PIL import Image as PillowImage

    resample = PillowImage.Resampling[contract.resize_filter.upper()]
    # Columns first: left to itself, Pillow 13 takes rows first for some sizes and older ones never do.
    columns = image.resize((contract.width_px, image.height), resample)
    return columns.resize((contract.width_px, contract.height_px), resample)
