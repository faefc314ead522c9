"""From images and masks to verified segmentation firmware: `import nanou_deploy as nd` (docs/API.md, Deployment).

Nothing is imported before a name is used. `build`, `verify` and `predict` are also the folders of their stages; so that
`nd.build(...)` works whatever was imported before, these three packages are callable.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanou_deploy.api import Firmware as Firmware
    from nanou_deploy.api import build as build
    from nanou_deploy.api import compile as compile
    from nanou_deploy.api import load_model as load_model
    from nanou_deploy.api import predict as predict
    from nanou_deploy.api import verify as verify

_NAMES = ("Firmware", "build", "compile", "load_model", "predict", "verify")
_STAGES = ("build", "predict", "verify")


class _Stage(ModuleType):
    """The package of a stage, which may be called as the function of its name in nanou_deploy.api."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return getattr(import_module("nanou_deploy.api"), self.__name__.rpartition(".")[2])(*arguments, **named)


class _Package(ModuleType):
    """This package: what Python's import puts into it as one of _STAGES becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _STAGES and isinstance(value, ModuleType):
            value.__class__ = _Stage
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name in _STAGES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module("nanou_deploy.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})


sys.modules[__name__].__class__ = _Package
