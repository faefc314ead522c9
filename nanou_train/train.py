"""Train a network alone, with a teacher, or as an experiment: the public names of `training`."""

from nanou_train.training.distillation import train_step
from nanou_train.training.train import TrainResult, train_model
from nanou_train.training.train_network import train_single_model, train_with_distillation

__all__ = ["TrainResult", "train_model", "train_single_model", "train_step", "train_with_distillation"]
