"""A dry run: what a training run would take and write, from a few measured steps; nothing is written."""

import ctypes
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hrm_rl.agents.learning.graphs import WARM_UP_STEPS
from hrm_rl.evaluation.record import segment_seconds
from hrm_rl.files import read_text
from hrm_rl.stopwatch import Stopwatch, crowded
from hrm_rl.training.config.doubtful import doubts
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.memory import step_memory
from hrm_rl.training.report.boards import WATCHED

_log = logging.getLogger(__name__)

# Steps are measured for so many seconds, and at least and at most so many of them.
_SECONDS, _LEAST, _MOST = 5.0, 2, 20
# Rows of the segment that validation is estimated from.
_ROWS = 64


@dataclass(frozen=True)
class Memory:
    """Estimated bytes of a training step."""

    weights: int
    """With a cast copy and, if the run keeps one, their average."""
    puzzle_embedding: int
    optimizer: int
    """Gradients and moments."""
    carry: int
    activations: int
    """What the backward pass keeps."""

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Plan:
    """A run as it would be on this machine."""

    run: str
    preset: str
    data: str
    validation_puzzles: int
    max_steps: int
    batch_size: int
    parameters: int
    puzzle_identifiers: int
    device: str
    dtype: str
    threads: int
    compiled: bool
    step_seconds: float
    """Mean of the measured steps."""
    measured_steps: int
    training_seconds: float
    validation_seconds: float
    """Estimated from one segment, if every validation puzzle runs to the limit."""
    memory: Memory
    measured_peak: int | None
    """Bytes that making the model and the measured steps took at most; None if the system does not tell."""
    cpu_share: float
    writes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields, and the totals of time and memory."""
        found = asdict(self) | {"total_seconds": self.training_seconds + self.validation_seconds}
        return found | {"memory": asdict(self.memory) | {"total": self.memory.total}}

    def text(self) -> str:
        """As lines to read."""
        parts = ", ".join(
            f"{name.replace('_', ' ')} {_size(x)}" for name, x in asdict(self.memory).items() if x
        )
        peak = "" if self.measured_peak is None else f"; measured: {_size(self.measured_peak)}"
        ids = f", {self.puzzle_identifiers:,} puzzle identifiers" if self.puzzle_identifiers > 1 else ""
        threads = f", {self.threads} thread{'s'[: self.threads != 1]}" if self.device == "cpu" else ""
        total = self.training_seconds + self.validation_seconds
        rows = {
            "run": f"{self.preset} (dry run: nothing is trained or written)",
            "data": f"{self.data}; validating on {self.validation_puzzles:,}",
            "steps": f"{self.max_steps:,} of {self.batch_size:,} segments",
            "model": f"{self.parameters:,} parameters{ids}",
            "memory": f"about {_size(self.memory.total)}: {parts}{peak}",
            "machine": f"{self.device}, {self.dtype}{threads}{', compiled' * self.compiled}",
            "time": f"{_time(total)}: {self.step_seconds:.3g} s a step (mean of {self.measured_steps}), "
            f"of it at most {_time(self.validation_seconds)} to validate",
            "writes": f"{self.run}/: {'; '.join(self.writes)}",
        }
        lines = [f"{name:8} {words}" for name, words in rows.items()]
        if note := crowded(self.cpu_share):
            lines.append(f"{note} About {_time(self.cpu_share * total)} there.")
        return "\n".join(lines)


def dry_run(make: Callable[[], Trainer]) -> Plan:
    """Measure a few steps of the trainer that `make` returns. They change it, so that it is of no other use.

    Raises FloatingPointError or MemoryError as training.
    """
    peak = _Peak()
    trainer = make()
    for note in doubts(trainer.preset, trainer.data.source.num_ids, trainer.given):
        _log.warning(note)
    preset, compute, model = trainer.preset, trainer.compute, trainer.model
    count, seconds, share = _measure(trainer)
    taken = peak.read(compute.device)
    validation, limit = trainer.data.validation, preset.model.halt_max_steps
    validated = len(validation) + min(WATCHED, len(validation))
    rows = min(trainer.rows, len(validation), _ROWS)
    segment = segment_seconds(model, validation, {rows}).get(str(rows), 0.0) / rows
    validations = -(-preset.max_steps // preset.validate_every)
    table = sum(p.numel() for p in model.parameters()) - model.num_parameters()
    place = "cpu" if compute.device == "cpu" else "meta"
    step, copies = step_memory(preset.model, preset.learner, place), 1 + (trainer.average is not None)
    memory = Memory(
        step.weights + (copies - 1) * 4 * model.num_parameters(),
        copies * 4 * table,
        step.fixed - step.weights,
        trainer.rows * step.carry,
        trainer.rows * (step.per_row - step.carry),
    )
    checkpoint = 4 * (copies * (model.num_parameters() + table) + 2 * model.num_parameters())
    return Plan(
        run=str(trainer.run.path),
        preset=preset.name,
        data=trainer.data.description,
        validation_puzzles=len(validation),
        max_steps=preset.max_steps,
        batch_size=preset.batch_size,
        parameters=model.num_parameters(),
        puzzle_identifiers=preset.model.num_puzzle_identifiers,
        device=compute.device,
        dtype=compute.dtype,
        threads=torch.get_num_threads(),
        compiled=compute.compile,
        step_seconds=seconds / count,
        measured_steps=count,
        training_seconds=preset.max_steps * seconds / count,
        validation_seconds=validations * validated * limit * segment,
        memory=memory,
        measured_peak=taken,
        cpu_share=share,
        writes=(
            "config.json, config.toml, learned.npy, metrics.jsonl, events.out.tfevents.*",
            f"checkpoints/ of about {_size(checkpoint)} every {preset.validate_every:,} steps, of which the "
            f"newest {preset.keep} and the best stay",
        ),
    )


def _measure(trainer: Trainer) -> tuple[int, float, float]:
    """Steps measured, their seconds, and the share of the time in which the CPU was ours."""
    device = trainer.compute.device
    obs, info = trainer.begin()
    for _ in range(WARM_UP_STEPS + 1 if trainer.graphs else 1):
        _, obs, info = trainer.step(obs, info)
    _wait(device)
    watch, count, begun = Stopwatch(device), 0, time.perf_counter()
    # Jointly trained halting learns at the end of an episode.
    least = trainer.preset.model.halt_max_steps if trainer.preset.learner.stopping.whole_episodes else _LEAST
    while count < least or (count < max(least, _MOST) and time.perf_counter() - begun < _SECONDS):
        _, obs, info = trainer.step(obs, info)
        count += 1
    _wait(device)
    timing = watch.read()
    return count, timing.seconds, timing.cpu_share


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class _Peak:
    """The memory that is taken from when this is made."""

    def __init__(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        try:
            ctypes.CDLL(None).malloc_trim(0)  # what the probe freed counts as free
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        except (AttributeError, OSError, TypeError):
            self._before = None
        else:
            self._before = _resident("VmRSS")

    def read(self, device: str) -> int | None:
        if device.startswith("cuda"):
            return torch.cuda.max_memory_allocated()
        peak = _resident("VmHWM")
        return None if peak is None or self._before is None else peak - self._before


def _resident(name: str) -> int | None:
    """Bytes of this process by a name of the kernel's status file; None where there is none."""
    try:
        lines = read_text("/proc/self/status").splitlines()
    except (OSError, ValueError):
        return None
    found = [line.split() for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0][1]) if found else None


def _size(count: int) -> str:
    """Bytes in words: 12 MB, 1.9 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _time(seconds: float) -> str:
    """Seconds in words: 40 s, 52 min, 3.4 h, 12 days."""
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
