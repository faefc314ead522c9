"""Measure what each layer loses by int8, with TensorFlow Lite's QuantizationDebugger; for the conversion's process."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.tflite.quantize import Samples, batches_of_one, saved_model_converter

_SAMPLES = 20
_LOST = "lost"


def measure_layers(folder: Path, representative: Samples) -> list[dict[str, Any]]:
    """For each layer of a SavedModel: operator, tensor, root mean square error in int8 steps, and the share lost.

    Each layer is computed twice from the same int8 inputs, in float32 and in int8, so that what is lost before it does
    not count.
    """
    import tensorflow as tf

    make, few = tf.lite.experimental.QuantizationDebugger, [values[:_SAMPLES] for values in representative]
    settings = {
        "debug_dataset": lambda: batches_of_one(few),
        "debug_options": tf.lite.experimental.QuantizationDebugOptions(
            layer_direct_compare_metrics={_LOST: share_lost}
        ),
    }
    # In two steps: what it makes of a converter itself reuses the tensors that are to be compared.
    watched = make(converter=saved_model_converter(folder, representative), **settings).get_debug_quantized_model()
    debugger = make(quant_debug_model_content=watched, **settings)
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    table.seek(0)
    return [
        {
            "operator": row["op_name"],
            "tensor": row["tensor_name"],
            "error_steps": _finite(row["mean_squared_error"]) ** 0.5 / float(row["scale"]),
            _LOST: _finite(row[_LOST]),
        }
        for row in csv.DictReader(table)
    ]


def _finite(text: str) -> float:
    """Cap losses: a layer that gives infinities has lost everything."""
    value = float(text)
    return value if np.isfinite(value) else 1.0


def share_lost(exact: npt.NDArray[Any], quantized: npt.NDArray[Any], scale: float, zero_point: int) -> float:
    """Power of the error over that of the signal, at most 1, as the mean over channels.

    Over channels, since one with large values, for which the whole tensor gets its scale, would hide what the others
    lose. Channels that are zero lose nothing.
    """
    channels = exact.shape[-1] if exact.ndim > 1 else 1
    real = exact.astype(np.float64).reshape(-1, channels)
    error = (quantized.astype(np.float64).reshape(-1, channels) - zero_point) * scale - real
    signal, noise = (real**2).mean(axis=0), (error**2).mean(axis=0)
    alive = signal > 0
    return float(np.minimum(1.0, noise[alive] / signal[alive]).mean()) if alive.any() else 0.0
