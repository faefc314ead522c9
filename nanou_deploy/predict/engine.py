"""Predict pictures by one executor: from any size to the model's input, through the model, to masks and decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.canonicalize.border import before
from codegen.graph.contract import class_names, quantize_pixels
from codegen.graph.graph import Graph
from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel, segmentation
from codegen.tflite.files import contract_graph
from nanou_deploy.build.library import open_model
from nanou_deploy.device.rgb565 import camera_frame, decode_rgb565
from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.evaluate.cases import real_values, split_outputs
from nanou_deploy.evaluate.executors import compiled, predictor, tensor_runs
from nanou_deploy.evaluate.tensor_scores import decide
from nanou_deploy.predict.policy import Policy, open_policy
from nanou_deploy.predict.prediction import Prediction, empty_prediction
from nanou_deploy.predict.sources import Shot
from nanou_train.data.images import Picture, camera_pixels
from nanou_train.data.labels import drivable_names
from nanou_train.evaluation.evaluate import Predictor, int8_predictor
from nanou_train.runs import run_folder as run
from nanou_train.runs.int8_model import int8_path

EXECUTORS = ("aot", "int8", "tflm", "keras")
_IN_WORDS = {
    "aot": "aot, the C generated from the int8 model, compiled for this computer",
    "int8": "int8, by TFLite's reference kernels (BUILTIN_REF)",
    "tflm": "tflm, the int8 model by TensorFlow Lite Micro",
    "keras": "keras, the run's float student",
}
Run = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Engine:
    """A model and what runs it. `predict` takes pictures of any size; `executor`, `preprocessing` and `decisions` say
    in words what is done, `remarks` what is not."""

    model: QuantizedModel
    executor: str
    preprocessing: str
    decisions: str
    remarks: tuple[str, ...]
    predict: Callable[[Sequence[Shot]], list[Prediction]]


@contextmanager
def open_engine(
    executor: str,
    path: Path | None,
    *,
    model: QuantizedModel | None = None,
    threshold: float | None = None,
    camera: CameraSize | None = None,
    direct: bool = False,
) -> Iterator[Engine]:
    """Prepare a model, given by `path` as `open_model` takes it or as `model`, to be run by one of EXECUTORS.

    A picture becomes a frame of the model's camera first, as on a device, unless `direct`, which is what `evaluate`
    does. The compiled C is built once. Raises DeployError where keras is wanted without a run, or the model has no
    picture among its inputs; ToolMissing where aot has no C compiler; CodegenError where the model does not compile.
    """
    folder = path if path is not None and path.is_dir() else None
    model = model or _model(executor, path)
    if threshold is not None:
        model = model.deciding(threshold=threshold)
    model = replace(model, camera=camera) if camera else model
    picture = _picture(model)
    segments = model.decision.task == "segment"
    as_camera = segments and not direct
    with ExitStack() as opened:
        runner = None if executor == "keras" else _runner(executor, model, opened)
        policy, remarks = _policy(model, opened) if segments else (None, ())
        if segments:
            seeing = predictor("keras", None, folder) if runner is None else int8_predictor(executor, model, runner)
            seer = _segmenter(model, seeing, policy)
        else:
            if runner is None:
                raise DeployError("executor keras runs students, which segment", hint="choose aot, int8 or tflm")
            seer = _tensor_model(model, runner)

        def predict(shots: Sequence[Shot]) -> list[Prediction]:
            pixels = [model_pixels(shot.image, model, picture, as_camera=as_camera) for shot in shots]
            return seer(shots, np.stack(pixels)) if pixels else []

        yield Engine(
            model, _IN_WORDS[executor], _preprocessing_in_words(model, picture, as_camera=as_camera),
            _decisions_in_words(model, policy), remarks, predict,
        )  # fmt: skip


def _model(executor: str, path: Path | None) -> QuantizedModel:
    """Return the int8 model; of a run that was not quantized, for keras, what its pictures and classes mean."""
    if executor != "keras":
        return open_model(path)
    if path is None or not path.is_dir():
        raise DeployError("executor keras needs a training run", hint="give the run's folder with --model")
    if int8_path(path).is_file():
        return open_model(path)
    manifest = run.read_manifest(path)
    data, config = manifest["data"], run.configuration(manifest)
    classes = tuple(data["classes"])
    drivable = drivable_names("manifest", classes, data.get("drivable"))
    contract = segmentation(run.preprocessing(manifest), config.student.threshold, classes=classes, drivable=drivable)
    return QuantizedModel("student", b"", contract, {"data": data})


def _picture(model: QuantizedModel) -> Preprocessing:
    if model.picture is None or len(model.contract.inputs) != 1:
        raise DeployError(
            f"{model.name} takes no picture alone, as far as its contract says",
            hint="`nanou-deploy describe MODEL` states what inputs are; `predict FOLDER` takes input.npy of raw ones",
        )
    return model.picture


def _runner(executor: str, model: QuantizedModel, opened: ExitStack) -> Run:
    if executor == "aot":
        return opened.enter_context(compiled(model))
    return tensor_runs((executor,), model)[executor]


def _policy(model: QuantizedModel, opened: ExitStack) -> tuple[Policy | None, tuple[str, ...]]:
    if not model.drivable:
        return None, (f"none of the classes of {model.name} counts as drivable, so that nothing is decided",)
    try:
        return opened.enter_context(open_policy()), ()
    except ToolMissing as missing:  # masks need none with other executors than aot
        return None, (f"GO and STOP are decided by the firmware's C, for which there is {missing}: {missing.hint}",)


# ---- Pictures --------------------------------------------------------------------------------------------------


def model_pixels(
    image: Image.Image, model: QuantizedModel, picture: Preprocessing, *, as_camera: bool
) -> npt.NDArray[np.uint8]:
    """Bring a picture of any size to uint8 (H, W, C) of the contract, by way of the camera's RGB565 if `as_camera`."""
    if as_camera:
        data = camera_frame(image, model.camera, big_endian=True)
        image = Image.fromarray(decode_rgb565(data, model.camera, big_endian=True))
    return camera_pixels(Picture(Path("picture"), image), picture)


