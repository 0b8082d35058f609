"""Threads of the CPU: as the user sets them, or measured on the machine at hand."""

import logging
import os
import time
from typing import Literal

import torch

from hrm_rl.model import ReasoningModel
from hrm_rl.process.cpus import usable_cpus
from hrm_rl.training.machine.fixed_step import random_tokens

log = logging.getLogger(__name__)

Threads = int | Literal["auto"] | None
"""A number; `auto`: OMP_NUM_THREADS if it is set, else measured; None: as PyTorch has them."""

# PyTorch reads these once, when it is imported.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
MOST_THREADS = 4096
# Another number of threads than the preferred one must be this many times faster.
WORTH_CHANGING = 1.25
# Operations of a probe: a tenth of a second of a laptop's core.
_PROBE_FLOPS = 2e9


def thread_counts(given: Threads = "auto", stored: int | None = None) -> list[int]:
    """The numbers of threads to choose from, the preferred one first.

    One alone if the user set it: `given`, or the environment. Else a run's `stored` number, if this machine
    has that many, PyTorch's own choice and 1: beside another busy process one thread can be many times faster
    than several.

    Raises ValueError for a number that is not 1..4096.
    """
    here = torch.get_num_threads()
    if isinstance(given, int):
        if not 1 <= given <= MOST_THREADS:
            raise ValueError(f"threads must be 1..{MOST_THREADS}, got {given}")
        return [given]
    if given is None or any(os.environ.get(name) for name in _VARIABLES):
        return [here]
    here = min(here, usable_cpus())
    first = stored if stored is not None and 1 <= stored <= here else here
    return list(dict.fromkeys([first, here, 1]))


def fit_threads(model: ReasoningModel, threads: Threads = "auto") -> None:
    """Set PyTorch's number of threads to the user's, or to the fastest for segments of this model."""
    first, *others = thread_counts(threads)
    if others and model.device.type == "cpu":
        seconds = {first: _segment_seconds(model, first)}
        seconds |= {count: WORTH_CHANGING * _segment_seconds(model, count) for count in others}
        first = min(seconds, key=lambda count: seconds[count])
        log.info("Threads: %d, the fastest measured here (--threads N sets them).", first)
    torch.set_num_threads(first)


@torch.no_grad()
def _segment_seconds(model: ReasoningModel, threads: int) -> float:
    """Seconds of a segment of a few rows: the faster of two, after one to warm up."""
    torch.set_num_threads(threads)
    config = model.config
    calls = config.segment_blocks / model.blocks
    flops = calls * model.num_parameters() * config.tokens
    rows = int(min(256, max(1, _PROBE_FLOPS / flops)))
    with torch.random.fork_rng(devices=[]):
        inputs, ids = random_tokens(config, rows), torch.zeros(rows, dtype=torch.int64)
    carry, times = model.initial_carry(rows), []
    for _ in range(3):
        start = time.perf_counter()
        model(carry, inputs, ids)
        times.append(time.perf_counter() - start)
    return min(times[1:])
