"""Verify devices over their line against TFLite Micro, and time their inferences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.tflite import interpreters as reference
from codegen.tflite.border import leave
from codegen.tflite.canonicalize import canonicalize
from codegen.tflite.load import load_graph
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
from nanou_deploy.verify.verify import Progress, rendered_frames


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
    graph = canonicalize(load_graph(model.flatbuffer))
    if real_frames is None:
        real_frames = rendered_frames(model, graph, (count + 1) // 2, seed)
    cases = make_cases(graph, count, seed=seed, real_frames=real_frames)
    progress(f"{TRUTH}, {count} cases")
    truth = reference.run_tflm(model.flatbuffer, cases.file)
    results = [ExecutorResult(TRUTH, "equal", count, count, detail="the reference")]
    for address in addresses:
        with Device.open(address, timeout_s=timeout_s, model_sha256=model.sha256) as device:
            info, golden = device.info(), device.golden()
            _check_sizes(info, graph)
            name = f"device {names[address]}" if address in names else f"{info.board} at {address}"
            progress(f"{name}, {count} cases")

            def run(cases: Cases, device: Device = device) -> npt.NDArray[np.uint8]:
                outputs = np.stack([device.infer(frame).output for frame in cases.frames])
                return leave(graph, outputs.reshape(len(outputs), -1).view(np.uint8))

            layer = "" if golden.passed else f"; golden test fails at {golden.layer or 'an unknown layer'}"
            detail = f"{info.build}{layer}"
            compared = compare(graph, cases, truth, Executor(name, run, None, detail))
            results.append(compared if golden.passed else replace(compared, status="differs"))
    return GoldenReport(model.sha256, count, tuple(results))


def _check_sizes(info: DeviceInfo, graph: Graph) -> None:
    """Raise MalformedAnswer where the device states the model's hash and tensors of other sizes."""
    for name, stated, tensor in (("input", info.input, graph.input), ("output", info.output, graph.output)):
        expect(stated.size_bytes == math.prod(tensor.shape), f"INFO's {name} of shape {stated.shape} for this model")


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
