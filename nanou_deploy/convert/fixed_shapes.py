"""Give a SavedModel one signature of fixed shapes and a batch of 1; for the conversion's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codegen.untrusted import shown
from nanou_deploy.errors import DeployError


def fix_shapes(folder: Path, target: Path, signature: str, size: tuple[int, int] | None) -> None:
    """Save the SavedModel `folder` as `target`, whose only signature is the named one. Raises DeployError."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    served = loaded.signatures
    if signature not in served:
        there = ", ".join(shown(name) for name in served) or "none"
        raise DeployError(f"the model has no signature {shown(signature)}", hint=f"--signature takes one of: {there}")
    function = served[signature]
    specs = {
        name: tf.TensorSpec(_fixed(name, spec, size), spec.dtype, name)
        for name, spec in function.structured_input_signature[1].items()
    }
    module = tf.Module()
    module.model = loaded  # keeps its variables
    module.serve = tf.function(lambda **inputs: function(**inputs))
    concrete = module.serve.get_concrete_function(**specs)
    tf.saved_model.save(module, str(target), signatures={"serving_default": concrete})


def _fixed(name: str, spec: Any, size: tuple[int, int] | None) -> tuple[int, ...]:
    if spec.dtype.name != "float32":
        raise DeployError(
            f"input {shown(name)} is {spec.dtype.name}; only float32 inputs can be quantized to int8",
            hint="export the part of the model behind it",
        )
    if spec.shape.rank is None or spec.shape.rank == 0:
        raise DeployError(f"input {shown(name)} has no known shape", hint="export the model with fixed shapes")
    shape = list(spec.shape)
    shape[0] = shape[0] or 1
    if size is not None and len(shape) == 4:
        shape[1:3] = [known or asked for known, asked in zip(shape[1:3], size, strict=True)]
    if shape[0] != 1 or not all(shape):
        raise DeployError(
            f"input {shown(name)} has the shape ({', '.join(str(dim or '?') for dim in shape)})",
            hint="a batch is 1 or open; say height and width with --size HxW, or export with fixed sizes",
        )
    return tuple(shape)
