"""`hrm-rl bench`: training and evaluation timed in one process."""

import datetime
import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hrm_rl.bench.clone import load
from hrm_rl.bench.evaluation import evaluation_row
from hrm_rl.bench.graphs import graph_rows
from hrm_rl.bench.reference import reference_rows
from hrm_rl.bench.roofline import Peak, measure_peak
from hrm_rl.bench.timing import on_one_thread
from hrm_rl.bench.training import training_rows
from hrm_rl.files import write_text
from hrm_rl.kernels.precision import has_fast_bfloat16
from hrm_rl.training.machine.compute import Compute, choose_compute, current_switches
from hrm_rl.training.machine.measured import processor
from hrm_rl.training.presets import Preset, find_preset


@dataclass(frozen=True)
class Benchmark:
    """The machine and settings, and the rows, each measured when the iterator reaches it."""

    about: dict[str, Any]
    rows: Iterator[dict[str, Any]]


def benchmark(device: str, rounds: int = 5, reference: Sequence[Path] = ()) -> Benchmark:
    """The rows of `hrm-rl bench`: seconds (medians), ratios, and their spread over rounds.

    `reference` names local clones of other implementations to measure as well (`bench.clone`). Raises
    FileNotFoundError or ValueError if one is not a clone or does not run here.
    """
    for clone in reference:  # now, not after minutes
        load(clone)
    preset = find_preset("sudoku-4x4")
    before = current_switches()
    compute = choose_compute(preset.model, preset.learner, preset.batch_size, device=device).compute
    try:
        peak = measure_peak(compute)
    finally:
        before.apply()
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(device),
        "device": str(compute),
        "clock": "CPU seconds" if on_one_thread(compute, before) else "wall",
        "fast_bfloat16": has_fast_bfloat16(device),
        "peak": {"gflops": peak.flops / 1e9, "gigabytes_per_second": peak.bytes / 1e9},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "rounds": rounds,
    }
    return Benchmark(about, _rows(preset, compute, peak, device, rounds, reference))


def machine(device: str) -> str:
    """The name of the GPU, or of the CPU with its cores."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {os.cpu_count()} cores"


def _rows(
    preset: Preset, compute: Compute, peak: Peak, device: str, rounds: int, reference: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    before = current_switches()
    try:
        yield from training_rows(preset, compute, before, peak, rounds)
        yield evaluation_row(preset, compute, rounds)
        if device.startswith("cuda"):
            yield from graph_rows(device, rounds)
        for clone in reference:
            before.apply()
            yield from reference_rows(clone, device, rounds)
    finally:
        before.apply()


def record(folder: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    """Write the measurements to folder/DATE-MACHINE.json, replacing an earlier file; returns its path."""
    name = re.sub(r"[^a-z0-9]+", "-", about["machine"].lower()).strip("-")
    path = folder / f"{about['date']}-{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**about, "rows": rows}, indent=1) + "\n")
    return path
