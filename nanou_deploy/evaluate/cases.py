"""Read cases for a model of any task from a folder, as the bytes that its file takes: pictures, or .npy files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.canonicalize.border import before
from codegen.graph.contract import class_names, quantize_pixels
from codegen.graph.graph import Graph, Tensor, split_tensors
from codegen.graph.model import Quantization, QuantizedModel
from nanou_deploy.errors import DeployError
from nanou_train.data.arrays import open_array
from nanou_train.data.images import SUFFIXES, camera_pixels, read_picture

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
NPY_BYTES = 1 << 30  # of one file
MAX_CASES = 1_000_000


@dataclass(frozen=True, eq=False)
class LabelledCases:
    """Cases with the class that each is of. `frames` is uint8 (N, input bytes); `skipped` files were none."""

    frames: Bytes
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    paths: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TensorCases:
    """Cases of a raw model, and the values that its outputs are to have, by index, where such a file is there."""

    frames: Bytes
    expected: Mapping[int, Values]


def read_labelled(model: QuantizedModel, graph: Graph, folder: Path) -> LabelledCases:
    """Read FOLDER/CLASS/FILE: pictures for a model that takes one, else a .npy file a case.

    Folders are named as the contract's classes, or by their indices where it names none. Raises DeployError where one
    is not, or holds nothing; DataError where a picture cannot be read.
    """
    names = class_names(model, graph)
    indices = _class_folders(model, names, folder)
    read, suffixes = _reader(model, graph)
    frames, labels, paths, skipped = [], [], [], []
    for name, index in indices.items():
        for path in sorted((folder / name).iterdir()):
            if path.name.startswith("."):
                continue
            if path.suffix.lower() not in suffixes or not path.is_file():
                skipped.append(f"{name}/{path.name}")
                continue
            frames.append(read(path))
            labels.append(index)
            paths.append(f"{name}/{path.name}")
    if not frames:
        raise DeployError(f"{folder} holds no case", hint=f"files are to end in {', '.join(suffixes)}")
    return LabelledCases(np.stack(frames), np.array(labels), names, tuple(paths), tuple(skipped))


def _class_folders(model: QuantizedModel, names: tuple[str, ...], folder: Path) -> Mapping[str, int]:
    """Each folder of a class, and the class's index."""
    if not folder.is_dir():
        raise DeployError(f"{folder} is no folder", hint="give a folder with one folder for each class")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    known = names if model.classes else tuple(map(str, range(len(names))))
    if unknown := [name for name in found if name not in known]:
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        hint = f"classes are {listed}" + ("" if model.classes else "; `nanou-deploy describe --classes` names them")
        raise DeployError(f"{folder / unknown[0]} is named as none of the model's classes", hint=hint)
    if not found:
        raise DeployError(f"{folder} holds no folders of classes", hint=f"make one for each of {', '.join(known[:12])}")
    return {name: known.index(name) for name in found}


def _reader(model: QuantizedModel, graph: Graph) -> tuple[Callable[[Path], Bytes], tuple[str, ...]]:
    """Return what reads one file of a case, and the suffixes of such files."""
    if len(graph.file_inputs) != 1:
        raise DeployError(f"{model.name} has {len(graph.file_inputs)} inputs", hint="classes take models of one input")
    picture = model.picture
    if picture is None:
        tensor = graph.tensor(graph.file_inputs[0])
        return (lambda path: _tensor_bytes(_load_npy(path), tensor, path, cases=False)[0]), (".npy",)

    def read(path: Path) -> Bytes:
        pixels = camera_pixels(read_picture(path), picture)
        frame: Bytes = before(graph, quantize_pixels(model, graph, pixels).reshape(1, -1))[0]
        return frame

    return read, SUFFIXES


