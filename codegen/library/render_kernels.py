"""Render each distinct kernel of a program as one C function, with the shared functions that they call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codegen.library.c_text import listed, number_lines, wrap_call
from codegen.library.resources import render_template
from codegen.program.kernel import Kernel
from codegen.program.program import Program


@dataclass(frozen=True)
class RenderedKernels:
    """Holds the names and the texts of all distinct kernels, in the same order; `shared` is what they call."""

    names: Mapping[Kernel, str]
    functions: Sequence[str]
    shared: Sequence[str]


def render_kernels(program: Program, identifier: str) -> RenderedKernels:
    names = kernel_names(program)
    functions = [_kernel_text(kernel, name, _users(program, kernel), identifier) for kernel, name in names.items()]
    return RenderedKernels(names, functions, [*_shared_functions(names), *_padding_rows(program)])


def kernel_names(program: Program) -> dict[Kernel, str]:
    """Give each distinct kernel a unique C name, in order of first use."""
    names: dict[Kernel, str] = {}
    for kernel in (stage.kernel for stage in program.stages):
        base = f"{kernel.name}_{kernel.shape_name}"
        taken = set(names.values())
        # Same shape, other zero points or clamps: a second function, told apart by a number.
        variants = (base if n == 1 else f"{base}_v{n}" for n in range(1, len(names) + 2))
        if kernel not in names:
            names[kernel] = next(variant for variant in variants if variant not in taken)
    return names


def _users(program: Program, kernel: Kernel) -> str:
    """Say which layers use a kernel: "Layer 4" or "Layers 10, 12 and 15"."""
    numbers = [stage.number for stage in program.stages if stage.kernel == kernel]
    return f"Layer{'s' * (len(numbers) > 1)} {listed(numbers)}"


def _kernel_text(kernel: Kernel, name: str, used_by: str, identifier: str) -> str:
    parameters = [f"const {kernel.row_type} *const rows[]", f"{kernel.output.c_type} *output"]
    parameters += [f"const {c_type} *restrict {parameter}" for parameter, c_type in kernel.tables]
    attribute = "NOT_INLINED" if kernel.never_inlined else "KERNEL"
    context = {
        "id": identifier,
        "code": f"{identifier}_{name}",  # of a kernel in assembly
        "signature": wrap_call(f"static {attribute} void {name}", parameters),
        "used_by": used_by,
        "padding_row": "" if kernel.padding_value is None else _padding_row(kernel.padding_value),
        "k": kernel,
    }
    return render_template(f"aot/kernels/{kernel.template}.c.j2", **context)


def render_assembly(program: Program, identifier: str) -> str | None:
    """Render the functions of kernels in assembly, in one file; None where there are none."""
    names = kernel_names(program)
    kernels = {kernel: name for kernel, name in names.items() if kernel.is_assembly}
    functions = [
        render_template(
            f"aot/kernels/{kernel.template}.S.j2",
            code=f"{identifier}_{name}",
            used_by=_users(program, kernel),
            k=kernel,
        )
        for kernel, name in kernels.items()
    ]
    isa = next((kernel.template.split("/")[0] for kernel in kernels), None)
    return render_template(f"aot/kernels/{isa}/_file.S.j2", functions=functions) if isa else None


def _shared_functions(kernels: Mapping[Kernel, str]) -> list[str]:
    """Render what the kernels require, each once."""
    names = dict.fromkeys(name for kernel in kernels for name in kernel.requires)
    return [render_template(f"aot/arithmetic/{name}.c.j2") for name in names]


def _padding_rows(program: Program) -> list[str]:
    """Render a row for each stored zero that kernels read outside the image, as long as the longest that wants it."""
    sizes: dict[int, int] = {}
    aligned = {stage.kernel.padding_value for stage in program.stages if stage.kernel.is_assembly}
    for stage in program.stages:
        zero = stage.kernel.padding_value
        if zero is not None:
            sizes[zero] = max(sizes.get(zero, 0), *(program.rows[i].size_bytes for i in stage.inputs))
    return [
        render_template(
            "aot/arithmetic/padding_row.c.j2",
            zero=zero,
            name=_padding_row(zero),
            size_bytes=size,
            is_aligned=zero in aligned,
            lines=number_lines(np.full(size, zero & 255), 20) if zero else None,
        )
        for zero, size in sorted(sizes.items())
    ]


def _padding_row(zero: int) -> str:
    return f"padding_row_{zero & 255:02x}"
