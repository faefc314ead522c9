"""Convert an ONNX file into a SavedModel with channels last, by onnx2tf; for the conversion's own process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codegen.untrusted import read_bounded, shown
from nanou_deploy.convert.source import MOST_BYTES
from nanou_deploy.errors import DeployError

# onnx2tf tries every model with this file of 20 pictures, and downloads it where it is not in the current folder.
_TRIAL = "calibration_image_sample_data_20x128x128x3_float32.npy"


def convert_onnx(path: Path, folder: Path, size: tuple[int, int] | None) -> dict[str, str]:
    """Write the SavedModel `folder`; returns the sha256 of each file of weights beside `path`, by its name.

    `size` is height and width where the file leaves them open. Works in the current folder, which is the process's own.
    Raises DeployError.
    """
    import onnx

    try:
        model = onnx.load_from_string(read_bounded(path, MOST_BYTES))
        files = _take_in_weights(model, path)
        onnx.checker.check_model(model)
    except DeployError:
        raise
    except Exception as error:  # protobuf's DecodeError, and whatever the checker finds
        raise DeployError(
            f"{path} is no ONNX model: {str(error).strip()[:200]}",
            hint="export it again, weights in the same file (external_data=False)",
        ) from error
    shapes = [_fixed_input(path, one, size) for one in _inputs(model)]
    Path("model.onnx").write_bytes(model.SerializeToString())
    np.save(_TRIAL, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    import onnx2tf

    try:
        onnx2tf.convert(
            input_onnx_file_path="model.onnx",
            output_folder_path=str(folder),
            output_signaturedefs=True,
            overwrite_input_shape=shapes,
            not_use_onnxsim=True,
            non_verbose=True,
        )
    except SystemExit as error:  # how it ends where it cannot convert
        raise DeployError(
            f"onnx2tf cannot convert {path}", hint="export it with another opset: torch.onnx.export(opset_version=17)"
        ) from error
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _take_in_weights(model: Any, path: Path) -> dict[str, bytes]:
    """Read weights that lie in files beside the model, as PyTorch writes them by default since 2.9; returns the files.

    Behind it no tensor refers to a file. Raises DeployError where one would be anywhere else, is missing, or is too
    large.
    """
    files: dict[str, bytes] = {}
    for tensor in _external_tensors(model):
        stated = {entry.key: entry.value for entry in tensor.external_data}
        name = stated.get("location", "")
        if name not in files:
            files[name] = _beside(path, name, MOST_BYTES - sum(map(len, files.values())))
        offset, length = int(stated.get("offset", 0)), int(stated.get("length", len(files[name])))
        if offset < 0 or length < 0 or offset + length > len(files[name]):
            raise DeployError(f"{path}: weights reach beyond {shown(name)}", hint="copy both files again")
        tensor.raw_data = files[name][offset : offset + length]
        del tensor.external_data[:]
        tensor.ClearField("data_location")
    return files


def _external_tensors(message: Any) -> Iterator[Any]:
    """Find the tensors whose values lie in a file: initializers, and those of attributes, subgraphs and functions."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if hasattr(value, "__len__") else (value,):
            if field.message_type.name == "TensorProto":
                if part.external_data or part.data_location == part.EXTERNAL:
                    yield part
            else:
                yield from _external_tensors(part)


def _beside(path: Path, name: str, most_bytes: int) -> bytes:
    """Read a file of the model's folder by its plain name."""
    beside = path.with_name(name) if name and Path(name).name == name and name != ".." else None
    if beside is None or beside.is_symlink() or not beside.is_file():
        raise DeployError(
            f"{path} keeps weights in {shown(name)}, which is no file beside it",
            hint="copy both files, or export again with weights in the same file (external_data=False)",
        )
    return read_bounded(beside, most_bytes)


def _inputs(model: Any) -> list[Any]:
    """Return inputs that are no weights."""
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    return [one for one in graph.input if one.name not in weights]


def _fixed_input(path: Path, given: Any, size: tuple[int, int] | None) -> str:
    """NAME:1,C,H,W as onnx2tf takes it."""
    name, dims = given.name, given.type.tensor_type.shape.dim
    shape = [int(dim.dim_value) for dim in dims]
    if shape:
        shape[0] = shape[0] or 1
    if size is not None and len(shape) == 4:
        shape[2:] = [known or asked for known, asked in zip(shape[2:], size, strict=True)]
    if not all(0 < dim <= 1 << 20 for dim in shape):
        raise DeployError(
            f"{path}: input {name!r} has the shape ({', '.join(str(dim or '?') for dim in shape)})",
            hint="say height and width with --size HxW, or export the model with fixed sizes",
        )
    return f"{name}:{','.join(map(str, shape))}"
