"""Start TensorFlow once, quietly, with Keras on its backend; every import of TensorFlow goes through here."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

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
        with silenced():
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


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Send this process's stdout and stderr (also of native code) to a file; print that file on an exception."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield
        except BaseException:
            sys.stdout.flush()
            sys.stderr.flush()
            log.seek(0)
            os.write(saved[1], log.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, descriptor in zip((1, 2), saved, strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)
