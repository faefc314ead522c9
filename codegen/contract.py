"""What stands between camera bytes and decisions, for one model: the input table and the output threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codegen.ir import Graph, Tensor
from codegen.model import Quantization, QuantizedModel, threshold_q


def input_lookup(model: QuantizedModel, graph: Graph) -> npt.NDArray[np.int8]:
    """int8 (256,): the model input byte for each pixel component."""
    return model.preprocessing.lookup_table(_quantization(graph.input))


def decision_threshold(model: QuantizedModel, graph: Graph) -> int:
    """The int8 output from which on a pixel counts as drivable; 128 means never.

    A model that ends in LOGISTIC gives probabilities, any other logits.
    """
    is_probability = graph.operators[-1].stem == "logistic"
    return threshold_q(model.threshold, _quantization(graph.output), is_probability=is_probability)


def _quantization(tensor: Tensor) -> Quantization:
    return Quantization(tensor.scale, tensor.zero_point)
