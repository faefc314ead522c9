"""The kernels' macros write the bytes that the ESP32-S3's own assembler would."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from codegen.library.resources import render_template
from nanou_deploy.build.machines import XtensaCompiler
from nanou_deploy.build.toolchain import find_xtensa_tools
from tests.pie.words import Form, read_forms

WORDS_PER_FORM = 40


def _operand(name: str, rng: np.random.Generator) -> int:
    if name.startswith("q"):
        return int(rng.integers(8))
    if name == "imm16":
        return int(rng.integers(-128, 128)) * 16
    return int(rng.integers(16))  # an address register or one of 16 lanes


def _text(form: Form, values: list[int]) -> str:
    macro = form.name.upper().replace(".", "_")
    words = [
        f"{'q' if name.startswith('q') else 'a'}{value}" if name[0] in "qa" else str(value)
        for name, value in zip(form.operands, values, strict=True)
    ]
    return f"{macro}({', '.join(words)})" if words else macro


def test_every_macro_writes_the_documented_word(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("llvm-mc-22")
    rng, forms = np.random.default_rng(0), read_forms()
    text, expected = [render_template("aot/kernels/esp32s3/_instructions.S.j2")], b""
    for form in forms.values():
        for _ in range(WORDS_PER_FORM if form.operands else 1):
            values = [_operand(name, rng) for name in form.operands]
            text.append(_text(form, values))
            expected += form.encode(*values)
    source = tmp_path / "words.S"
    source.write_text("\n".join(text) + "\n")
    for command in XtensaCompiler(find_xtensa_tools()).compile_commands((), source, tmp_path / "words.o"):
        subprocess.run(command, check=True, timeout=60)
    dump = ["xtensa-lx106-elf-objcopy", "-O", "binary", "-j", ".text", "words.o", "words.bin"]
    subprocess.run(dump, check=True, cwd=tmp_path, timeout=60)
    assert (tmp_path / "words.bin").read_bytes() == expected


def test_macros_and_facts_name_the_same_instructions() -> None:
    text = render_template("aot/kernels/esp32s3/_instructions.S.j2")
    macros = {word.split("(")[0] for word in text.split() if word.startswith(("EE_", "WUR_"))}
    assert macros == {name.upper().replace(".", "_") for name in read_forms()}
