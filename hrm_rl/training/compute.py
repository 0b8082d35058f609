"""Where and how to compute: device, dtype, threads. On a CPU the fastest way is measured, not guessed."""

import dataclasses
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import torch

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.model.config import FORWARD_DTYPES

log = logging.getLogger(__name__)

# Work of one probe step, in floating-point operations: a few tenths of a second on a laptop's core.
_PROBE_FLOPS = 2e10
# Above this relative error oneDNN has not kept float32 (on AMX it computes in bfloat16).
_FLOAT32_ERROR = 1e-5


@dataclass(frozen=True)
class Compute:
    """How a run computes."""

    device: str = "cpu"
    dtype: str = "float32"
    matmul_precision: str = "highest"
    """torch.set_float32_matmul_precision: `medium` routes a CPU's float32 products to oneDNN."""
    threads: int | None = None
    """Threads of the CPU; None leaves PyTorch's own choice."""

    def apply(self) -> None:
        """Set PyTorch's process-wide switches."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def __str__(self) -> str:
        if self.device != "cpu":
            return f"{self.device}, {self.dtype}"
        route = " through oneDNN" if self.matmul_precision == "medium" else ""
        threads = f", {self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"cpu, {self.dtype}{route}{threads if self.threads else ''}"


def pick_device(device: str = "auto") -> str:
    """`auto` is a CUDA device where there is one, else the CPU. Raises ValueError if unusable."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here: {reason}") from None
    return device


def choose_compute(
    model: HRMConfig,
    learner: LearnerConfig,
    batch_size: int,
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> Compute:
    """The fastest way to train this model here.

    On a CPU a training step is timed in float32 (also through oneDNN, where that keeps float32's
    precision) and in bfloat16, and then on one thread: beside another busy process one thread can
    be many times faster than several. Takes about a second for a small model.

    Raises ValueError for a device or dtype that cannot be used.
    """
    device = pick_device(device)
    if dtype != "auto" and dtype not in FORWARD_DTYPES:
        raise ValueError(f"dtype must be auto or one of {FORWARD_DTYPES}, got {dtype!r}")
    if device != "cpu":
        half = device == "cuda" and torch.cuda.is_bf16_supported()
        return Compute(device, ("bfloat16" if half else "float32") if dtype == "auto" else dtype)
    threads = torch.get_num_threads()
    candidates = []
    if dtype in ("auto", "float32"):
        candidates.append(Compute(dtype="float32", threads=threads))
        if _onednn_keeps_float32():
            candidates.append(
                Compute(dtype="float32", matmul_precision="medium", threads=threads)
            )
    if dtype == "auto":
        candidates.append(Compute(dtype="bfloat16", threads=threads))
    elif dtype != "float32":
        candidates.append(Compute(dtype=dtype, threads=threads))
    return _fastest(candidates, model, learner, batch_size)


def _fastest(
    candidates: list[Compute], model: HRMConfig, learner: LearnerConfig, batch_size: int
) -> Compute:
    before = Compute(
        matmul_precision=torch.get_float32_matmul_precision(), threads=torch.get_num_threads()
    )
    try:
        seconds = {c: _step_seconds(c, model, learner, batch_size) for c in candidates}
        best = min(seconds, key=seconds.__getitem__)
        if best.threads and best.threads > 1:
            alone = dataclasses.replace(best, threads=1)
            seconds[alone] = _step_seconds(alone, model, learner, batch_size)
            best = min(seconds, key=seconds.__getitem__)
    finally:
        before.apply()
    for compute, second in seconds.items():
        log.info("probe: %6.1f ms a step with %s", 1000 * second, compute)
    return best


def _step_seconds(
    compute: Compute, model: HRMConfig, learner: LearnerConfig, batch_size: int
) -> float:
    """The faster of two training steps, after one to warm up."""
    compute.apply()
    config = dataclasses.replace(model, forward_dtype=compute.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = HRM(config)
        # A segment runs every weight of H and L about as often as there are calls; 16 calls a step.
        flops = 16 * network.num_parameters() * (config.seq_len + config.prefix_len)
        rows = int(min(batch_size, max(1, _PROBE_FLOPS / flops)))
        student = Learner(network, rows, learner)
        inputs = torch.randint(config.vocab_size, (rows, config.seq_len))
        zeros = torch.zeros(rows, dtype=torch.int64)
        obs = {"inputs": inputs, "puzzle_identifiers": zeros, "segment": zeros}
        info: dict[str, Any] = {
            "correct": zeros.bool(),
            "_episode": zeros.bool(),
            "segments": zeros + 1,
            "cell_accuracy": zeros.float(),
        }
        times = []
        for _ in range(3):
            start = time.perf_counter()
            out, _ = student.act(obs)
            student.learn(out, obs, inputs, info)
            times.append(time.perf_counter() - start)
    return min(times[1:])


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


def usable_cores() -> int:
    """Cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1
