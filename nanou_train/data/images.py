"""Read image files, and bring pixels and masks to a model's size by the preprocessing contract.

Files may be a stranger's: only regular files are opened, and their size and their pixels are limited before any is
decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable, read_bounded
from nanou_train.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    from codegen.graph.model import Preprocessing

Pixels = npt.NDArray[np.uint8]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")  # by content; some of Pillow's others start other programs
ANIMATED = (*FORMATS, "GIF")  # of which one file may hold many frames
MOST_FILE_BYTES = 256 << 20
MOST_PIXELS = 64_000_000
MOST_FRAMES = 100_000
FRAME_MS = 100  # what viewers show a frame for that states no duration
IGNORE = 255  # of class indices: pixels that nobody has labelled
_ORIENTATION = 0x0112
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # Pillow's single-channel modes of more than 8 bits


# What Pillow's decoders raise for damaged files, which is more than they say.
_DAMAGED = (OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
            RuntimeError, MemoryError, struct.error)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded file. `orientation` is its EXIF tag, by which `image` was turned upright; 1 is none.

    With `lossy`, its compression has changed values: JPEG, and WebP unless it says that it has not.
    """

    path: Path
    image: Image
    orientation: int = 1
    lossy: bool = False


def read_picture(path: Path, *, upright: bool = True) -> Picture:
    """Decode an image file, turned upright where the camera noted its orientation, unless not `upright`.

    Raises DataError for what is no regular file of one picture, or beyond MOST_FILE_BYTES or MOST_PIXELS.
    """
    with _reading(path):
        return _decode_only(path, read_bounded(path, MOST_FILE_BYTES), upright)


def decode_picture(data: bytes, name: Path) -> Picture:
    """Decode the bytes of a picture that another file holds, `name` in errors. Raises DataError as `read_picture`."""
    with _reading(name):
        return _decode_only(name, data, upright=False)


def read_frames(path: Path) -> Iterator[tuple[Picture, int | None]]:
    """Decode every frame of an image file, one after the other, each with the time at which it is shown, in ms.

    The one frame of a file that is no animation has no time. Raises DataError as `read_picture`, and beyond
    MOST_FRAMES.
    """
    with _reading(path), _opened(read_bounded(path, MOST_FILE_BYTES), ANIMATED) as image:
        _check_size(image)
        if (count := _frame_count(image)) == 1:
            yield _decoded(path, image, upright=True), None
            return
        if count > MOST_FRAMES:
            raise ValueError(f"it holds {count:,} pictures, more than {MOST_FRAMES:,}")
        shown_ms = 0
        for number in range(count):
            image.seek(number)
            yield Picture(path, image.convert("RGB")), shown_ms
            shown_ms += min(60_000, int(image.info.get("duration") or FRAME_MS))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of whatever decoders raise which file it was, as DataError."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except Image.DecompressionBombError as error:
        raise DataError(
            f"cannot read {path} as an image: it has more than {MOST_PIXELS:,} pixels", hint="save it smaller"
        ) from error
    except _DAMAGED as error:
        said = printable(str(error), 200)
        if isinstance(error, UnidentifiedImageError):
            said = "it is no PNG, JPEG, WebP, BMP, TIFF, PPM"
        elif isinstance(error, IsADirectoryError):
            said = "it is a folder"
        raise DataError(f"cannot read {path} as an image: {said}", hint="remove it or save it again") from error


def _check_size(image: ImageFile) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width}x{image.height} pixels, more than {MOST_PIXELS:,}")


def _frame_count(image: ImageFile) -> int:
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # MPO: cameras add a small preview


def _decode_only(path: Path, data: bytes, upright: bool) -> Picture:
    with _opened(data, FORMATS) as image:
        _check_size(image)
        if (count := _frame_count(image)) > 1:
            raise ValueError(f"it holds {count} pictures")
        return _decoded(path, image, upright)


def _decoded(path: Path, image: ImageFile, upright: bool) -> Picture:
    from PIL import ImageOps

    assert image.fp is not None
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and not _is_lossless_webp(image.fp))
    with _silent():
        orientation = image.getexif().get(_ORIENTATION, 1)
        image.load()
        if image.format == "TIFF":  # which Pillow has turned by now
            turned = image.copy() if upright else _turned_back(image, orientation)
        else:
            turned = ImageOps.exif_transpose(image) if upright else image.copy()
    return Picture(path, turned, orientation if upright and orientation in range(2, 9) else 1, lossy)


def _turned_back(image: ImageFile, orientation: int) -> Image:
    """Return the picture as it is stored; TIFF 6.0 and EXIF number orientations alike."""
    from PIL.Image import Transpose

    ways = (Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.TRANSPOSE,
            Transpose.ROTATE_90, Transpose.TRANSVERSE, Transpose.ROTATE_270)  # fmt: skip
    return image.transpose(ways[orientation - 2]) if orientation in range(2, 9) else image.copy()


def _is_lossless_webp(file: IO[bytes]) -> bool:
    """Whether the picture is in a chunk VP8L: https://developers.google.com/speed/webp/docs/riff_container."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        if head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8L"
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, io.SEEK_CUR)
    return False


def _opened(data: bytes, formats: tuple[str, ...]) -> ImageFile:
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  these two register themselves

    with _silent():
        return Image.open(io.BytesIO(data), formats=formats)


@contextmanager
def _silent() -> Iterator[None]:
    """Without Pillow's warnings about files: of sizes, for which our limit is lower, and of tags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_depth(picture: Picture) -> None:
    """Raise DataError for one 16-bit or floating-point channel, which Pillow would cut off at 255 without a word.

    (It reads 16-bit RGB files by their high bytes, which is right.)
    """
    if picture.image.mode in WIDE_MODES:
        raise DataError(
            f"image {picture.path} has Pillow mode {picture.image.mode}: more than 8 bits per channel",
            hint="save it with 8 bits per channel, scaled as you want it to look",
        )


def camera_pixels(picture: Picture, contract: Preprocessing) -> Pixels:
    """Resize an image to uint8 (H, W, channels) of the contract's size and colour order, by its filter.

    Transparency is dropped. Raises DataError as `check_depth`.
    """
    check_depth(picture)
    check_contract(contract)
    converted = picture.image.convert("RGB" if contract.channels == 3 else "L")
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
    index. For two classes this is: class 1 where its share is at least one half. IGNORE is one more, which loses ties.
    """
    from PIL import Image

    check_contract(contract)
    found = [*range(class_count - 1, -1, -1), *((IGNORE,) if (classes == IGNORE).any() else ())]
    shares = [
        np.asarray(_resize(Image.fromarray(np.where(classes == index, np.uint8(255), np.uint8(0))), contract))
        for index in found
    ]
    winner: Pixels = np.array(found, np.uint8)[np.argmax(np.stack(shares), axis=0)]
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
