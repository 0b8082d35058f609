"""Where and how to compute: device, dtype, threads. On a CPU the fastest way is measured, not guessed."""

import dataclasses
import logging
import math
import os
import shutil
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.kernels.precision import has_fast_bfloat16
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.model.config import FORWARD_DTYPES

log = logging.getLogger(__name__)

Compiling = Literal["auto", "yes", "no"]

# Work of one probe step, in floating-point operations: a few tenths of a second on a laptop's core.
_PROBE_FLOPS = 2e10
# Above this relative error oneDNN has not kept float32 (on AMX it computes in bfloat16).
_FLOAT32_ERROR = 1e-5
# How many times faster a way has to be than plain float32 on all threads for each thing it changes.
_WORTH_CHANGING = {"dtype": 1.25, "matmul_precision": 1.25, "threads": 1.25, "compile": 1.05}
# On a CPU, a step longer than this many seconds is no use to anybody who did not ask for it.
LONG_STEP = 20.0
# Compiling the block takes up to half a minute and saves about a fifth of a step: for long runs only.
_WORTH_COMPILING = 900.0


@dataclass(frozen=True)
class Compute:
    """How a run computes."""

    device: str = "cpu"
    dtype: str = "float32"
    matmul_precision: str = "highest"
    """torch.set_float32_matmul_precision: `medium` routes a CPU's float32 products to oneDNN."""
    threads: int | None = None
    """Threads of the CPU; None leaves PyTorch's own choice."""
    compile: bool = False
    """Compile the model's block with torch.compile."""

    def apply(self) -> None:
        """Set PyTorch's process-wide switches."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def __str__(self) -> str:
        words = [self.device, self.dtype]
        if self.matmul_precision == "medium":
            words[1] += " through oneDNN"
        if self.threads:
            words.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        if self.compile:
            words.append("compiled")
        return ", ".join(words)


@dataclass(frozen=True)
class Choice:
    """The way chosen, and what a training step costs in it."""

    compute: Compute
    row_seconds: float | None = None
    """Measured seconds of a training step, a row; None where nothing was measured (CUDA)."""


def pick_device(device: str = "auto") -> str:
    """`auto` is a CUDA device where there is one, else the CPU. Raises ValueError if unusable."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):
            reason = "there is no such kind; cpu, cuda and mps are the usual ones"
        raise ValueError(f"device {device!r} cannot be used here: {reason}") from None
    return device


def choose_compute(
    model: HRMConfig,
    learner: LearnerConfig,
    batch_size: int,
    *,
    steps: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    compile: Compiling = "auto",
) -> Choice:
    """The fastest way to train this model here.

    On a CPU a training step is timed in float32 (also through oneDNN, where that keeps float32's
    precision) and, unless the CPU has to emulate it, in bfloat16, then on one thread: beside another
    busy process one thread can be many times faster than several; and, for runs of a quarter of an hour
    and more, compiled. Takes a few seconds. What rounds otherwise than plain float32 is taken only where
    it saves a fifth or more, so that noise does not choose how a run is rounded; the run stores what was
    chosen.

    Args:
        model, learner, batch_size, steps: the run to be made.
        device: `auto`, or a device of PyTorch's.
        dtype: `auto`, or the dtype to compute in.
        compile: whether to compile the block; `auto` never does on a GPU, where it has not been measured.

    Raises:
        ValueError: a device or dtype that cannot be used, or no compiler where one was asked for.
    """
    device = pick_device(device)
    if dtype != "auto" and dtype not in FORWARD_DTYPES:
        raise ValueError(f"dtype must be auto or one of {FORWARD_DTYPES}, got {dtype!r}")
    if compile == "yes" and device == "cpu" and not _has_compiler():
        raise ValueError(
            "torch.compile needs a C++ compiler (g++, clang++ or cl), and found none here"
        )
    if device != "cpu":
        half = device.startswith("cuda") and has_fast_bfloat16(device)
        auto = "bfloat16" if half else "float32"
        chosen = auto if dtype == "auto" else dtype
        return Choice(Compute(device, chosen, compile=compile == "yes"))
    before = current_switches()
    dtypes = [dtype] if dtype != "auto" else ["float32"]
    if dtype == "auto" and has_fast_bfloat16():
        dtypes.append("bfloat16")
    candidates = [Compute(dtype=d, threads=before.threads) for d in dtypes]
    if dtype in ("auto", "float32") and _onednn_keeps_float32():
        candidates.append(dataclasses.replace(candidates[0], matmul_precision="medium"))
    seconds: dict[Compute, float] = {}

    def probe(compute: Compute) -> Compute:
        seconds[compute] = _row_seconds(compute, model, learner, batch_size)
        log.info("probe: %7.2f ms a row with %s", 1000 * seconds[compute], compute)
        return min(seconds, key=lambda way: seconds[way] * _handicap(way, candidates[0]))

    try:
        for candidate in candidates:
            best = probe(candidate)
        if best.threads and best.threads > 1:
            best = probe(dataclasses.replace(best, threads=1))
        if compile == "yes":
            compiled = dataclasses.replace(best, compile=True)
            return Choice(compiled, seconds[best])
        whole_run = steps * min(LONG_STEP, batch_size * seconds[best])
        if compile == "auto" and whole_run > _WORTH_COMPILING and _has_compiler():
            try:
                best = probe(dataclasses.replace(best, compile=True))
            except Exception as error:  # any compiler's trouble: there is a way without
                log.info("probe: torch.compile does not work here (%s)", type(error).__name__)
    finally:
        before.apply()
    return Choice(best, seconds[best])


