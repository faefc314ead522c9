"""Run a model on a whole split: by Keras, the interpreters, or the compiled C on this computer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.graph.model import QuantizedModel
from codegen.library.write import write_project
from codegen.tflite import interpreters as reference
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.library import render_library
from nanou_deploy.errors import DeployError
from nanou_deploy.verify.emulate import run_harness
from nanou_train.evaluation.evaluate import Predictor, int8_predictor, keras_predictor

Int8Array = npt.NDArray[np.int8]
EXECUTORS = ("keras", "int8", "tflm", "aot")


def predictor(name: str, model: QuantizedModel | None, run_folder: Path | None) -> Predictor:
    """Make one of EXECUTORS: keras (float), int8 (TFLite's BUILTIN_REF), tflm (TFLite Micro), aot (the compiled C).

    Raises DeployError where keras is wanted without a run, or another without an int8 model; TrainError, CodegenError
    and ToolMissing from what they need.
    """
    if name == "keras":
        return _keras(run_folder)
    if model is None:
        raise DeployError(
            f"executor {name} needs an int8 model",
            hint=f"make it with `nanou-deploy quantize --run {shlex.quote(str(run_folder))}`",
        )
    return int8_predictor(name, model, tensor_runs((name,), model)[name])


def tensor_runs(names: Sequence[str], model: QuantizedModel) -> dict[str, Callable[[Any], Any]]:
    """Find what runs a model on all cases, one input behind the other, by name of EXECUTORS; without keras."""
    flatbuffer = model.flatbuffer
    runs: dict[str, Callable[[Any], Any]] = {
        "int8": lambda frames: reference.run_builtin_ref(flatbuffer, frames),
        "tflm": lambda frames: reference.run_tflm(flatbuffer, frames),
        "aot": lambda frames: run_compiled(model, frames),
    }
    return {name: runs[name] for name in names}


def run_compiled(model: QuantizedModel, frames: Int8Array) -> Int8Array:
    """Build the generated C and run it on this computer: (N, H, W, C) or (N, bytes) -> int8 (N, output bytes)."""
    with compiled(model) as run:
        return run(frames)


@contextmanager
def compiled(model: QuantizedModel) -> Iterator[Callable[[Int8Array], Int8Array]]:
    """Build the generated C for this computer once; the block can run it as often as it likes, as `run_compiled`."""
    board = find_board("host")
    with TemporaryDirectory(prefix="nanou-") as scratch:
        library = Path(scratch) / "nanou_model"
        write_project(render_library(model, "aot", board), library)
        build = build_harness(library, board, Path(scratch) / "build")
        yield lambda frames: run_harness(build, frames.reshape(len(frames), -1)).outputs


def _keras(run_folder: Path | None) -> Predictor:
    from nanou_train.runs import run_folder as run

    if run_folder is None:
        raise DeployError("executor keras needs a training run", hint="give the run's folder with --run")
    manifest = run.read_manifest(run_folder)
    return keras_predictor(run.load_student(run_folder), run.preprocessing(manifest))
