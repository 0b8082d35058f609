"""Device, dtype and threads of a run; on a CPU the fastest choice is measured, not guessed."""

import dataclasses
import functools
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.distributed.launch import refuse_shared_gpu
from hrm_rl.kernels.precision import has_fast_bfloat16
from hrm_rl.model import HRMConfig, make_model
from hrm_rl.model.config import FORWARD_DTYPES
from hrm_rl.model.layers import unrelated
from hrm_rl.process.cpus import usable_cpus
from hrm_rl.settings import Switch, check_at_least, check_integers, check_one_of
from hrm_rl.stopwatch import clock
from hrm_rl.tensors import usable_device
from hrm_rl.training.machine.fixed_step import fixed_observation, fixed_step, random_tokens
from hrm_rl.training.machine.measured import Measured
from hrm_rl.training.machine.threads import MOST_THREADS, WORTH_CHANGING, Threads, thread_counts

log = logging.getLogger(__name__)

# Work of one probe step, in floating-point operations: a few tenths of a second on a laptop's core.
_PROBE_FLOPS = 2e10
# Above this relative error oneDNN has not kept float32 (on AMX it computes in bfloat16).
_FLOAT32_ERROR = 1e-5
# For each thing that a candidate changes, how many times faster than plain float32 on all threads it must be.
_WORTH_CHANGING = {"dtype": 1.25, "matmul_precision": 1.25, "threads": WORTH_CHANGING}
# How many times faster than plain a compiled step must be.
_WORTH_COMPILING = 1.05
# On a CPU the batch is cut if a step takes longer than this many seconds.
LONG_STEP = 20.0
# Compiling takes up to half a minute, and compiled code a few seconds to start; it saves up to a quarter of a
# step. Runs of fewer seconds stay plain: where the code must be compiled, and where it is on the disk.
_LONG_RUN, _SHORT_RUN = 300.0, 60.0
# Compiled and plain are compared on the run's own rows, or on fewer if a plain step takes longer than this
# many seconds: from there on both grow with the rows alike.
_LONG_PROBE = 5.0


@dataclass(frozen=True)
class Compute:
    """How a run computes."""

    device: str = "cpu"
    dtype: str = "float32"
    matmul_precision: str = "highest"
    """torch.set_float32_matmul_precision: `medium` routes a CPU's float32 products to oneDNN."""
    threads: int | None = None
    """Threads of the CPU, on the machine of training; another machine fits its own. None leaves PyTorch's."""
    compile: bool = False
    """Compile the model's block with torch.compile."""
    cpus: int | None = None
    """Processors of the machine that the threads were chosen for; None if they were not, or for a crowd."""
    step_seconds: float | None = None
    """Seconds of a training step, as measured when the threads were chosen."""

    def __post_init__(self) -> None:
        check_one_of(self, FORWARD_DTYPES, "dtype")
        check_one_of(self, ("highest", "high", "medium"), "matmul_precision")
        if self.threads is not None:
            check_integers(self, 1, "threads", most=MOST_THREADS)
        if self.cpus is not None:
            check_integers(self, 1, "cpus")
        if self.step_seconds is not None:
            check_at_least(self, 0, "step_seconds")

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
    """The chosen way to compute, and the cost of a training step."""

    compute: Compute
    row_seconds: float | None = None
    """Measured seconds per row of a training step; None if nothing was measured (CUDA)."""


