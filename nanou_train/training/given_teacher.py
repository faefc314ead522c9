"""Open the teacher that a run is given: a picture in, logits for each of its pixels out; what is not so is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.data.dataset import Dataset
from nanou_train.data.images import IGNORE
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.networks.architectures import create_model_from_config
from nanou_train.networks.saving import load_model, load_weights_into
from nanou_train.training.teacher_views import teacher_logits

if TYPE_CHECKING:
    import keras

_PROBED = 8
_KEEPS_RANGE = (
    "Average", "AveragePooling2D", "Concatenate", "Cropping2D", "Dropout", "Identity", "MaxPooling2D", "Permute",
    "Reshape", "Resize", "Resizing", "UpSampling2D",
)  # fmt: skip
_LOG = logging.getLogger(__name__)


def open_teacher(config: ExperimentConfig, path: Path, dataset: Dataset) -> keras.Model:
    """Load a teacher: a saved model, or weights alone (.weights.h5) of the network that the configuration describes.

    A last sigmoid or softmax is taken off; two channels become the logit of the second one; a network for pictures of
    any size becomes one for the student's. Raises TrainError for what has no such logits, for probabilities, and where
    the first answers show that the two channels are in the other order.
    """
    classes = len(dataset.classes)
    if path.name.endswith(".weights.h5"):
        teacher = create_model_from_config(config.network("teacher", classes), name=config.teacher.preset)
        load_weights_into(teacher, path)
    else:
        teacher = load_model(path)
        _check_count(teacher, path)
        teacher = _of_one_size(_ending_in_logits(teacher, path), config.input_shape)
        _check_map(teacher, path)
    size, shape = tuple(teacher.inputs[0].shape[1:]), config.input_shape
    if size[2:] != shape[2:]:
        return teacher  # what trains with it says so
    if size != shape:
        _LOG.warning("the teacher %s takes %s, the student %s: it sees the pictures resized", path, size, shape)
    _check_logits(teacher, path, dataset.train.images[:_PROBED])
    if classes == 2 and teacher.outputs[0].shape[-1] == 2:
        _check_order(teacher, path, dataset)
        teacher = _with_one_channel(teacher)
    return teacher


def _check_count(teacher: keras.Model, path: Path) -> None:
    if (len(teacher.inputs), len(teacher.outputs)) != (1, 1) or len(teacher.inputs[0].shape) != 4:
        ends = f"{len(teacher.inputs)} inputs and {len(teacher.outputs)} outputs"
        raise TrainError(
            f"the teacher {path} has {ends}, the first input of shape {tuple(teacher.inputs[0].shape)}",
            hint="save a model of one picture (batch, height, width, channels) and one map of logits",
        )


def _ending_in_logits(teacher: keras.Model, path: Path) -> keras.Model:
    """Take off a last sigmoid or softmax: its input are logits."""
    import keras

    last = teacher.outputs[0]._keras_history.operation
    name = _function_of(last)
    if not hasattr(last, "activation") and name in ("sigmoid", "softmax", "relu", "tanh"):
        before = last._inbound_nodes[0].input_tensors[0]
        teacher = keras.Model(teacher.inputs, before, name=teacher.name)
    elif hasattr(last, "activation") and name in ("sigmoid", "softmax"):
        last.activation = keras.activations.linear
    if name in ("sigmoid", "softmax"):
        _LOG.warning("%s ends in a %s, which is taken off: a student learns from logits", path, name)
    elif (name not in ("linear", "noop") and hasattr(last, "activation")) or name in ("relu", "tanh"):
        raise TrainError(f"the teacher {path} ends in {name}, not in logits", hint="save it without this activation")
    return teacher


def _function_of(operation: Any) -> str:
    """Name the activation of a layer, or else the layer or operation itself."""
    return getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__.lower())


def _of_one_size(teacher: keras.Model, shape: tuple[int, int, int]) -> keras.Model:
    """Fix what a network leaves open of its picture's shape to the student's."""
    import keras

    stated = tuple(teacher.inputs[0].shape[1:])
    if None not in stated:
        return teacher
    image = keras.Input(tuple(own or wanted for own, wanted in zip(stated, shape, strict=True)))
    return keras.Model(image, teacher(image), name=teacher.name)


def _check_map(teacher: keras.Model, path: Path) -> None:
    picture, answer = (tuple(ends[0].shape[1:]) for ends in (teacher.inputs, teacher.outputs))
    if len(answer) != 3 or answer[:2] != picture[:2]:
        raise TrainError(
            f"the teacher {path} answers {answer} for a picture {picture}, not (height, width, classes) of that size",
            hint="save it with a logit for each pixel, channels last",
        )


def _check_order(teacher: keras.Model, path: Path, dataset: Dataset) -> None:
    """Refuse two channels of which the first fits the second class's masks better."""
    masks = dataset.train.masks[:_PROBED]
    chosen = np.argmax(teacher_logits(teacher, dataset.train.images[:_PROBED]), axis=-1)
    right = float((chosen == masks)[masks != IGNORE].mean()) if (masks != IGNORE).any() else 1.0
    second = dataset.classes[1]
    if right < 0.5:
        raise TrainError(
            f"the first of the two channels of the teacher {path} fits {second!r} better than the second ({right:.0%})",
            hint=f"save it with its channels in the order {', '.join(dataset.classes)}",
        )
    _LOG.warning("the teacher %s has two channels: the second is taken for %s", path, second)


def _with_one_channel(teacher: keras.Model) -> keras.Model:
    """Give the logit of the second of two classes: softmax of two is the sigmoid of their difference."""
    import keras

    difference = keras.layers.Conv2D(1, 1, use_bias=False, name="second_less_first")
    model = keras.Model(teacher.inputs, difference(teacher.outputs[0]), name=teacher.name)
    difference.set_weights([np.array([-1.0, 1.0], np.float32).reshape(1, 1, 2, 1)])
    return model


def _check_logits(teacher: keras.Model, path: Path, images: npt.NDArray[np.uint8]) -> None:
    """Refuse probabilities: by what computes the answers, and where that does not tell, by the answers."""
    ends = list(_computing(teacher.outputs[0]))
    if all(_function_of(end) == "linear" and hasattr(end, "kernel") for end in ends):
        return
    if not any(_function_of(end) in ("sigmoid", "softmax") for end in ends):
        answers = teacher_logits(teacher, images)
        if answers.min() < 0 or answers.max() > 1:
            return
    raise TrainError(
        f"what the teacher {path} says of a pixel lies in 0..1: probabilities, not logits",
        hint="save it without its last sigmoid or softmax",
    )


def _computing(answer: Any) -> Iterator[Any]:
    """Find the operations whose results the answer consists of: what follows them keeps their range."""
    operation, node, index = answer._keras_history
    if hasattr(operation, "outputs") and hasattr(operation, "layers"):  # a model within the model
        yield from _computing(operation.outputs[index])
    elif type(operation).__name__ in _KEEPS_RANGE or (
        type(operation).__name__ == "Activation" and _function_of(operation) == "linear"
    ):
        for source in operation._inbound_nodes[node].input_tensors:
            yield from _computing(source)
    else:
        yield operation
