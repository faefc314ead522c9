"""Start TensorFlow once, quietly, with Keras on its backend; every import of TensorFlow goes through here."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codegen.captured_output import silenced
from codegen.errors import CodegenError


def import_tensorflow() -> Any:
    """TensorFlow with Keras' TensorFlow backend, without the log lines that it prints while loading.

    Each operation gets one thread, unless TF_NUM_INTRAOP_THREADS says otherwise: the tensors of small networks are
    small, and splitting them among two threads doubled a training step's processor time (docs/TRAINING.md).

    Raises CodegenError where it is not installed.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # read when the first operation runs
    if "tensorflow" in sys.modules and "keras" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with silenced(), _imported_quickly():
            import keras
            import tensorflow as tf
        tf.get_logger().setLevel("ERROR")  # else it warns where several small models are traced in a row
    except ModuleNotFoundError as error:
        raise CodegenError(
            f"this step needs TensorFlow and Keras ({error})", hint="pip install 'nanou-deploy[train]'"
        ) from error
    if keras.config.backend() != "tensorflow":
        raise CodegenError(
            f"Keras runs on {keras.config.backend()} in this process", hint="set KERAS_BACKEND=tensorflow"
        )
    return tf


@contextmanager
def _imported_quickly() -> Iterator[None]:
    """Import in two thirds of the time: without looking for garbage, and without matplotlib.

    A million objects are made, all of which stay, and are looked through again and again. Keras would import
    matplotlib, where it is installed, for `keras.visualization`; who wants that imports either before.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    hidden = "matplotlib" not in sys.modules
    if hidden:
        sys.modules["matplotlib"] = None  # type: ignore[assignment]  # what import takes for "not installed"
    try:
        yield
    finally:
        if hidden:
            del sys.modules["matplotlib"]
        if is_enabled:
            gc.enable()
