"""The runtime library of emulated Xtensa chips: its division of floats is this processor's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "firmware" / "host" / "xtensa" / "arithmetic.c"
PROGRAM = """
#define __divsf3 divide_floats
#define __udivdi3 divide_integers
#define __umoddi3 remainder_of_integers
#include "arithmetic.c"

static uint32_t random_bits(void) { /* xorshift64: Marsaglia, Xorshift RNGs, 2003 */
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

int main(void) {
    static const uint32_t corners[] = {0, 1, 2, 0x7fffff, 0x800000, 0x800001, 0x7f7fffff, 0x7f800000, 0x7fc00000,
                                       0x3f800000, 0x3f7fffff, 0x33800000, 0x00400000};
    const uint32_t count = sizeof corners / sizeof corners[0];
    for (uint32_t i = 0; i < 400000; ++i) {
        uint32_t a = random_bits(), b = random_bits();
        a = i % 5 == 0 ? corners[a % count] | (b & 0x80000000u) : i % 3 == 0 ? (a & 0x807fffffu) | 0x40000000u : a;
        b = i % 7 == 0 ? corners[b % count] : b;
        const volatile float expected = float_of(a) / float_of(b);
        const float found = divide_floats(float_of(a), float_of(b));
        const int is_nan = expected != expected;
        if (is_nan ? found == found : bits_of(expected) != bits_of(found)) {
            return 1;
        }
    }
    return 0;
}
"""


def test_floats_are_divided_as_this_processor_does_it(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    command = [require_tool("gcc", "clang"), "-O1", "-std=c99", f"-I{SOURCE.parent}", "main.c", "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "program"], check=False).returncode == 0
