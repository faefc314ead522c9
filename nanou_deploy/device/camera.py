"""What a device must make of a picture from its camera: RGB565 bytes -> model input -> mask, in Python.

This is the truth that nanou_camera.c and firmware/app are compared with. It shares nothing with them: pictures are
resized by Pillow, as in training, and the model is run by TensorFlow Lite Micro.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.graph import contract
from codegen.graph.contract import input_lookup
from codegen.graph.model import CameraSize, QuantizedModel
from codegen.tflite import interpreters as reference
from codegen.tflite.load import load_graph
from nanou_deploy.errors import DeployError
from nanou_train.data.images import camera_pixels

Int8Array = npt.NDArray[np.int8]
Pixels = npt.NDArray[np.uint8]


def decode_rgb565(data: bytes, size: CameraSize, *, big_endian: bool) -> Pixels:
    """RGB565 -> uint8 (H, W, 3), high bits repeated below, so that 31 and 63 become 255. Raises DeployError where
    `data` is no picture of `size`."""
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
    """uint8 (H, W, 3) -> RGB565 as a sensor sends it: the low bits are dropped."""
    red, green, blue = (pixels[..., i].astype(np.uint16) for i in range(3))
    packed = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    return packed.astype(">u2" if big_endian else "<u2").tobytes()


def camera_frame(image: Image.Image, size: CameraSize, *, big_endian: bool) -> bytes:
    """Any picture as the camera would have delivered it: RGB565 bytes of `size`."""
    scaled = image.convert("RGB").resize((size.width_px, size.height_px), Image.Resampling.BICUBIC)
    return encode_rgb565(np.asarray(scaled, np.uint8), big_endian=big_endian)


def model_input(model: QuantizedModel, frame: bytes, *, big_endian: bool) -> Int8Array:
    """RGB565 bytes of the model's camera size -> int8 (H, W, channels), the model's input."""
    pixels = decode_rgb565(frame, model.camera, big_endian=big_endian)
    resized = camera_pixels(Image.fromarray(pixels), Path("camera frame"), model.preprocessing)
    return input_lookup(model, load_graph(model.flatbuffer))[resized]


def pack_mask(model: QuantizedModel, output: Int8Array) -> Pixels:
    """int8 (..., H, W, channels) -> uint8 (..., H, ceil(W / 8)): 1 where drivable, leftmost pixel in bit 7."""
    graph = load_graph(model.flatbuffer)
    classes = contract.decide_classes(output, contract.decision_threshold(model, graph))
    return contract.pack_mask(classes, contract.drivable_classes(model, graph))


def camera_masks(model: QuantizedModel, frames: list[bytes], *, big_endian: bool) -> Pixels:
    """RGB565 pictures -> bit-packed masks uint8 (N, H, ceil(W / 8)), by TFLM."""
    inputs = np.stack([model_input(model, frame, big_endian=big_endian) for frame in frames])
    outputs = reference.run_tflm(model.flatbuffer, inputs)
    shape = load_graph(model.flatbuffer).output.shape
    return pack_mask(model, outputs.reshape(len(frames), *shape[1:]))
