"""Run a network on images as one compiled graph, traced once for any number of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.start_tensorflow import import_tensorflow

if TYPE_CHECKING:
    import keras

Float = npt.NDArray[np.float32]


def infer(model: keras.Model, inputs: Float, batch_size: int) -> Float:
    """Compute a model's one output for `inputs`, float32 (N, H, W, C), `batch_size` at a time.

    What `model.predict` computes. That makes a pipeline of data sets for each call, which is most of the time where
    images are few and small, as in a validation after each epoch.
    """
    graph = getattr(model, "inference_graph", None) or _compiled(model)
    parts = [graph(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def forget_graph(model: keras.Model) -> None:
    """Have the graph traced anew, where plain attributes that decide what layers compute have changed."""
    model.inference_graph = None
    model.predict_function = None  # the one that Keras keeps


def _compiled(model: keras.Model) -> Callable[[Float], Any]:
    tf = import_tensorflow()
    image = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    graph = tf.function(lambda x: model(x, training=False), input_signature=[image], autograph=False)

    def compiled(x: Float) -> Any:  # a plain function, as a model saves TensorFlow's own with it
        return graph(x)

    model.inference_graph = compiled
    return compiled
