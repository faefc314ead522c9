"""Verify devices over their line against TFLite Micro, and time their inferences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.tflite import interpreters as reference
from nanou_deploy.device.client import Device
from nanou_deploy.device.messages import DeviceBench, DeviceInfo, expect
from nanou_deploy.verify.golden import (
    TRUTH,
    Cases,
    Executor,
    ExecutorResult,
    GoldenReport,
    compare,
    make_cases,
)
from nanou_deploy.verify.verify import Progress, infer_cases, load, rendered_frames


def verify_devices(
    model: QuantizedModel,
    addresses: Sequence[str],
    count: int,
    *,
    seed: int,
    real_frames: npt.NDArray[np.uint8] | None,
    timeout_s: float,
    progress: Progress,
    names: Mapping[str, str] = MappingProxyType({}),
) -> GoldenReport:
    """Run `count` cases on each device and compare every byte with TFLM's. `names`: what to call an address.

    A device that fails its own golden test differs, and the layer that it names is in the result's detail. Raises
    DeviceError where the line or the device fails, StaleModel where it runs another model.
    """
    graph = load(model)
    if real_frames is None:
        real_frames = rendered_frames(model, graph, (count + 1) // 2, seed)
    cases = make_cases(graph, count, seed=seed, real_frames=real_frames)
    progress(f"{TRUTH}, {count} cases")
    truth = reference.run_tflm(model.flatbuffer, cases.file)
    results = [ExecutorResult(TRUTH, "equal", count, count, detail="the reference")]
    for address in addresses:
        with Device.open(address, timeout_s=timeout_s, model_sha256=model.sha256) as device:
            info, golden = device.info(), device.golden()
            _check_tensors(info, graph)
            name = f"device {names[address]}" if address in names else f"{info.board} at {address}"
            progress(f"{name}, {count} cases")

            def run(cases: Cases, device: Device = device, runtime: str = info.runtime) -> npt.NDArray[np.uint8]:
                return infer_cases(device, graph, cases, runtime=runtime)

            layer = "" if golden.passed else f"; golden test fails at {golden.layer or 'an unknown layer'}"
            detail = f"{info.build}{layer}"
            compared = compare(graph, cases, truth, Executor(name, run, None, detail))
            results.append(compared if golden.passed else replace(compared, status="differs"))
    return GoldenReport(model.sha256, count, tuple(results))


def _check_tensors(info: DeviceInfo, graph: Graph) -> None:
    """Raise MalformedAnswer where the device states the model's hash and other tensors than the model's."""
    is_file = info.runtime == "tflm"
    inputs, outputs = (graph.file_inputs, graph.file_outputs) if is_file else (graph.inputs, graph.outputs)
    for kind, stated, indices in (("input", info.inputs, inputs), ("output", info.outputs, outputs)):
        expect(len(stated) == len(indices), f"INFO's {len(stated)} {kind}s for this model of {len(indices)}")
        for found, tensor in zip(stated, map(graph.tensor, indices), strict=True):
            described = f"INFO's {kind} {found.dtype} {found.shape} for this model's {tensor.dtype} {tensor.shape}"
            expect((found.dtype, found.shape) == (tensor.dtype, tensor.shape or (1,)), described)


@dataclass(frozen=True)
class DeviceTimes:
    """One device's measurements, and the model that it ran."""

    address: str
    info: DeviceInfo
    bench: DeviceBench

    @property
    def fps(self) -> float:
        """Return inferences per second, nothing else being done."""
        return 1e6 / self.bench.mean_us if self.bench.mean_us else 0.0

    @property
    def cycles_per_mac(self) -> float | None:
        """Return cycles per multiply-accumulate; None where cycles are not counted."""
        counted = self.info.counts_cycles and self.info.macs and self.bench.best_cycles
        return round(self.bench.best_cycles / self.info.macs, 3) if counted else None


def bench_devices(
    addresses: Sequence[str], inferences: int, *, per_layer: bool, timeout_s: float, progress: Progress
) -> list[DeviceTimes]:
    """Time whole inferences, and layers if asked for, as each device's own clock has it. Raises DeviceError."""
    times = []
    for address in addresses:
        with Device.open(address, timeout_s=timeout_s) as device:
            info = device.info()
            progress(f"{info.board} at {address}, {inferences} inferences")
            times.append(DeviceTimes(address, info, device.bench(inferences, per_layer=per_layer)))
    return times
