"""Vector kernels wait for no load; what they do wait for is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.library.render import render_aot
from codegen.program.target import ESP32S3
from nanou_deploy.build.library import open_model
from tests.exactness import compile_bytes
from tests.pie.hazards import Instruction, bounds_of, functions_of, waits_of
from tests.pie.test_channel_kernels import depth_multiplier, many_channels, no_window, small_images, tall_window
from tests.pie.test_elementwise_kernels import residual


def test_only_sums_and_their_shift_are_used_at_once() -> None:
    """A sum is shifted as soon as it is complete, and where nothing else is left to do stored."""
    builds = (small_images, depth_multiplier, tall_window, no_window, many_channels)
    shipped = (open_model(Path(name)).flatbuffer for name in ("nano_u_offroad", "nano_u_offroad_small"))
    models = [*shipped, residual((9, 12, 3), 16), *(build() for build in builds)]
    kinds = set()
    for model in models:
        files = render_aot(compile_bytes(model, target=ESP32S3)).files
        for name, code in functions_of(next(text for path, text in files.items() if path.endswith(".S"))).items():
            kinds.add(name.partition("_esp32s3_")[0])
            for first, second in waits_of(code):
                completes = "MULAS" in first.name and second.name == "EE_SRCMB_S8_QACC"
                stores = first.name == "EE_SRCMB_S8_QACC" and second.name.startswith("EE_VST")
                assert completes or stores, (name, first, second)
    assert len(kinds) >= 8


def test_a_load_that_is_used_at_once_is_found() -> None:
    load, product = Instruction(0, "EE_VLD_128_IP", ("q0", "a2", "16")), ("q1", "q0", "3")
    assert list(waits_of((load, Instruction(3, "EE_VSMULAS_S8_QACC", product))))
    assert not list(waits_of((load, Instruction(3, "EE_VSMULAS_S8_QACC", ("q1", "q2", "3")))))
    assert list(waits_of((Instruction(0, "l32i", ("a5", "a2", "0")), Instruction(3, "add", ("a3", "a5", "a4")))))


@pytest.mark.usefixtures("pie_tools")
def test_what_a_kernel_waits_is_counted(tmp_path: Path) -> None:
    bounds = bounds_of(compile_bytes(residual((9, 12, 3), 16), target=ESP32S3), tmp_path)
    sums = bounds["scaled_sum"]
    assert sums.taken == 0
    assert sums.waits == 4 * 9 * 12 * 3  # four layers, nine rows of twelve vectors, two digits and a store
    assert all(bound.instructions > bound.waits > 0 for kind, bound in bounds.items())