def _handicap(way: Compute, plain: Compute) -> float:
    factors = (
        f for name, f in _WORTH_CHANGING.items() if getattr(way, name) != getattr(plain, name)
    )
    return math.prod(factors)


def current_switches() -> Compute:
    """PyTorch's process-wide switches as they stand."""
    return Compute(
        matmul_precision=torch.get_float32_matmul_precision(), threads=torch.get_num_threads()
    )


def _has_compiler() -> bool:
    named = os.environ.get("CXX", "c++")
    return any(shutil.which(name) for name in (named, "c++", "g++", "clang++", "cl"))


def _row_seconds(
    compute: Compute, model: HRMConfig, learner: LearnerConfig, batch_size: int
) -> float:
    """Seconds a row of a training step (the faster of two quick ones), after one to warm up."""
    compute.apply()
    config = dataclasses.replace(model, forward_dtype=compute.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = HRM(config)
        if compute.compile:
            network.compile_blocks()
        # 16 module calls a step, each running half of the weights at two operations a weight.
        flops = 16 * network.num_parameters() * (config.seq_len + config.prefix_len)
        # Fewer than four rows would time the casting of the weights, not the work.
        rows = int(min(batch_size, max(4, _PROBE_FLOPS / flops)))
        # Jointly trained halting runs a segment twice as `full` does, but spread over an episode.
        student = Learner(network, rows, dataclasses.replace(learner, halting="q"))
        inputs = torch.randint(config.vocab_size, (rows, config.seq_len))
        zeros = torch.zeros(rows, dtype=torch.int64)
        obs = {"inputs": inputs, "puzzle_identifiers": zeros, "segment": zeros}
        info: dict[str, Any] = {
            "correct": zeros.bool(),
            "_episode": zeros.bool(),
            "segments": zeros + 1,
            "cell_accuracy": zeros.float(),
        }
        times: list[float] = []
        while len(times) < 2 or (len(times) < 3 and times[1] < 1.0):
            start = time.perf_counter()
            out, _ = student.act(obs)
            student.learn(out, obs, inputs, info)
            times.append(time.perf_counter() - start)
    return min(times[1:]) / rows


def _onednn_keeps_float32() -> bool:
    """Does the `medium` route still compute in float32 on this CPU?"""
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(64, 256, generator=generator)
    b = torch.randn(256, 64, generator=generator)
    try:
        torch.set_float32_matmul_precision("medium")
        product = a @ b
    finally:
        torch.set_float32_matmul_precision(before)
    exact = a.double() @ b.double()
    return bool((product - exact).abs().max() / exact.abs().max() < _FLOAT32_ERROR)
