"""Classes of instructions by mnemonic, as GNU's and LLVM's disassemblers print them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.measure.instruction_classes import CLASSES, classify, disassemble

EXAMPLES = {
    "rv32imc": {
        "load": "lb lbu lh lhu lw c.lw c.lwsp",
        "store": "sb sh sw c.sw",
        "multiply": "mul c.mul",
        "multiply_high_clamp": "mulh mulhu mulhsu max minu",
        "arithmetic": "add addi li lui mv sub sll srai and slt sltu auipc div rem nop csrr",
        "jump": "beq bne blt bgeu beqz blez bgtz j jal jr jalr ret c.j",
    },
    "armv7e-m": {
        "load": "ldr ldr.w ldrb ldrsh.w ldrd ldrne ldmia.w pop ldrex",
        "store": "str strb.w strd stmdb push strhi",
        "multiply": "mul mul.w muls mla mls smulbb smlabb smlatt smlawb smlad smladx smuad smlald smlalbb mulne",
        "multiply_high_clamp": "smull umull smlal umlal smmul smmulr smmla usat ssat usat16 usatlt",
        "arithmetic": "add adds.w sub.w mov movlt cmp bic bfi and.w lsls uxtb sxth sdiv pkhbt nop bkpt rsb",
        "jump": "b b.n bne.n bls.n bhi.w bl blx bx cbz cbnz tbb tbh it ite itte",
    },
    "xtensa-lx6": {
        "load": "l8ui l16si l16ui l32i l32i.n l32r l32e",
        "store": "s8i s16i s32i s32i.n s32e",
        "multiply": "mull mul16s mul16u mula.dd.ll",
        "multiply_high_clamp": "mulsh muluh clamps min max minu maxu",
        "arithmetic": "add add.n addi addx4 sub or movi movi.n mov.n extui sext srai slli ssr nop moveqz",
        "jump": "beq beqz beqz.n bnei bgeu bltui bltz ball bbci bnone j jx call8 callx8 ret retw retw.n entry loop "
        "loopnez rfe rfwo",
    },
}


@pytest.mark.parametrize(
    ("isa", "kind", "mnemonic"),
    [(isa, kind, name) for isa, kinds in EXAMPLES.items() for kind, names in kinds.items() for name in names.split()],
)
def test_every_instruction_has_its_class(isa: str, kind: str, mnemonic: str) -> None:
    assert kind in CLASSES
    assert classify(isa, mnemonic) == kind


def test_the_disassembly_has_every_instruction(require_tool: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text("_start: lw a0, 0(a1)\n mulh a0, a0, a2\n sb a0, 3(a1)\n ret\n")
    command = [require_tool("riscv64-unknown-elf-gcc"), "-march=rv32im", "-mabi=ilp32", "-nostdlib"]
    subprocess.run([*command, "-Wl,-Ttext=0x1000", "a.s", "-o", "a.elf"], cwd=tmp_path, check=True)
    found = disassemble(tmp_path / "a.elf", "rv32imc")
    assert found == {0x1000: "lw", 0x1004: "mulh", 0x1008: "sb", 0x100C: "ret"}


def test_what_objdump_says_is_passed_on(require_tool: Callable[..., str], tmp_path: Path) -> None:
    require_tool("riscv64-unknown-elf-objdump")
    (tmp_path / "a.elf").write_bytes(b"no program")
    with pytest.raises(DeployError, match="objdump failed"):
        disassemble(tmp_path / "a.elf", "rv32imc")


@pytest.mark.parametrize("isa", EXAMPLES)
def test_a_missing_disassembler_is_named(isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="objdump"):
        disassemble(tmp_path / "a.elf", isa)
