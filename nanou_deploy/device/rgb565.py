"""Convert between RGB565, as cameras and the device protocol have pictures, and pixels of 8 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.graph.model import CameraSize
from nanou_deploy.errors import DeployError

Pixels = npt.NDArray[np.uint8]


def decode_rgb565(data: bytes, size: CameraSize, *, big_endian: bool) -> Pixels:
    """Expand RGB565 to uint8 (H, W, 3), high bits repeated below, so that 31 and 63 become 255.

    Raises DeployError where `data` is no picture of `size`.
    """
    if len(data) != 2 * size.width_px * size.height_px:
        raise DeployError(
            f"{len(data)} bytes are no RGB565 picture of {size}",
            hint=f"it has {2 * size.width_px * size.height_px} bytes; --camera states another size",
        )
    pixels = np.frombuffer(data, ">u2" if big_endian else "<u2").reshape(size.height_px, size.width_px).astype(np.int32)
    red, green, blue = pixels >> 11, (pixels >> 5) & 63, pixels & 31
    expanded = [(red << 3) | (red >> 2), (green << 2) | (green >> 4), (blue << 3) | (blue >> 2)]
    return np.stack(expanded, axis=-1).astype(np.uint8)


def encode_rgb565(pixels: Pixels, *, big_endian: bool) -> bytes:
    """Pack uint8 (H, W, 3) into RGB565 as a sensor sends it: the low bits are dropped."""
    red, green, blue = (pixels[..., i].astype(np.uint16) for i in range(3))
    packed = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    return packed.astype(">u2" if big_endian else "<u2").tobytes()


def camera_frame(image: Image.Image, size: CameraSize, *, big_endian: bool) -> bytes:
    """Turn any picture into what the camera would have delivered: RGB565 bytes of `size`."""
    scaled = image.convert("RGB").resize((size.width_px, size.height_px), Image.Resampling.BICUBIC)
    return encode_rgb565(np.asarray(scaled, np.uint8), big_endian=big_endian)
