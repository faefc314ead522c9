"""Measure how much the channels of a network's layers repeat each other: the public names of `training.nas`.

The callback is a Keras class, so TensorFlow loads when a name is first used, not when this module is imported.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanou_train.training.nas import (
        NASCallback,
        analyze_model_redundancy,
        compute_layer_redundancy,
        validate_nas_computation,
    )

__all__ = ["NASCallback", "analyze_model_redundancy", "compute_layer_redundancy", "validate_nas_computation"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nanou_train.training import nas

    return getattr(nas, name)