def read_tensors(graph: Graph, folder: Path) -> TensorCases:
    """Read a folder's input.npy, of several input_0.npy, input_1.npy..., and the outputs that are named likewise.

    Each has one case for each of its first index. Floating-point values are real ones, which a quantized tensor gets
    rounded; others are to have the tensor's own type.
    """
    tensors = [graph.tensor(index) for index in graph.file_inputs]
    paths = [folder / named_file("input", i, len(tensors)) for i in range(len(tensors))]
    if missing := [path for path in paths if not path.is_file()]:
        if any((folder / part).is_dir() for part in ("train", "val", "test")):
            raise DeployError(
                f"{folder} is a data set of pictures, and nobody has said what the model's outputs mean",
                hint="`nanou-deploy describe MODEL --task segment --classes NAME,NAME --drivable NAME` writes it down",
            )
        raise DeployError(
            f"{missing[0]} is not there",
            hint="a raw model takes input.npy (and output.npy to compare with); `nanou-deploy describe` says what else",
        )
    parts = [
        _tensor_bytes(_load_npy(path), tensor, path, cases=True) for path, tensor in zip(paths, tensors, strict=True)
    ]
    if len({len(part) for part in parts}) > 1:
        raise DeployError(f"the inputs have {', '.join(str(len(part)) for part in parts)} cases, not as many each")
    count = len(graph.file_outputs)
    expected = {}
    for i in range(count):
        if (path := folder / named_file("output", i, count)).is_file():
            expected[i] = _expected(_load_npy(path), graph.tensor(graph.file_outputs[i]), path, len(parts[0]))
    return TensorCases(np.concatenate(parts, axis=1), expected)


def named_file(what: str, index: int, count: int) -> str:
    """Name the file of one of `count` inputs or outputs: input.npy, or input_0.npy and so on."""
    return f"{what}_{index}.npy" if count > 1 else f"{what}.npy"


def _load_npy(path: Path) -> Values:
    """Load an array of at most NPY_BYTES."""
    mapped = open_array(path)
    if mapped.nbytes > NPY_BYTES:
        raise DeployError(f"{path} has {mapped.nbytes:,} bytes", hint=f"give at most {NPY_BYTES:,} in a file")
    return np.array(mapped)


def _tensor_bytes(values: Values, tensor: Tensor, path: Path, *, cases: bool) -> Bytes:
    """uint8 (N, bytes) of the tensor's type: N cases, or one."""
    shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if not cases:
        values = values.reshape(shape) if values.shape == tensor.shape else values
        values = values[None]
    if (values.shape[1:] != shape and values.shape[1:] != tensor.shape) or not 1 <= len(values) <= MAX_CASES:
        expected = ("N, " if cases else "") + ", ".join(map(str, shape))
        raise DeployError(
            f"{path} has shape {values.shape if cases else values.shape[1:]}", hint=f"it is to be ({expected})"
        )
    converted = _as_type(values, tensor, path)
    return np.ascontiguousarray(converted).reshape(len(values), -1).view(np.uint8)


def _as_type(values: Values, tensor: Tensor, path: Path) -> Values:
    if values.dtype.kind == "f" and tensor.dtype in ("int8", "uint8", "int16") and len(tensor.scales) == 1:
        if not np.isfinite(values).all():
            raise DeployError(f"{path} has values that are no numbers", hint="NaN and infinities have no int8")
        bounds = np.iinfo(tensor.dtype)
        unclamped = Quantization(tensor.scale, tensor.zero_point).unclamped(values.astype(np.float64))
        clipped: Values = np.clip(unclamped, bounds.min, bounds.max).astype(tensor.dtype)
        return clipped
    if values.dtype.kind == "f" and tensor.dtype == "float32":
        return values.astype(np.float32)
    if values.dtype.name != tensor.dtype:
        raise DeployError(
            f"{path} is {values.dtype.name}, the tensor {tensor.dtype}", hint="or give real numbers as float32"
        )
    return values


def _expected(values: Values, tensor: Tensor, path: Path, count: int) -> Values:
    """Return the real values that an output is to have, (N, values)."""
    flat = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    size = int(np.prod(tensor.shape))
    if flat.shape != (count, size):
        raise DeployError(f"{path} has shape {values.shape}", hint=f"it is to be {count} cases of {tensor.shape}")
    real: Values = flat.astype(np.float64) if values.dtype.kind == "f" else real_values(flat, tensor)
    return real


def real_values(values: Values, tensor: Tensor) -> npt.NDArray[np.float64]:
    """Quantized values of a tensor as real numbers; others as they are."""
    if len(tensor.scales) != 1 or tensor.dtype == "float32":
        return values.astype(np.float64)
    real: npt.NDArray[np.float64] = (values.astype(np.float64) - tensor.zero_point) * tensor.scale
    return real


def split_outputs(graph: Graph, outputs: Bytes) -> Sequence[Values]:
    """uint8 (N, bytes of all outputs) -> each one in the file's type, (N, its values)."""
    parts = split_tensors(outputs, [graph.tensor(index) for index in graph.file_outputs])
    return [part.reshape(len(outputs), -1) for part in parts]
