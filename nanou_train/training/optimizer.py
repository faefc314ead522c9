"""Apply AdamW to one vector instead of many small tensors.

A network of a few thousand parameters has a hundred tensors. Updating each on its own is thousands of operations of a
few elements, which took a fifth of a training step's processor time; on one vector it is a few dozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

NOT_DECAYED = "_range/"  # in a variable's path: learned ends of activation ranges are no weights


class VectorAdamW:
    """Applies Keras's AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) to a model's variables as two vectors.

    One holds what weight decay shrinks, the other the rest. Between steps the model's own variables are what counts:
    each step gathers them, updates the vectors and hands the parts back.
    """

    def __init__(self, variables: Sequence[Any], learning_rate: Any, weight_decay: float) -> None:
        """`variables` are a model's trainable variables, float32; `learning_rate` a number or a Keras schedule."""
        import keras

        groups = {"decayed": [], "rest": []}  # type: dict[str, list[Any]]
        for variable in variables:
            groups["rest" if NOT_DECAYED in variable.path else "decayed"].append(variable)
        self.groups = [group for group in groups.values() if group]
        self.vectors = [keras.Variable(flattened(group), name=name) for name, group in groups.items() if group]
        self.inner: keras.optimizers.Optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
        self.inner.exclude_from_weight_decay(var_names=["rest"])
        self.inner.build(self.vectors)

    @property
    def iterations(self) -> Any:
        return self.inner.iterations

    @property
    def variables(self) -> list[Any]:
        """What a resumed training needs beside the model's own variables."""
        return list(self.inner.variables)

    @property
    def targets(self) -> list[Any]:
        """The model's variables, in the order in which `apply` wants their gradients."""
        return [variable for group in self.groups for variable in group]

    def apply(self, gradient: Any, strategy: tf.distribute.Strategy | None = None) -> None:
        """One step. `gradient` float32 (N,): `flattened` gradients of `targets`, which belong to `strategy`."""
        import tensorflow as tf

        parts = tf.split(gradient, [vector.shape.num_elements() for vector in self.vectors])
        for vector, group in zip(self.vectors, self.groups, strict=True):
            vector.assign(flattened(group))
        self.inner.apply_gradients(zip(parts, self.vectors, strict=True))
        with nullcontext() if strategy is None else strategy.scope():
            for vector, group in zip(self.vectors, self.groups, strict=True):
                sizes = [variable.shape.num_elements() for variable in group]
                updated = tf.split(tf.convert_to_tensor(vector), sizes)
                for variable, part in zip(group, updated, strict=True):
                    variable.assign(tf.reshape(part, variable.shape))


def flattened(values: Sequence[Any]) -> Any:
    """Concatenate all elements of tensors or variables, float32 (N,)."""
    import tensorflow as tf

    return tf.concat([tf.reshape(tf.convert_to_tensor(value), [-1]) for value in values], 0)


def unflattened(vector: npt.NDArray[Any], like: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Split a vector into tensors shaped as those in `like`: the inverse of `flattened`."""
    shapes = [tuple(value.shape) for value in like]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape).copy() for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
