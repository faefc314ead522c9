"""AdamW on one vector instead of many small tensors, and the running average of weights likewise.

A network of a few thousand parameters has a hundred tensors. Updating each on its own is thousands of operations of a
few elements, which took a fifth of a training step's processor time; on one vector it is a few dozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

NOT_DECAYED = "_range/"  # in a variable's path: learned ends of activation ranges are no weights


class VectorAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) of Keras, applied to a model's variables as two vectors.

    One holds what weight decay shrinks, the other the rest. Between steps the model's own variables are what counts:
    each step gathers them, updates the vectors and hands the parts back.
    """

    def __init__(self, variables: Sequence[Any], learning_rate: Any, weight_decay: float) -> None:
        """`variables` are a model's trainable variables, float32; `learning_rate` a number or a Keras schedule."""
        import keras
        import tensorflow as tf

        decayed = [variable for variable in variables if NOT_DECAYED not in variable.path]
        rest = [variable for variable in variables if NOT_DECAYED in variable.path]
        self.groups = [group for group in (decayed, rest) if group]
        self.vectors = [
            keras.Variable(tf.concat([tf.reshape(value, [-1]) for value in group], 0), name=name)
            for group, name in zip(self.groups, ("decayed", "rest") if decayed else ("rest",), strict=False)
        ]
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

    def apply_gradients(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """One step; `pairs` of gradient (None: 0) and variable, all variables in any order."""
        import tensorflow as tf

        gradients = {id(variable): gradient for gradient, variable in pairs}
        flat = [
            flattened([tf.zeros(v.shape) if gradients[id(v)] is None else gradients[id(v)] for v in group])
            for group in self.groups
        ]
        for vector, group in zip(self.vectors, self.groups, strict=True):
            vector.assign(flattened(group))
        self.inner.apply_gradients(zip(flat, self.vectors, strict=True))
        for vector, group in zip(self.vectors, self.groups, strict=True):
            sizes = [variable.shape.num_elements() for variable in group]
            parts = tf.split(tf.convert_to_tensor(vector), sizes)
            for variable, part in zip(group, parts, strict=True):
                variable.assign(tf.reshape(part, variable.shape))


def flattened(values: Sequence[Any]) -> Any:
    """All elements of tensors or variables, float32 (N,)."""
    import tensorflow as tf

    return tf.concat([tf.reshape(tf.convert_to_tensor(value), [-1]) for value in values], 0)


def unflattened(vector: npt.NDArray[Any], like: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """The inverse of `flattened`, for tensors shaped as those in `like`."""
    shapes = [tuple(value.shape) for value in like]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape).copy() for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
