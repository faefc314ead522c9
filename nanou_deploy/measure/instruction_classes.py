"""Classify instructions by mnemonic, for `bench --breakdown`.

The mnemonic alone decides, so every executed instruction is in exactly one class:

class                 | RV32IMC            | Armv7E-M                           | Xtensa (ESP32)
load                  | lb lbu lh lhu lw   | LDR..., LDM, POP                   | L8UI, L16UI/SI, L32I/R/E, EE.VLD...
store                 | sb sh sw           | STR..., STM, PUSH                  | S8I, S16I, S32I/E, EE.VST...
multiply              | mul                | MUL, MLA, MLS, SMLAxy, SMLAD, ...  | MULL, MUL16S/U, EE.VSMULAS...
multiply_high_clamp   | mulh mulhu mulhsu  | SMULL, UMULL, SMMUL, ..., SSAT,    | MULSH, MULUH, CLAMPS, MIN(U), MAX(U),
                      | min(u) max(u)      | USAT                               | EE.SRCMB..., EE.VMAX..., EE.VMIN...
jump                  | branches, j, jal,  | B..., CBZ, TBB/TBH, IT             | branches, J, CALL, RET, LOOP, ENTRY
                      | jr, jalr, ret      |                                    |
arithmetic            | everything else: additions, shifts, moves, comparisons, address computation

Multiplications whose high half is kept, and saturations, serve requantization; a core without the latter (RV32IMC)
clamps with arithmetic and jumps. Of the same class are MIN and MAX where pooling uses them. An Arm instruction of an
IT block counts in its class whether its condition holds or not.

Sources: "The RISC-V Instruction Set Manual, Volume I" (2019), chapters 2, 7, 16; "Armv7-M Architecture Reference
Manual" (DDI 0403E), A7; "Xtensa Instruction Set Architecture Reference Manual" (2010), chapter 6.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from nanou_deploy.build.toolchain import find_disassembler
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.vector_instructions import without_vectors

CLASSES = ("load", "store", "multiply", "multiply_high_clamp", "arithmetic", "jump")

_CONDITION = "(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?"
_RULES: Mapping[str, Mapping[str, str]] = {  # by the first two letters of the instruction set
    "rv": {
        "load": r"l[bhw]u?(sp)?",
        "store": r"s[bhw](sp)?",
        "multiply": r"mul",
        "multiply_high_clamp": r"mulh(u|su)?|(min|max)u?",
        "jump": r"b(eq|ne|lt|ge|gt|le)(u|z)?|j|jal|jr|jalr|ret|call|tail",
    },
    "ar": {
        "load": r"(ldr|ldm|pop)\w*",
        "store": r"(str|stm|push)\w*",
        "multiply": rf"(muls?|mla|mls|sm(ul|la)([bt][bt]|w[bt])|smlal[bt][bt]|sm(u|l)[as]dx?|sml[as]ldx?){_CONDITION}",
        "multiply_high_clamp": rf"([su]mull|[su]mlal|umaal|smm(ul|la|ls)r?|[su]sat(16)?){_CONDITION}",
        "jump": rf"(b|bl|bx|blx){_CONDITION}|cbn?z|tb[bh]|it[te]{{0,3}}",
    },
    "xt": {
        "load": r"l(8ui|16[us]i|32(i|r|e|ai))|ee\.v?ld.*",
        "store": r"s(8i|16i|32(i|e|ri|c1i))|ee\.vst.*",
        "multiply": r"mull|mul16[su]|mula?\..*|ee\.vs?mulas.*",
        "multiply_high_clamp": r"mul[su]h|clamps|(min|max)u?|ee\.(srcmb|vmax|vmin).*",
        "jump": r"b(eq|ne|ge|lt)(i|z|u|ui)?|b(all|any|nall|none|bc|bs|bci|bsi|f|t)|j|jx|callx?(0|4|8|12)"
        r"|retw?|entry|loop\w*|rf(e|wo|wu)",
    },
}
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+([\w.]+)(?:\s|$)", re.MULTILINE)


def classify(isa: str, mnemonic: str) -> str:
    """Classify an instruction by its name as objdump prints it, suffixes of width included."""
    name = re.sub(r"^c\.|\.[nw]$", "", mnemonic)
    rules = _RULES[isa[:2]]
    return next((kind for kind, pattern in rules.items() if re.fullmatch(pattern, name)), "arithmetic")


def disassemble(program: Path, isa: str) -> Mapping[int, str]:
    """Map addresses to mnemonics of everything in the code sections. Raises ToolMissing without an objdump."""
    if isa == "xtensa-esp32s3":
        with TemporaryDirectory(prefix="nanou-") as folder:
            copy = Path(folder) / "program.elf"
            vectors = without_vectors(program, copy)
            return {**_disassemble(copy, isa), **vectors}
    return _disassemble(program, isa)


def _disassemble(program: Path, isa: str) -> Mapping[int, str]:
    tool = find_disassembler(isa)
    options = ["--mcpu=esp32"] if isa.startswith("xtensa") else []
    command = [*tool.command, "-d", "--no-show-raw-insn", *options, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise DeployError(
            f"{tool.name} failed: {done.stderr.strip()[-300:]}", hint="is its version that of the compiler?"
        )
    return {int(address, 16): name for address, name in _LINE.findall(done.stdout)}
