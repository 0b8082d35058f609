"""Seconds to write and to read a checkpoint of the 27M-parameter model at its batch of 768: a JSON line.

    python benchmarks/checkpoints.py [--device cuda] [--rows 768] [--rounds 5] [--folder DIR]

The training state is whole (weights, both moments of the optimizer, carry, puzzles), but no step is trained.
`share` is what a checkpoint costs of the default `checkpoint_minutes`. CPU seconds exclude other processes
and the disk.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import PRESETS
from hrm_rl.training.run_folder import RunFolder


@dataclass(frozen=True)
class Args:
    """Settings."""

    device: str = "cpu"
    """cpu or cuda."""
    rows: int = 768
    """Batch size."""
    rounds: int = 5
    """Checkpoints to write and read; the medians count."""
    folder: Path | None = None
    """Where to write, since it is the disk that is measured; a temporary folder by default."""


def main(args: Args) -> None:
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(json.dumps(measure(args, Path(folder) / "run")))


def measure(args: Args, folder: Path) -> dict[str, float | int | str]:
    preset = PRESETS["sudoku-extreme"]
    dtype = "bfloat16" if args.device == "cuda" else "float32"
    model = dataclasses.replace(preset.model, forward_dtype=dtype)
    data = dataclasses.replace(preset.data, validation_puzzles=8)
    preset = dataclasses.replace(preset, model=model, data=data, batch_size=args.rows)
    run, compute = RunFolder(folder), Compute(args.device, dtype)
    trainer = Trainer(preset, compute, run)
    run.create(preset, compute)
    trainer.envs.reset(seed=0)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    trainer.learner.optimizers[0].step()

    def read() -> None:
        run.set_damaged_aside()
        trainer.restore()

    times = [(*timed(trainer.save), *timed(read)) for _ in range(args.rounds)]
    save, save_cpu, load, load_cpu = map(statistics.median, zip(*times, strict=True))
    return {
        "device": args.device,
        "parameters": trainer.model.num_parameters(),
        "megabytes": round(sum(f.stat().st_size for f in run.latest().iterdir()) / 1e6),
        "save_seconds": round(save, 2),
        "load_seconds": round(load, 2),
        "save_cpu_seconds": round(save_cpu, 2),
        "load_cpu_seconds": round(load_cpu, 2),
        "share": round(save / (60 * preset.checkpoint_minutes), 5),
    }


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds that work takes, and of the CPU."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main(tyro.cli(Args))
