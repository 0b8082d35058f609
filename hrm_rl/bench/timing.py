"""Timing side by side: every way once a round, round after round, in one process."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hrm_rl.training.machine.compute import Compute


@dataclass(frozen=True)
class Way:
    """One way to do something, and PyTorch's switches while it does."""

    run: Callable[[], Any]
    compute: Compute

    def seconds(self) -> float:
        """One run by the clock, the device's queue emptied before and after."""
        self.compute.apply()
        start = now(self.compute)
        self.run()
        return now(self.compute) - start


def now(compute: Compute) -> float:
    """The clock, once the device has done what was asked of it."""
    if compute.device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def interleaved(ways: Mapping[str, Way], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every way, `rounds` times each, taking turns, so that what disturbs one disturbs all."""
    for way in ways.values():
        for _ in range(warm_up):
            way.seconds()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way.seconds())
    return seconds


def ratio_row(
    name: str, ours: Sequence[float], other: Sequence[float], against: str
) -> dict[str, Any]:
    """A row of `hrm-rl bench`: medians, and how many times faster ours was in each round."""
    ratios = sorted(b / a for a, b in zip(ours, other, strict=True))
    return {
        "name": name,
        "ours": statistics.median(ours),
        "other": statistics.median(other),
        "against": against,
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
    }
