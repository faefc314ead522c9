"""Predict a raw model's .npy files: each input's cases in, each output's out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from codegen.graph.model import QuantizedModel
from codegen.tflite.files import contract_graph
from nanou_deploy.evaluate.cases import read_tensors, split_outputs
from nanou_deploy.evaluate.executors import tensor_runs
from nanou_deploy.predict.engine import run_frames


def is_tensor_folder(path: Path) -> bool:
    """Tell whether a folder holds a model's inputs as `evaluate` takes them."""
    return path.is_dir() and any((path / name).is_file() for name in ("input.npy", "input_0.npy"))


def predict_arrays(model: QuantizedModel, executor: str, folder: Path) -> tuple[int, tuple[npt.NDArray[Any], ...]]:
    """Run FOLDER's input.npy (input_0.npy and so on) through a model: the number of cases, and each output's (N, ...).

    Raises DeployError as `read_tensors`.
    """
    graph = contract_graph(model.flatbuffer)
    frames = read_tensors(graph, folder).frames
    outputs = run_frames(tensor_runs((executor,), model)[executor], frames)
    parts = split_outputs(graph, outputs)
    shapes = [graph.tensor(index).shape for index in graph.file_outputs]
    return len(frames), tuple(part.reshape(len(part), *shape[1:]) for part, shape in zip(parts, shapes, strict=True))
