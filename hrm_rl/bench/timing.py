"""Interleaved timing in one process: in every round, each way runs once."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hrm_rl.model import HRMConfig
from hrm_rl.stopwatch import Stopwatch, clock
from hrm_rl.training.machine.compute import Compute

_PRODUCTS = (
    *("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "mkldnn::_linear_pointwise"),
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
)


@dataclass(frozen=True)
class Way:
    """One way to do something, and PyTorch's switches for it."""

    run: Callable[[], Any]
    compute: Compute

    def seconds(self, *, alone: bool = False) -> float:
        """Seconds of one run by the clock `now`; the device's queue is empty before and after."""
        self.compute.apply()
        start = now(self.compute, alone=alone)
        self.run()
        return now(self.compute, alone=alone) - start


@dataclass(frozen=True)
class Samples:
    """Seconds of one way, round by round."""

    seconds: Sequence[float]
    cpu_share: float = 1.0
    """Of the time of all rounds, as in `stopwatch.Timing`."""


def now(compute: Compute, *, alone: bool = False) -> float:
    """The clock, read when the device has finished its work; `alone`: one thread's of a CPU."""
    if compute.device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock(1 if alone else None)


def on_one_thread(*computes: Compute) -> bool:
    """Whether all of these compute on one thread of a CPU, so that its CPU seconds compare them."""
    return all(compute.device == "cpu" and compute.threads == 1 for compute in computes)


def interleaved(ways: Mapping[str, Way], rounds: int, warm_up: int = 1, runs: int = 1) -> dict[str, Samples]:
    """Seconds of every way, `rounds` times each, interleaved so that a disturbance affects all.

    Seconds are divided by `runs`, the repetitions in one call. Raises ValueError if the clock does not move.
    """
    for way in ways.values():
        for _ in range(warm_up):
            way.seconds()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    alone = on_one_thread(*(way.compute for way in ways.values()))
    on_gpu = any(way.compute.device != "cpu" for way in ways.values())
    watch = Stopwatch("cuda" if on_gpu else "cpu")
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way.seconds(alone=alone) / runs)
    share = watch.read().cpu_share
    if not all(min(times) > 0 for times in seconds.values()):
        raise ValueError("the clock did not move, so that nothing can be measured")
    return {name: Samples(times, share) for name, times in seconds.items()}


def product_share(way: Way) -> float:
    """Share of a run's time on a CPU in matrix products and fused attention, of operations in all, by
    PyTorch's profiler; what lies between operations is not counted."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        way.seconds()
    seconds = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return sum(seconds.get(name, 0.0) for name in _PRODUCTS) / sum(seconds.values())


def ratio_row(name: str, ours: Samples, other: Samples, against: str) -> dict[str, Any]:
    """A row of `hrm-rl bench`: median seconds, and the ratios of the rounds (other / ours)."""
    ratios = sorted(b / a for a, b in zip(ours.seconds, other.seconds, strict=True))
    return {
        "name": name,
        "ours": statistics.median(ours.seconds),
        "other": statistics.median(other.seconds),
        "against": against,
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "cpu_share": min(ours.cpu_share, other.cpu_share),
    }


def shape(model: HRMConfig, rows: int) -> str:
    """A model and batch in the names of rows: h512.s81.b16."""
    return f"h{model.hidden_size}.s{model.seq_len}.b{rows}"
