"""Name what a .tflite file is: quantized how, compiled for which accelerator, needing which other runtime."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.graph.graph import Graph

# Custom operators that hold a compiled network, by what compiles it. What is in them is machine code.
_ACCELERATORS = {
    "edgetpu-custom-op": ("Google's Edge TPU", "edgetpu_compiler"),
    "ethos-u": ("Arm's Ethos-U", "Vela"),
    "neutrongraph": ("NXP's Neutron", "the Neutron converter"),
    "hexagon": ("Qualcomm's Hexagon", "its converter"),
    "dspg": ("a DSP", "its converter"),
}
_NUMBERS = ("int32", "int64", "bool")  # sizes, indices and conditions
_QUANTIZE = (
    "convert with a representative data set, supported_ops = [TFLITE_BUILTINS_INT8] and inference_input_type ="
    " inference_output_type = tf.int8"
)


@dataclass(frozen=True)
class FileKind:
    """What a file is, in words; where that keeps it from microcontrollers, what would unblock it."""

    description: str
    unblock: str = ""


def file_kind(graph: Graph) -> FileKind:
    """Name the kind of a file, by its operators and the types of its activations."""
    custom = [operator.stem.removeprefix("custom ") for operator in graph.operators if operator.stem[:7] == "custom "]
    for name in custom:
        for part, (chip, compiler) in _ACCELERATORS.items():
            if part in name.lower():
                unblock = f"take the int8 .tflite file that {compiler} was given"
                return FileKind(f"compiled for {chip} (custom operator {name})", unblock)
    if flex := [name for name in custom if name.startswith("Flex")]:
        unblock = "convert without SELECT_TF_OPS, or replace these operators"
        return FileKind(f"needs TensorFlow's own operators ({', '.join(sorted(set(flex)))})", unblock)
    if custom:
        unblock = "convert or export the model without them"
        return FileKind(f"needs custom operators ({', '.join(sorted(set(custom)))})", unblock)
    return _by_types(graph)


def _by_types(graph: Graph) -> FileKind:
    ends = {*graph.inputs, *graph.outputs}
    inside = [graph.tensor(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0 and i not in ends]
    made = {*ends, *(index for operator in graph.operators for index in operator.outputs)}
    types = {tensor.dtype for tensor in inside if tensor.index in made and tensor.dtype not in _NUMBERS}
    weights = {tensor.dtype for tensor in inside if tensor.index not in made}
    border = sorted({graph.tensor(i).dtype for i in ends} - {"int8"})
    if not types:
        types = {graph.tensor(i).dtype for i in ends}
    if "int16" in types and "int8" not in types:
        return FileKind("int16 activations with int8 weights (16x8)", f"for int8: {_QUANTIZE}")
    if "int8" in types:
        mixed = sorted(types & {"float32", "float16", "uint8"})
        islands = f", with {', '.join(mixed)} inside" if mixed else ""
        return FileKind(f"int8{islands}" + (f", {', '.join(border)} at its ends" if border else ""))
    if "uint8" in types:
        return FileKind("uint8, as TensorFlow 1 quantized", f"quantize the float model again: {_QUANTIZE}")
    if "float32" in types and weights & {"int8", "float16"}:
        which = "int8" if "int8" in weights else "float16"
        return FileKind(f"float32 with {which} weights (only weights are quantized)", _QUANTIZE)
    if "float32" in types:
        return FileKind("float32, not quantized", _QUANTIZE)
    return FileKind(f"of {', '.join(sorted(types)) or 'no'} activations", _QUANTIZE)