def _preprocessing_in_words(model: QuantizedModel, picture: Preprocessing, *, as_camera: bool) -> str:
    camera = f"each picture squeezed to {model.camera} RGB565, as the camera delivers, then " if as_camera else ""
    order = "grey" if picture.channels == 1 else picture.color_order
    return f"{camera}resized to {picture.width_px}x{picture.height_px} by {picture.resize_filter}, {order}"


def _decisions_in_words(model: QuantizedModel, policy: Policy | None) -> str:
    if policy is not None:
        return "by the firmware's navigation.c; pictures of a video by those before them"
    return "the class of the highest value" if model.decision.task == "classify" else ""


# ---- Models ----------------------------------------------------------------------------------------------------

Seer = Callable[[Sequence[Shot], npt.NDArray[np.uint8]], list[Prediction]]


def _segmenter(model: QuantizedModel, seeing: Predictor, policy: Policy | None) -> Seer:
    names = [model.classes.index(name) for name in model.drivable]

    def see(shots: Sequence[Shot], pixels: npt.NDArray[np.uint8]) -> list[Prediction]:
        masks = seeing.decide(seeing.logits(pixels), model.threshold)
        found = []
        for shot, mask in zip(shots, masks, strict=True):
            drivable = np.isin(mask, names)
            decision = None if policy is None else _decide(policy, drivable, shot)
            found.append(replace(empty_prediction(shot), mask=mask, drivable=drivable, decision=decision))
        return found

    return see


def _decide(policy: Policy, drivable: npt.NDArray[np.bool_], shot: Shot) -> Any:
    if shot.taken_us is None:
        return policy.judge(drivable)
    return policy.see(drivable, shot.taken_us, is_first=shot.is_first)


def _tensor_model(model: QuantizedModel, runner: Run) -> Seer:
    graph = contract_graph(model.flatbuffer)

    def see(shots: Sequence[Shot], pixels: npt.NDArray[np.uint8]) -> list[Prediction]:
        frames = quantize_pixels(model, graph, pixels)
        outputs = run_frames(runner, before(graph, frames.reshape(len(shots), -1)))
        return [
            replace(empty_prediction(shot), **_understood(model, graph, outputs[i : i + 1]))
            for i, shot in enumerate(shots)
        ]

    return see


def run_frames(runner: Run, frames: Any) -> npt.NDArray[np.uint8]:
    """Run cases, (N, input bytes) as the file takes them: uint8 (N, output bytes)."""
    return np.ascontiguousarray(runner(frames)).reshape(len(frames), -1).view(np.uint8)


def _understood(model: QuantizedModel, graph: Graph, outputs: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Return the fields of a Prediction, of the bytes of one case."""
    parts = split_outputs(graph, outputs)
    if model.decision.task != "classify":
        return {"outputs": shaped(graph, parts)}
    at = model.contract.decisive_output or 0
    values = real_values(parts[at], graph.tensor(graph.file_outputs[at]))
    names = class_names(model, graph)
    if values.shape[1] == 1:
        return {"label": names[int(decide(values, model)[0])], "scores": ((names[1], float(values[0, 0])),)}
    order = np.argsort(-values[0], kind="stable")
    return {
        "label": names[int(decide(values, model)[0])],
        "scores": tuple((names[index], float(values[0, index])) for index in order.tolist()),
    }


def shaped(graph: Graph, parts: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], ...]:
    """Return outputs (1, values) in the shapes that the file states."""
    return tuple(part.reshape(graph.tensor(index).shape) for part, index in zip(parts, graph.file_outputs, strict=True))
