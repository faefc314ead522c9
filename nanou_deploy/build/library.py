"""Open a model, and render its library for one board and runtime."""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from pathlib import Path

from codegen.compile import Compilation
from codegen.graph.macs import count_macs
from codegen.graph.model import CameraSize, QuantizedModel
from codegen.library.golden import golden_crc32, golden_inputs
from codegen.library.render import APP_HEADER, RenderedProject, Runtime, render_aot, render_tflm
from codegen.library.tflm_arena import arena_budget
from codegen.library.write import write_project
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.tflite import interpreters as reference
from codegen.tflite.files import contract_graph, load_model
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import models_folder

_LOG = logging.getLogger(__name__)
DEFAULT_MODEL = "nano_u_offroad"  # and its student beside it, .keras


def open_model(path: Path | None, camera: CameraSize | None = None, threshold: float | None = None) -> QuantizedModel:
    """Load the model at `path` (a .tflite file or a run folder), or the one that ships with nanou-deploy.

    `camera` and `threshold` take the place of what its sidecar states. Raises DeployError for the threshold of a model
    that has none.
    """
    model = load_model(model_path(path))
    if path is None:
        _LOG.info("no model is given: %s, trained on %s", model.name, trained_on(model) or "data that it does not name")
    model = replace(model, camera=camera) if camera else model
    return model if threshold is None else _deciding(model, threshold)


def _deciding(model: QuantizedModel, threshold: float) -> QuantizedModel:
    graph = contract_graph(model.flatbuffer)
    at = model.contract.decisive_output
    if model.decision.task != "segment" or at is None or graph.tensor(graph.outputs[at]).shape[-1] != 1:
        raise DeployError(f"{model.name} does not decide by a threshold", hint="leave --threshold out")
    return model.deciding(threshold=threshold)


def trained_on(model: QuantizedModel) -> str | None:
    """Return the name of the data that a model was trained on, where its provenance states one."""
    data = model.provenance.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def shipped_models() -> list[str]:
    """Return the names of the models that come with nanou-deploy."""
    return sorted(file.stem for file in models_folder().glob("*.tflite"))


def is_shipped(path: Path | None) -> bool:
    """Tell whether no model is given, or one that comes with nanou-deploy by its name alone."""
    return path is None or (str(path) in shipped_models() and not path.exists())


def model_path(path: Path | None) -> Path:
    """Return the .tflite file of a model that is given as a file, a run folder, a shipped model's name, or not."""
    if path is None or is_shipped(path):
        return models_folder() / f"{path or DEFAULT_MODEL}.tflite"
    from nanou_train.runs.int8_model import int8_path  # with all that a run is; the shipped model needs none of it
    from nanou_train.runs.run_folder import MANIFEST

    if path.is_dir():
        if not int8_path(path).is_file():
            raise DeployError(
                f"{path} holds no {int8_path(Path())}",
                hint=f"make it with `nanou-deploy quantize --run {shlex.quote(str(path))}`",
            )
        return _own(path)
    if path.suffix.lower() != ".tflite" and not path.exists():
        raise DeployError(
            f"there is no run {path} yet",
            hint="`nanou-deploy up` makes the one that nanou.toml names, `nanou-deploy train` any; "
            f"or give a .tflite file, or one of {', '.join(shipped_models())}",
        )
    run = path.absolute().parent.parent
    return _own(run) if path.absolute() == int8_path(run) and (run / MANIFEST).is_file() else path


def _own(run: Path) -> Path:
    """Return the int8 model of a run, once it is known to be its student's."""
    from nanou_train.runs.int8_model import int8_path, load_int8

    load_int8(run)
    return int8_path(run)


def render_library(
    model: QuantizedModel, runtime: Runtime, board: Board, objective: Objective = DEFAULT_OBJECTIVE
) -> RenderedProject:
    """Render the library for one board; `objective` is for the aot runtime.

    Raises CodegenError where the runtime cannot take the model, or not within the objective's limits.
    """
    if runtime == "aot":
        return render_aot(compile_for(model, board, objective))
    graph = load_graph(model.flatbuffer)
    measured_bytes = reference.measure_tflm_arena_bytes(model.flatbuffer)
    crc32 = golden_crc32(reference.run_tflm(model.flatbuffer, golden_inputs(graph)))
    budget = arena_budget(graph, measured_bytes, board.idf_target)
    return render_tflm(model, graph, budget, macs=count_macs(graph) or 0, crc32=crc32)


def judges_pictures(library: RenderedProject) -> bool:
    """Tell whether an application around the library makes masks of a camera's pictures, by which it decides."""
    return "#define APP_HAS_VISION 1" in library.files[APP_HEADER]


def core_remarks(library: RenderedProject, objective: Objective) -> tuple[str, ...]:
    """Say where a second core was wanted and the library does not share its inference with one."""
    if objective.cores == 1 or "#define APP_CORES 2" in library.files[APP_HEADER]:
        return ()
    return ("a second core would gain less than a tenth: the library is for one",)


def write_library(compiled: Compilation, scratch: Path) -> Path:
    folder = scratch / "nanou_model"
    write_project(render_aot(compiled), folder)
    return folder
