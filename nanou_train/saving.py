"""Save and load models as .keras, .h5 or SavedModel folders: the public names of `networks.saving`."""

from nanou_train.networks.saving import load_model, save_model

__all__ = ["load_model", "save_model"]
