"""Generated C -> the most stack that a call of the library takes, per processor, without a compiler.

The bound is read off the text that is emitted. A compiler keeps a function's variables in registers or gives each a
place in the frame, beside the function's arrays and the registers that belong to the caller. So a frame takes

    saved registers + arrays + a word * max(0, variables in scope + spare - registers)

Variables in scope: the most at any point of the function, int64_t counting twice; also the elements of a table that an
inner loop reads at a fixed place, since they may be kept over that loop. `spare` is for what has no name: addresses,
ends of loops, intermediate results. What a function calls may be inlined or not, and the bound is the largest over
these choices: the callee's variables and arrays add to the caller's, or its frame comes on top. Of several callees the
largest counts, because they are never active at the same time.

That a compiler makes no more than `spare` values of its own is an assumption about gcc -O2 (for Xtensa, LLVM -O2), not
a theorem. It is tested: tests/golden/test_stack.py compares the bound with what gcc states of every function
(-fcallgraph-info=su), and with the stack that emulated processors used. Callbacks of nanou_invoke_rows and interrupts
come on top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LIBRARY_BYTES = 32  # memcpy and memset: leaves that save a few registers
_LIBRARY = frozenset({"memcpy", "memset"})

_FUNCTION = re.compile(
    r"^(?P<head>(?:[\w*]+ )+\*?)(?P<name>\w+)\((?P<parameters>[^;{}]*?)\) \{\n(?P<body>.*?)^\}", re.M | re.S
)
_NOISE = re.compile(r"/\*.*?\*/|^#[^\n]*$", re.M | re.S)
_DECLARATION = re.compile(
    r"(?:static )?(?:const )?(?P<type>u?int(?P<bits>\d+)_t|size_t|int|\w+_t|void)\b(?P<names> .*)", re.S
)
_FIXED_READ = re.compile(r"\b(\w+)\[(\d+)\]")


@dataclass(frozen=True)
class StackModel:
    """What a frame looks like on one processor.

    `registers` can hold variables, `preserved` of them across a call; `saved_bytes` is for a return address and every
    register of the caller; `below_bytes` may be used below the last frame. `inlines_kernels`: what KERNEL of
    nanou_model.c.j2 leaves to the compiler.
    """

    name: str
    condition: str  # of the C preprocessor
    word_bytes: int
    registers: int
    preserved: int
    saved_bytes: int
    alignment_bytes: int
    below_bytes: int = 0
    spare: int = 4
    inlines_kernels: bool = True


# RISC-V saves ra and s0 to s11; zero, sp, gp and tp hold no variables. Arm saves r4 to r11 and lr. Xtensa's windowed
# ABI keeps room for the window: 32 bytes in each frame, 16 below it. Armv6-M computes with r0 to r7 alone, and calls a
# function for 64-bit products, so that only what that preserves is of use. x86-64 saves six registers and the return
# address, and has a red zone.
STACK_MODELS = (
    StackModel("RISC-V, 32 bits", "defined(__riscv) && __riscv_xlen == 32", 4, 28, 12, 13 * 4, 16),
    StackModel("Armv6-M", "defined(__ARM_ARCH_6M__)", 4, 8, 8, 9 * 4, 8, 32, spare=12),
    StackModel("Arm, 32 bits", "defined(__arm__)", 4, 14, 8, 9 * 4, 8),
    StackModel("Xtensa, windowed", "defined(__XTENSA__)", 4, 14, 6, 32, 16, 16, spare=12, inlines_kernels=False),
    StackModel("x86-64", "", 8, 15, 6, 7 * 8, 16, 128),
)


@dataclass(frozen=True)
class Function:
    """One C function, as far as its frame goes. `arrays`: elements and bytes of each, 0 bytes for pointers."""

    name: str
    head: str  # what precedes the name: storage class and type
    variables: int
    arrays: tuple[tuple[int, int], ...]
    callees: tuple[str, ...]
    makes_calls: bool  # of anything but inline functions

    @property
    def is_public(self) -> bool:
        return "static" not in self.head

    @property
    def is_inline(self) -> bool:
        return "inline" in self.head

    def is_separate(self, model: StackModel) -> bool:
        """Never inlined."""
        return "NOT_INLINED" in self.head or ("KERNEL" in self.head and not model.inlines_kernels)

    def array_bytes(self, word_bytes: int) -> int:
        return sum(count * (size_bytes or word_bytes) for count, size_bytes in self.arrays)


def read_functions(source: str) -> Mapping[str, Function]:
    """Every function of generated C by name. Of two definitions, chosen by the preprocessor, the larger."""
    matches = list(_FUNCTION.finditer(_NOISE.sub("", source)))
    inline = {match["name"] for match in matches if "inline" in match["head"]}
    known = {match["name"] for match in matches} | _LIBRARY
    found: dict[str, Function] = {}
    for match in matches:
        reader = _Reader(match["parameters"])
        variables = reader.most_variables(match["body"])
        called = set(re.findall(r"\b(\w+)\(", match["body"]))
        calls = bool(called & ((known | reader.parameters) - inline))
        function = Function(
            match["name"], match["head"], variables, tuple(reader.arrays), tuple(sorted(called & known)), calls
        )
        if function.name not in found or found[function.name].variables < variables:
            found[function.name] = function
    return found


class _Reader:
    """Walks the statements of one function body, with the number of variables of each open block."""

    def __init__(self, parameters: str) -> None:
        self.parameters = {re.findall(r"\w+", part)[-1] for part in parameters.split(",")}
        self.blocks = [sum(1 + ("int64_t " in part) for part in parameters.split(","))]
        self.loops = [False]
        self.header = 0  # variables of a `for` whose block comes next
        self.arrays: list[tuple[int, int]] = []

    def most_variables(self, body: str) -> int:
        """The most at any point, with what inner loops read at a fixed place."""
        most, begins_loop, kept = self.blocks[0], False, set()
        pieces = iter(re.findall(r"[^{};]*[{};]", body))
        for piece in pieces:
            statement = piece[:-1].strip()
            begins_loop = begins_loop or statement.startswith(("for (", "while ("))
            if self.loops.count(True) > 1:
                kept |= {read for read in _FIXED_READ.findall(statement) if read[0] in self.parameters}
            if declared := _DECLARATION.fullmatch(statement.removeprefix("for (")):
                self._declare(declared, statement.startswith("for ("), next(pieces) if piece[-1] == "{" else "")
            elif piece[-1] == "{":
                self.blocks.append(self.header)
                self.loops.append(begins_loop)
                self.header, begins_loop = 0, False
            elif piece[-1] == "}":
                self.blocks.pop()
                self.loops.pop()
            most = max(most, sum(self.blocks))
        return most + len(kept)

    def _declare(self, declared: re.Match[str], is_header: bool, initializer: str) -> None:
        names = list(_split(declared["names"]))
        if array := re.search(r"(\*)?\w*\w\[(\w*)\]\s*=?", names[0].split("=")[0]):
            count = int(array[2]) if array[2] else len(list(_split(initializer.strip(" \n}").rstrip(",\n "))))
            self.arrays.append((count, 0 if "*" in names[0].split("[")[0] else int(declared["bits"]) // 8))
            return
        words = sum(2 if declared["bits"] == "64" and "*" not in name.split("=")[0] else 1 for name in names)
        if is_header:
            self.header += words
        else:
            self.blocks[-1] += words


def _split(text: str) -> Iterator[str]:
    """At commas outside brackets."""
    depth, start = 0, 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def stack_bytes(functions: Mapping[str, Function], model: StackModel) -> int:
    """The most that any public function takes, its own return address included. Raises ValueError on recursion."""
    for function in functions.values():
        _refuse_recursion(functions, function.name, ())
    return model.below_bytes + max(_deepest(functions, f.name, model) for f in functions.values() if f.is_public)


def _refuse_recursion(functions: Mapping[str, Function], name: str, active: tuple[str, ...]) -> None:
    if name in active:
        raise ValueError(f"{name} calls itself, by way of {', '.join(active[active.index(name) :])}")
    for callee in functions[name].callees if name in functions else ():
        _refuse_recursion(functions, callee, (*active, name))


def _deepest(functions: Mapping[str, Function], name: str, model: StackModel) -> int:
    if name not in functions:
        return LIBRARY_BYTES
    function = functions[name]
    inlined = {callee: _inlined(functions, callee, model) for callee in function.callees}
    most = 0
    for separate in ("", *(n for n in function.callees if n not in functions or not functions[n].is_inline)):
        others = [need for callee, need in inlined.items() if callee != separate]
        below = _deepest(functions, separate, model) if separate else 0
        most = max(most, _frame_bytes(_need(function, others, model), model) + below)
    return most


@dataclass(frozen=True)
class _Need:
    """Of a function and what is inlined into it: variables, those alive across a call, bytes of arrays."""

    variables: int
    across_calls: int
    array_bytes: int


def _need(function: Function, inlined: Sequence[_Need], model: StackModel) -> _Need:
    across = max((need.across_calls for need in inlined), default=0)
    return _Need(
        function.variables + max((need.variables for need in inlined), default=0),
        function.variables + across if function.makes_calls else 0,
        function.array_bytes(model.word_bytes) + max((need.array_bytes for need in inlined), default=0),
    )


def _inlined(functions: Mapping[str, Function], name: str, model: StackModel) -> _Need:
    if name not in functions or functions[name].is_separate(model):
        return _Need(0, 0, 0)
    return _need(functions[name], [_inlined(functions, callee, model) for callee in functions[name].callees], model)


def _frame_bytes(need: _Need, model: StackModel) -> int:
    """Two areas, each aligned as gcc does it: saved registers, of which none is used without need, and the rest."""
    saved = min(model.saved_bytes, (1 + need.variables + model.spare) * model.word_bytes)
    spilled = max(0, need.variables + model.spare - model.registers, need.across_calls + model.spare - model.preserved)
    places = -(-need.array_bytes // model.word_bytes) + spilled
    return _aligned(saved, model) + _aligned(places * model.word_bytes, model)


def _aligned(size_bytes: int, model: StackModel) -> int:
    return -(-size_bytes // model.alignment_bytes) * model.alignment_bytes
