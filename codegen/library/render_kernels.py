"""Render each distinct kernel of a program as one C function, with the shared arithmetic that they call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codegen.library.c_text import listed, number_lines, wrap_call, wrap_items
from codegen.library.escaping import Rendered
from codegen.library.resources import render_template
from codegen.program.program import Kernel, Program


@dataclass(frozen=True)
class RenderedKernels:
    """`names`: the C function of each distinct kernel; `functions`: their text, in the same order; `shared`: the text
    of what they call."""

    names: Mapping[Kernel, str]
    functions: Sequence[str]
    shared: Sequence[str]


def render_kernels(program: Program) -> RenderedKernels:
    names = kernel_names(program)
    functions = [_kernel_text(kernel, name, _users(program, kernel)) for kernel, name in names.items()]
    return RenderedKernels(names, functions, _shared_functions(program, "".join(functions)))


def kernel_names(program: Program) -> dict[Kernel, str]:
    """A unique C name for each distinct kernel, in order of first use."""
    names: dict[Kernel, str] = {}
    for kernel in (stage.kernel for stage in program.stages):
        base = f"{kernel.template}_{kernel.shape_name}"
        taken = set(names.values())
        # Same shape, other zero points or clamps: a second function, told apart by a number.
        variants = (base if n == 1 else f"{base}_v{n}" for n in range(1, len(names) + 2))
        if kernel not in names:
            names[kernel] = next(variant for variant in variants if variant not in taken)
    return names


def _users(program: Program, kernel: Kernel) -> str:
    """ "Layer 4" or "Layers 10, 12 and 15"."""
    numbers = [stage.number for stage in program.stages if stage.kernel == kernel]
    return f"Layer{'s' * (len(numbers) > 1)} {listed(numbers)}"


def _kernel_text(kernel: Kernel, name: str, used_by: str) -> str:
    padding = kernel.values.get("padding")
    padding_row = _padding_row(padding) if isinstance(padding, int) else ""
    if kernel.input.c_type != "uint8_t":
        padding_row = f"(const {kernel.input.c_type} *){padding_row}"
    parameters = [f"const {kernel.input.c_type} *const rows[]", f"{kernel.output.c_type} *output"]
    parameters += [f"const {c_type} *restrict {parameter}" for parameter, c_type in kernel.tables]
    context = {
        "signature": wrap_call(f"KERNEL static void {name}", parameters),
        "used_by": used_by,
        "constants": "",
        "input_type": kernel.input.c_type,
        "output_type": kernel.output.c_type,
        "k": {
            **kernel.values,
            "padding_row": padding_row,
            "weight_type": dict(kernel.tables).get("weights", ""),
        },
    }
    template = f"aot/ops/{kernel.template}.c.j2"
    text = render_template(template, **context)
    constants = [f"{key.upper()} = {value}" for key, value in kernel.constants if isinstance(value, int)]
    used = [constant for constant in constants if re.search(rf"\b{constant.split()[0]}\b", text)]
    return render_template(template, **{**context, "constants": wrap_items(used, " " * 8)})


def _shared_functions(program: Program, kernels: str) -> list[str]:
    """The shared functions that the chosen kernels call, each once."""
    results = " ".join(str(stage.kernel.values.get("result", "")) for stage in program.stages)
    sections: list[str] = []
    if "requantize(" in results:
        sections.append(render_template("aot/requantize.c.j2"))
    for name in ("high_mul", "clamp_to_byte", "clamp_to_biased_byte", "clamp_to_int8", "clamp_to_range"):
        if f"{name}(" in results:
            sections.append(render_template(f"aot/{name}.c.j2"))
    for name in ("smlad", "smladx", "load_word"):
        if f"{name}(" in kernels:
            sections.append(render_template(f"aot/{name}.c.j2"))
    padded = [stage for stage in program.stages if "padding" in stage.kernel.values]
    for zero in sorted({int(str(stage.kernel.values["padding"])) for stage in padded}):
        row_bytes = [program.rows[s.inputs[0]].size_bytes for s in padded if s.kernel.values["padding"] == zero]
        lines = number_lines(np.full(max(row_bytes), zero & 255), 20)
        initializer = Rendered("{\n" + "".join(f"    {line},\n" for line in lines) + "}") if zero else "{0}"
        context = {
            "zero": zero,
            "name": _padding_row(zero),
            "size_bytes": max(row_bytes),
            "initializer": initializer,
        }
        sections.append(render_template("aot/padding_row.c.j2", **context))
    return sections


def _padding_row(zero: int) -> str:
    return f"padding_row_{zero & 255:02x}"
