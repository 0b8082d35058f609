"""Rows of `hrm-rl bench --reference`: our steps and segments against the reference's, on the same weights."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.bench.clone import ReferenceStep
from hrm_rl.bench.roofline import measure_peak, segment_work, step_work, with_work
from hrm_rl.bench.timing import Way, interleaved, ratio_row, shape
from hrm_rl.kernels.precision import has_fast_bfloat16
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.training.machine.compute import Compute, choose_compute, current_switches
from hrm_rl.training.machine.fixed_step import fixed_observation, fixed_step

log = logging.getLogger(__name__)

# (hidden_size, num_heads, seq_len, batch); one shape on a GPU, as the reference compiles for a minute or two.
_SHAPES = {"cpu": ((128, 4, 81, 16), (512, 8, 81, 16)), "cuda": ((512, 8, 81, 768),)}
# Rows of a segment without gradients, the more important number first.
_SEGMENT_ROWS = {"cpu": (1, 16), "cuda": (768, 1)}
_TARGETS = ("subsample:0.125", "none")
# (dtype, compiled) of the reference's step, the fastest last. Emulated bfloat16 would take minutes a step.
_WITH_BFLOAT16 = (("float32", False), ("bfloat16", False), ("bfloat16", True))
_WITHOUT_BFLOAT16 = (("float32", False), ("float32", True))


def reference_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Training steps, then segments without gradients.

    Raises FileNotFoundError or ValueError as `ReferenceStep` does.
    """
    yield from _step_rows(directory, device, rounds)
    yield from _segment_rows(directory, device, rounds)


def _step_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Ours with the paper's target against the reference: eager in float32 and in bfloat16, and with its
    torch.compile (in float32 if bfloat16 is emulated); then our cheaper targets against both."""
    kinds = _WITH_BFLOAT16 if has_fast_bfloat16(device) else _WITHOUT_BFLOAT16
    for hidden, heads, cells, rows in _SHAPES[device.split(":")[0]]:
        # Beyond its limit of versions of one function, torch.compile would silently run eagerly.
        torch.compiler.reset()
        config = HRMConfig(11, cells, hidden_size=hidden, num_heads=heads)
        batch = random_batch(config, rows)
        compute = _long_run_compute(config, rows, device)
        torch.manual_seed(0)
        weights = HRM(dataclasses.replace(config, forward_dtype="float32"))
        plain = dataclasses.replace(current_switches(), device=device)
        ways = {
            target: Way(our_step(config, target, weights, batch, compute), compute)
            for target in ("full", *_TARGETS)
        }
        for dtype, compiled in kinds:
            name = f"reference, {dtype}, {'its torch.compile' if compiled else 'eager'}"
            theirs = dataclasses.replace(config, forward_dtype=dtype)
            reference = ReferenceStep(directory, theirs, weights, batch, device, compile=compiled)
            ways[name] = Way(reference.step, plain)
        log.info("%s: ours with %s; compiling and warming up", shape(config, rows), compute)
        peak = measure_peak(compute)
        seconds = interleaved(ways, rounds, warm_up=2)
        plain.apply()
        references = [name for name in ways if name.startswith("reference")]
        for target in ("full", *_TARGETS):
            computed = dataclasses.replace(config, forward_dtype=compute.dtype)
            work = step_work(computed, LearnerConfig(q_target=target), rows)
            for other in references if target == "full" else ("full", references[-1]):
                against = "ours, full" if other == "full" else other
                name = f"train_step.{target}.{shape(config, rows)}"
                row = ratio_row(name, seconds[target], seconds[other], against)
                yield with_work(row, work, peak, ways[target])


def _segment_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """The 27M-parameter model's segment in evaluation, ours against the compiled reference."""
    dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    config = HRMConfig(11, 81, forward_dtype=dtype)
    weights = HRM(dataclasses.replace(config, forward_dtype="float32"))
    plain = dataclasses.replace(current_switches(), device=device)
    compute = _long_run_compute(config, 16, device)
    peak = measure_peak(compute)
    for rows in _SEGMENT_ROWS[device.split(":")[0]]:
        torch.compiler.reset()
        batch = random_batch(config, rows)
        reference = ReferenceStep(directory, config, weights, batch, device, compile=True)
        ways = {
            "ours": Way(_our_segment(config, weights, batch, compute), compute),
            "reference": Way(reference.evaluating().segment, plain),
        }
        seconds = interleaved(ways, rounds, warm_up=2)
        plain.apply()
        name = f"segment.{shape(config, rows)}"
        against = f"reference, {dtype}, its torch.compile"
        row = ratio_row(name, seconds["ours"], seconds["reference"], against)
        computed = dataclasses.replace(config, forward_dtype=compute.dtype)
        yield with_work(row, segment_work(computed, rows), peak, ways["ours"])


def _long_run_compute(config: HRMConfig, rows: int, device: str) -> Compute:
    """The choice of `hrm-rl train` for a run long enough to compile."""
    return choose_compute(config, LearnerConfig(), rows, steps=1_000_000, device=device).compute


def random_batch(config: HRMConfig, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Random tokens and labels, int32 as from the reference's data loader."""
    generator = torch.Generator().manual_seed(seed)
    size = (2, rows, config.seq_len)
    inputs, labels = torch.randint(1, config.vocab_size, size, generator=generator).int()
    ids = torch.zeros(rows, dtype=torch.int32)
    return {"inputs": inputs, "labels": labels, "puzzle_identifiers": ids}


def our_step(
    config: HRMConfig, target: str, weights: HRM, batch: dict[str, Tensor], compute: Compute
) -> Callable[[], float]:
    """One training step of `Learner`, as `hrm-rl train` would compute it; returns the loss of the batch."""
    model = _model(config, weights, compute)
    inputs, labels = (batch[name].long().to(compute.device) for name in ("inputs", "labels"))
    learner = Learner(model, len(inputs), LearnerConfig(q_target=target))
    step = fixed_step(learner, fixed_observation(inputs), labels)
    return lambda: float(step()["loss"]) * len(inputs)


def _our_segment(
    config: HRMConfig, weights: HRM, batch: dict[str, Tensor], compute: Compute
) -> Callable[[], None]:
    """One segment without gradients; the carry persists from call to call."""
    model = _model(config, weights, compute)
    inputs = batch["inputs"].long().to(compute.device)
    ids = batch["puzzle_identifiers"].long().to(compute.device)
    carry = model.initial_carry(len(inputs))

    @torch.no_grad()
    def segment() -> None:
        nonlocal carry
        carry = model(carry, inputs, ids).carry

    return segment


def _model(config: HRMConfig, weights: HRM, compute: Compute) -> HRM:
    model = HRM(dataclasses.replace(config, forward_dtype=compute.dtype))
    model.load_state_dict(weights.state_dict())
    model.to(compute.device)
    if compute.compile:
        model.compile_blocks()
    return model
