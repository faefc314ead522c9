"""Measure inferences on a device by the protocol's BENCH."""

from __future__ import annotations

from dataclasses import replace

from nanou_deploy.device import messages as m
from nanou_deploy.device.exchange import COMPUTING, Exchange
from nanou_deploy.device.messages import DeviceBench, LayerBench


def measure(exchange: Exchange, inferences: int, layers: int) -> DeviceBench:
    """Measure inferences, each a request of its own; where there are `layers` to tell of, as many traced ones too."""
    runs = [_run(exchange, 0) for _ in range(inferences)]
    times, cycles = ([run[i] for run in runs] for i in (0, 1))
    result = DeviceBench(
        inferences, min(times), sum(times) / inferences, max(times), min(cycles), sum(cycles) / inferences
    )
    return replace(result, layers=_layers(exchange, inferences, layers)) if layers else result


def _run(exchange: Exchange, what: int) -> tuple[int, int]:
    answer = exchange.ask(m.BENCH, m.BENCH_REQUEST.pack(what, 0), patience=COMPUTING)
    measured, time_us, cycles = m.unpack(m.BENCH_ANSWER, answer, "BENCH")
    m.expect(measured == what, "BENCH measured something else")
    return time_us, cycles


def _layers(exchange: Exchange, inferences: int, count: int) -> tuple[LayerBench, ...]:
    """Take each layer's fewest cycles of so many traced inferences."""
    layers: list[LayerBench] = []
    for _ in range(inferences):
        _run(exchange, 1)
        run = [_layer(exchange, number) for number in range(count)]
        layers = [min(pair, key=lambda layer: layer.cycles) for pair in zip(layers or run, run, strict=True)]
    return tuple(layers)


def _layer(exchange: Exchange, number: int) -> LayerBench:
    answer = exchange.ask(m.BENCH, m.BENCH_REQUEST.pack(2, number))
    what, layer, operator_index, cycles = m.unpack(m.BENCH_LAYER, answer, "BENCH")
    m.expect((what, layer) == (2, number), "BENCH tells of another layer")
    return LayerBench(m.text(answer[m.BENCH_LAYER.size :]), operator_index, cycles)
