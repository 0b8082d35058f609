"""Rows of `hrm-rl bench --reference`: our steps and segments against those of other code, of equal size."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.bench.clone import ReferenceStep, Whose, clone_flops, clone_step, whose
from hrm_rl.bench.roofline import measure_peak, segment_work, step_work, with_work
from hrm_rl.bench.timing import Way, interleaved, ratio_row, shape
from hrm_rl.kernels.precision import has_fast_bfloat16
from hrm_rl.model import HRMConfig, ReasoningModel, make_model
from hrm_rl.training.machine.compute import Compute, choose_compute, current_switches
from hrm_rl.training.machine.fixed_step import fixed_observation, fixed_step

log = logging.getLogger(__name__)

# (hidden_size, num_heads, seq_len, batch); one shape on a GPU, as the reference compiles for a minute or two.
_SHAPES = {"cpu": ((128, 4, 81, 16), (512, 8, 81, 16)), "cuda": ((512, 8, 81, 768),)}
# Rows of a segment without gradients, the more important number first.
_SEGMENT_ROWS = {"cpu": (1, 16), "cuda": (768, 1)}
_TARGETS = ("full", "subsample:0.125", "none")
# The paper's settings of TRM, but for the width, which is that of the others.
_TRM: dict[str, Any] = {
    "architecture": "trm",
    "L_layers": 2,
    "H_cycles": 3,
    "L_cycles": 6,
    "puzzle_emb_len": 16,
}


@dataclass(frozen=True)
class _Rival:
    """How ours is set up to do the work of another implementation, and what it is called in the rows."""

    name: str
    learners: dict[str, LearnerConfig]
    """By the name of the row; the first is compared with every kind of the other's step."""
    model: Mapping[str, Any] = field(default_factory=dict)
    puzzle_embedding: bool = True


_RIVALS: dict[Whose, _Rival] = {
    "sapientinc/HRM": _Rival("reference", {target: LearnerConfig(q_target=target) for target in _TARGETS}),
    "SamsungSAILMontreal/TinyRecursiveModels": _Rival(
        "TRM's code", {"trm": LearnerConfig(q_target="none", gradient="last-cycle")}, _TRM
    ),
    # It has neither a Q target nor a puzzle embedding.
    "lucidrains/HRM": _Rival("lucidrains", {"bare": LearnerConfig(q_target="none")}, puzzle_embedding=False),
}
# (dtype, compiled) of the reference's step, the fastest last. Emulated bfloat16 would take minutes a step.
_WITH_BFLOAT16 = (("float32", False), ("bfloat16", False), ("bfloat16", True))
_WITHOUT_BFLOAT16 = (("float32", False), ("float32", True))


def reference_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Training steps; of the reference then segments without gradients.

    Raises FileNotFoundError or ValueError as `ReferenceStep` does.
    """
    yield from _step_rows(directory, device, rounds)
    if whose(directory) == "sapientinc/HRM":
        yield from _segment_rows(directory, device, rounds)


def _step_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Ours against the other's: eager in float32 and in bfloat16, and with torch.compile (in float32 if
    bfloat16 is emulated). The reference's with the paper's target, then our cheaper ones against both.

    `gflop` counts our products, `other_gflop` the other's.
    """
    rival = _RIVALS[whose(directory)]
    kinds = _WITH_BFLOAT16 if has_fast_bfloat16(device) else _WITHOUT_BFLOAT16
    for hidden, heads, cells, rows in _SHAPES[device.split(":")[0]]:
        # Beyond its limit of versions of one function, torch.compile would silently run eagerly.
        torch.compiler.reset()
        width = hidden if rival.puzzle_embedding else 0
        sizes: dict[str, Any] = {"hidden_size": hidden, "num_heads": heads, "puzzle_emb_ndim": width}
        config = HRMConfig(11, cells, **sizes, **rival.model)
        batch = random_batch(config, rows)
        first = next(iter(rival.learners))
        compute = _long_run_compute(config, rival.learners[first], rows, device)
        torch.manual_seed(0)
        weights = make_model(dataclasses.replace(config, forward_dtype="float32"))
        plain = dataclasses.replace(current_switches(), device=device)
        ways = {
            name: Way(our_step(config, learner, weights, batch, compute), compute)
            for name, learner in rival.learners.items()
        }
        theirs = []
        for dtype, compiled in kinds:
            theirs.append(f"{rival.name}, {dtype}, {'its torch.compile' if compiled else 'eager'}")
            other = dataclasses.replace(config, forward_dtype=dtype)
            step = clone_step(directory, other, weights, batch, device, compile=compiled)
            ways[theirs[-1]] = Way(step.step, plain)
        flops = clone_flops(directory, dataclasses.replace(config, forward_dtype="float32"), weights, batch)
        log.info("%s: ours with %s; compiling and warming up", shape(config, rows), compute)
        peak = measure_peak(compute)
        seconds = interleaved(ways, rounds, warm_up=2)
        plain.apply()
        computed = dataclasses.replace(config, forward_dtype=compute.dtype)
        for name, learner in rival.learners.items():
            work = step_work(computed, learner, rows)
            for against in theirs if name == first else (first, theirs[-1]):
                told = f"ours, {first}" if against == first else against
                row = ratio_row(
                    f"train_step.{name}.{shape(config, rows)}", seconds[name], seconds[against], told
                )
                row |= {"other_gflop": flops / 1e9} if against in theirs else {}
                yield with_work(row, work, peak, ways[name])


def _segment_rows(directory: Path, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """The 27M-parameter model's segment in evaluation, ours against the compiled reference."""
    dtype = "bfloat16" if has_fast_bfloat16(device) else "float32"
    config = HRMConfig(11, 81, forward_dtype=dtype)
    weights = make_model(dataclasses.replace(config, forward_dtype="float32"))
    plain = dataclasses.replace(current_switches(), device=device)
    compute = _long_run_compute(config, LearnerConfig(), 16, device)
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


def _long_run_compute(config: HRMConfig, learner: LearnerConfig, rows: int, device: str) -> Compute:
    """The choice of `hrm-rl train` for a run long enough to compile."""
    return choose_compute(config, learner, rows, steps=1_000_000, device=device).compute


def random_batch(config: HRMConfig, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Random tokens and labels, int32 as from the reference's data loader."""
    generator = torch.Generator().manual_seed(seed)
    size = (2, rows, config.seq_len)
    inputs, labels = torch.randint(1, config.vocab_size, size, generator=generator).int()
    ids = torch.zeros(rows, dtype=torch.int32)
    return {"inputs": inputs, "labels": labels, "puzzle_identifiers": ids}


def our_step(
    config: HRMConfig,
    learner: LearnerConfig,
    weights: ReasoningModel,
    batch: dict[str, Tensor],
    compute: Compute,
) -> Callable[[], float]:
    """One training step of `Learner`, as `hrm-rl train` would compute it; returns the loss."""
    model = _model(config, weights, compute)
    inputs, labels = (batch[name].long().to(compute.device) for name in ("inputs", "labels"))
    student = Learner(model, len(inputs), learner)
    step = fixed_step(student, fixed_observation(inputs), labels)
    return lambda: float(step()["loss"])


def _our_segment(
    config: HRMConfig, weights: ReasoningModel, batch: dict[str, Tensor], compute: Compute
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


def _model(config: HRMConfig, weights: ReasoningModel, compute: Compute) -> ReasoningModel:
    model = make_model(dataclasses.replace(config, forward_dtype=compute.dtype))
    model.load_state_dict(weights.state_dict())
    model.to(compute.device)
    if compute.compile:
        model.compile_blocks()
    return model