def pick_device(device: str = "auto") -> str:
    """The device; `auto` is CUDA if there is a GPU, else the CPU. Raises ValueError if it cannot be used."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    refuse_shared_gpu(device)
    if usable_device(device).type == "meta":
        raise ValueError("device 'meta' cannot be used here: it computes nothing")
    return device


def choose_compute(
    model: HRMConfig,
    learner: LearnerConfig,
    batch_size: int,
    *,
    steps: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    compile: Switch = "auto",
    threads: Threads = "auto",
) -> Choice:
    """The fastest way to train this model on this machine.

    On a CPU, a training step is timed in float32 (also through oneDNN if that keeps float32's precision), in
    bfloat16 unless the CPU emulates it, and then, unless the user set the threads, on one thread. Runs of
    five minutes and more are also timed compiled, on their own rows. This takes a few seconds, half a minute
    with compiling, and once: timings (`Measured`) and compiled code are kept, and with them a run of a minute
    is compiled too. A candidate that rounds differently from plain float32 must save a fifth or more, so that
    noise does not choose the rounding; the run stores the choice.

    Args:
        model, learner, batch_size, steps: the run.
        device: `auto` or a PyTorch device.
        dtype: `auto` or the dtype to compute in.
        compile: whether to compile the block; `auto` never does on a GPU: CUDA graphs gain more.
        threads: of the CPU; `auto` takes the environment's, or measures.

    Raises:
        ValueError: the device or dtype cannot be used, or compilation was requested without a compiler.
    """
    device = pick_device(device)
    if dtype != "auto" and dtype not in FORWARD_DTYPES:
        raise ValueError(f"dtype must be auto or one of {FORWARD_DTYPES}, got {dtype!r}")
    if device != "cpu":
        if dtype == "auto":
            half = device.startswith("cuda") and has_fast_bfloat16(device)
            dtype = "bfloat16" if half else "float32"
        given = threads if isinstance(threads, int) else None
        return Choice(Compute(device, dtype, threads=given, compile=compile == "yes"))
    if compile == "yes" and not _has_compiler():
        raise ValueError("torch.compile needs a C++ compiler (g++, clang++ or cl); none was found")
    before, (first, *others) = current_switches(), thread_counts(threads)
    alone = first == 1 and not others  # else one thread would be timed by another clock than several
    measured, seconds = Measured(model, learner, batch_size, alone=alone), dict[Compute, float]()

    def probe(way: Compute, rows: int | None = None) -> float:
        name = str(way) if rows is None else f"{way}, {rows} rows"
        run = functools.partial(_row_seconds, way, model, learner, batch_size, rows, alone=alone)
        found = measured.get(name, run)
        log.info("probe: %7.2f ms a row with %s", 1000 * found, name)
        return found

    plain = Compute(dtype="float32" if dtype == "auto" else dtype, threads=first, cpus=usable_cpus())
    try:
        seconds[plain] = probe(plain)
        tried = (
            [dataclasses.replace(plain, dtype="bfloat16")] if dtype == "auto" and has_fast_bfloat16() else []
        )
        if plain.dtype == "float32" and _onednn_keeps_float32():
            tried.append(dataclasses.replace(plain, matmul_precision="medium"))
        seconds |= {way: probe(way) for way in tried}
        best = _best(seconds)
        seconds |= {way: probe(way) for way in (dataclasses.replace(best, threads=count) for count in others)}
        best = _best(seconds)
        row = seconds[best]
        compiled = dataclasses.replace(best, compile=True)
        if compile == "auto":
            rows = int(min(batch_size, max(1, _LONG_PROBE / row))) if row else batch_size
            known = f"{compiled}, {rows} rows" in measured.seconds
            long = steps * min(LONG_STEP, batch_size * row) > (_SHORT_RUN if known else _LONG_RUN)
            if long and not _has_compiler():
                log.info(
                    "No C++ compiler (g++, clang++ or cl) is here: the run computes without torch.compile."
                )
            elif long:
                row, best = _faster_compiled(best, compiled, lambda way: probe(way, rows))
    finally:
        before.apply()
    if not measured.began_empty:
        log.info("These timings are of an earlier run; --dtype, --threads and --compile choose otherwise.")
    return Choice(compiled if compile == "yes" else best, row)


def _faster_compiled(
    plain: Compute, compiled: Compute, probe: Callable[[Compute], float]
) -> tuple[float, Compute]:
    """The seconds of a row and the way: compiled, if that works here and is clearly faster."""
    seconds = fast = probe(plain)
    try:
        fast = probe(compiled)
    except Exception as error:  # whatever the compiler raises, the run works without it
        log.info("probe: torch.compile does not work here (%s)", type(error).__name__)
    return (fast, compiled) if fast * _WORTH_COMPILING < seconds else (seconds, plain)


def choose_again(
    stored: Compute,
    model: HRMConfig,
    learner: LearnerConfig,
    batch_size: int,
    *,
    device: str = "auto",
    threads: Threads = "auto",
) -> Compute:
    """How a stored run goes on: as before, as far as this machine can; a log line reports a change.

    The dtype stays. Threads are the user's. Else, if this machine has as many processors as that of training,
    the stored number stays, so that the run goes on to the bit; on another it stays unless another number
    measures a quarter faster. Raises ValueError if the device was named and cannot be used.
    """
    device = _usable(stored.device, device)
    again = dataclasses.replace(
        stored,
        device=device,
        matmul_precision=precision_here(stored, device),
        compile=stored.compile and (device != "cpu" or _has_compiler()),
        cpus=usable_cpus() if device == "cpu" else None,
    )
    counts: list[int | None] = [*thread_counts(threads, stored.threads)]
    if device != "cpu" and not isinstance(threads, int):
        counts = [None if stored.device == "cpu" else stored.threads]
    if (again.cpus, counts[0]) != (stored.cpus, stored.threads):
        again = dataclasses.replace(again, threads=counts[0], step_seconds=None)
        if device == "cpu" and len(counts) > 1:
            again = with_fastest_threads(again, counts, model, learner, batch_size)
    if str(again) != str(stored):
        log.info("Trained on %s; on this machine it goes on on %s.", stored, again)
    return again


def with_fastest_threads(
    way: Compute, counts: Sequence[int | None], model: HRMConfig, learner: LearnerConfig, batch_size: int
) -> Compute:
    """This way to compute with the fastest of these numbers of threads, measured.

    The first is preferred: another must be a quarter faster.
    """
    before, seconds = current_switches(), {}
    try:
        for count in counts:
            plain = dataclasses.replace(way, threads=count, compile=False)
            seconds[plain] = _row_seconds(plain, model, learner, batch_size)
    finally:
        before.apply()
    best = _best(seconds)
    return dataclasses.replace(way, threads=best.threads, step_seconds=batch_size * seconds[best])


def precision_here(stored: Compute, device: str) -> str:
    """The matmul_precision of a stored run, or `highest` where that would not keep float32's precision."""
    kept = device == "cpu" and _onednn_keeps_float32()
    return stored.matmul_precision if kept else "highest"


def _usable(stored: str, given: str) -> str:
    """The device given; `auto` is the stored one, or another if that one is not here."""
    if given != "auto":
        return pick_device(given)
    try:
        return pick_device(stored)
    except ValueError:
        return pick_device()


def _best(seconds: Mapping[Compute, float]) -> Compute:
    """The fastest way; one that changes something of the first, plain one must be faster by so much."""
    plain = next(iter(seconds))

    def handicapped(way: Compute) -> float:
        changed = (name for name in _WORTH_CHANGING if getattr(way, name) != getattr(plain, name))
        return seconds[way] * math.prod(_WORTH_CHANGING[name] for name in changed)

    return min(seconds, key=handicapped)


def current_switches() -> Compute:
    """PyTorch's process-wide switches as they are now."""
    return Compute(matmul_precision=torch.get_float32_matmul_precision(), threads=torch.get_num_threads())


def _has_compiler() -> bool:
    named = os.environ.get("CXX", "c++")
    return any(shutil.which(name) for name in (named, "c++", "g++", "clang++", "cl"))


def _row_seconds(
    compute: Compute,
    model: HRMConfig,
    learner: LearnerConfig,
    batch_size: int,
    rows: int | None = None,
    *,
    alone: bool = False,
) -> float:
    """Seconds per row of a training step, after one to warm up; by default of few rows. `alone`: by the
    clock of one thread."""
    compute.apply()
    config = dataclasses.replace(model, forward_dtype=compute.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make_model(config, unrelated(config))
        if compute.compile:
            network.compile_blocks()
        # 16 module calls a step, each running half of the weights at two operations a weight.
        flops = 16 * network.num_parameters() * (config.seq_len + config.prefix_len)
        # Fewer than four rows would time the casting of the weights, not the work.
        rows = rows or int(min(batch_size, max(4, _PROBE_FLOPS / flops)))
        # Jointly trained halting runs a segment twice as `full` does, but spread over an episode.
        student = Learner(network, rows, dataclasses.replace(learner, halting_loss="q"))
        inputs = random_tokens(config, rows)
        step = fixed_step(student, fixed_observation(inputs), inputs)
        times, threads = list[float](), 1 if alone else None
        while len(times) < 2 or (len(times) < 3 and times[1] < 1.0):
            start = clock(threads)
            step()
            times.append(clock(threads) - start)
    return min(times[1:]) / rows


def _onednn_keeps_float32() -> bool:
    """Whether float32 products through oneDNN keep float32's precision on this CPU."""
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
