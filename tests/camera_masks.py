"""What a device must make of a picture of its camera, as an oracle: RGB565 bytes -> model input -> packed mask.

It shares nothing with nanou_camera.c and firmware/app, which are compared with it: pictures are resized by Pillow, as
in training, the model is run by TensorFlow Lite Micro, and NumPy packs the bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.graph.contract import decide_classes, decision_threshold, drivable_classes, quantize_pixels
from codegen.graph.model import QuantizedModel
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from nanou_deploy.device.rgb565 import decode_rgb565
from nanou_train.data.images import Picture, camera_pixels


def camera_masks(model: QuantizedModel, frames: list[bytes], *, big_endian: bool) -> npt.NDArray[np.uint8]:
    """RGB565 pictures of the model's camera size -> bit-packed masks uint8 (N, H, ceil(W / 8))."""
    graph = load_graph(model.flatbuffer)
    inputs = np.stack([_model_input(model, frame, big_endian=big_endian) for frame in frames])
    outputs = run_tflm(model.flatbuffer, inputs).reshape(len(frames), *graph.output.shape[1:])
    return pack_mask(decide_classes(outputs, decision_threshold(model, graph)), drivable_classes(model, graph))


def pack_mask(classes: npt.NDArray[np.uint8], drivable: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Class indices (..., W) -> one bit for each pixel, 1 where drivable, as `nanou_mask_row`: (..., (W + 7) // 8).

    The leftmost pixel is the highest bit, as in a PBM file (P4); what is left of the last byte is 0.
    """
    return np.packbits(np.isin(classes, drivable), axis=-1)


def _model_input(model: QuantizedModel, frame: bytes, *, big_endian: bool) -> npt.NDArray[np.int8]:
    pixels = decode_rgb565(frame, model.camera, big_endian=big_endian)
    resized = camera_pixels(Picture(Path("frame"), Image.fromarray(pixels)), model.preprocessing)
    return quantize_pixels(model, load_graph(model.flatbuffer), resized)
