"""Save and load models: .keras, .h5, and folders in TensorFlow's SavedModel format.

Files appear whole or not at all. A SavedModel is for serving: it loads back as a model that computes the same and
cannot be trained; the other two load back as they were.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen.atomic_files import replacing
from codegen.captured_output import silenced
from codegen.start_tensorflow import import_tensorflow
from nanou_train.errors import TrainError
from nanou_train.networks.saved_model import check_saved_model

if TYPE_CHECKING:
    import keras

FILE_SUFFIXES = (".keras", ".h5")


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Save by suffix: .keras, .h5, or a SavedModel folder where there is none. Returns the path.

    Replaces what is there, except a folder that is no SavedModel. Raises TrainError for that, for another suffix, and
    where the place cannot be written.
    """
    path = Path(path)
    _check_target(path)
    try:
        if path.suffix:
            with replacing(path) as partial, silenced():  # .h5 is called legacy at length
                model.save(partial)
        else:
            from codegen.library.write import staged_folder

            with staged_folder(path) as staging, silenced():
                model.export(staging, verbose=False)
    except OSError as error:
        raise TrainError(f"cannot write {path}: {error.strerror or error}", hint="choose another place") from error
    return path


def load_model(path: str | Path) -> keras.Model:
    """Load a model that `save_model` wrote. Raises TrainError where it is missing or cannot be read.

    A SavedModel comes as a model of one layer, which computes and does not train.
    """
    path = Path(path)
    import_tensorflow()
    import keras

    import nanou_train.networks.fake_quant  # noqa: F401  registers our layers

    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise TrainError(f"no model file {path}", hint="give a .keras or .h5 file, or a SavedModel folder")
    custom: dict[str, Any] = {}
    if path.suffix == ".h5":  # Keras' .h5 reader does not know Keras' own operations
        custom = {"Resize": type(keras.ops.image.resize(keras.KerasTensor((1, 2, 2, 1)), (4, 4))._keras_history[0])}
    try:
        return keras.saving.load_model(path, compile=False, custom_objects=custom)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"cannot read {path} as a Keras model: {str(error)[:200]}", hint="save it again") from error


def load_weights_into(model: keras.Model, path: Path) -> None:
    """Load weights alone (.weights.h5) into a model of the same structure. Raises TrainError.

    Where layers are missing in the file, Keras leaves them as they were made and only warns: here that is an error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise TrainError(
            f"{path} does not hold the weights of {model.name}: {str(error)[:200]}",
            hint="name the model that they were saved from",
        ) from error


def _load_folder(path: Path) -> keras.Model:
    import keras
    import tensorflow as tf

    if not (path / "saved_model.pb").is_file():
        raise TrainError(f"{path} is no SavedModel (no saved_model.pb)", hint="give the folder of an exported model")
    check_saved_model(path)
    try:
        served = tf.saved_model.load(str(path)).signatures["serving_default"]
        (specification,) = served.structured_input_signature[1].values()
        inputs = keras.Input(specification.shape[1:], dtype=specification.dtype.name)
        layer = keras.layers.TFSMLayer(str(path), call_endpoint="serve")
        return keras.Model(inputs, layer(inputs), name=path.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise TrainError(f"cannot read {path} as a SavedModel: {str(error)[:200]}", hint="export it again") from error


def _check_target(path: Path) -> None:
    if path.suffix and path.suffix not in FILE_SUFFIXES:
        raise TrainError(
            f"{path}: no model format {path.suffix}",
            hint="use .keras, .h5, or a folder without suffix for a SavedModel; .tflite is made by `quantize`",
        )
    is_saved_model = path.is_dir() and (not any(path.iterdir()) or (path / "saved_model.pb").is_file())
    if path.is_dir() and (path.suffix or not is_saved_model):
        raise TrainError(f"{path} is a folder with other things in it", hint="choose another place")
