"""Build Nano-U (student) and BU-Net (teacher) as Keras models: the public names of `networks.architectures`."""

from nanou_train.networks.architectures import (
    count_parameters,
    create_bu_net,
    create_model_from_config,
    create_nano_u,
)

__all__ = ["count_parameters", "create_bu_net", "create_model_from_config", "create_nano_u"]
