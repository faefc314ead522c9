"""Check each training step in debug mode, and name the layer where numbers stop being finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nanou_train.errors import TrainError
from nanou_train.training.inputs import check_input, check_masks

if TYPE_CHECKING:
    import keras


def check_step(
    model: keras.Model, before: Sequence[Any], x: Any, y: Any, losses: Mapping[str, Any], *, epoch: int, batch: int
) -> None:
    """Check a step's batch, losses and weights. Raises DataError, or TrainError that names the layer.

    `before` are the weights that the step began with, which the model then gets back.
    """
    check_input(model, x)
    check_masks(model, x, y)
    bad_losses = [name for name, value in losses.items() if not math.isfinite(float(value))]
    bad_weights = [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
    if not bad_losses and not bad_weights:
        return
    model.set_weights(before)  # a step that went wrong leaves nothing finite
    first = first_not_finite(model, x)
    where = f"first in the output of layer {first}" if first else "the outputs of all layers are finite"
    what = ", ".join([*bad_losses, *bad_weights[:3]])
    raise TrainError(
        f"{model.name}, epoch {epoch}, batch {batch}: not finite: {what}; {where}",
        hint="lower learning_rate, or look at that layer's input",
    )


def first_not_finite(model: keras.Model, x: Any) -> str:
    """Find the first layer, in the order of computing, whose output for `x` is not finite; empty if there is none."""
    import keras

    operations = [operation for operation in model.operations if operation._inbound_nodes]
    probe = keras.Model(model.inputs, [operation._inbound_nodes[0].output_tensors[0] for operation in operations])
    for operation, values in zip(operations, probe(x, training=False), strict=True):
        if not np.isfinite(np.asarray(values)).all():
            return str(operation.name)
    return ""
