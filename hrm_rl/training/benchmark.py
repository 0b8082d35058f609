"""Side-by-side timing of the training step, in one process, rounds interleaved."""

import dataclasses
import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from hrm_rl.training.benchmark_reference import reference_rows
from hrm_rl.training.compute import Compute, choose_compute, current_switches
from hrm_rl.training.loop import Trainer
from hrm_rl.training.metrics import IntervalMetrics
from hrm_rl.training.presets import Preset, find_preset
from hrm_rl.training.reference_clone import check_clone
from hrm_rl.training.run_folder import RunFolder
from hrm_rl.training.timing import Way, interleaved, now, ratio_row


@dataclass(frozen=True)
class Benchmark:
    """What is measured on, and the rows, each measured when it is asked for."""

    about: dict[str, Any]
    rows: Iterator[dict[str, Any]]


def benchmark(device: str, rounds: int = 5, reference: Path | None = None) -> Benchmark:
    """The rows of `hrm-rl bench`: seconds (medians), ratios, and their spread over rounds.

    `reference` is a local clone of sapientinc/HRM to be measured beside ours.
    Raises FileNotFoundError or ValueError where that is no clone, or does not run here.
    """
    if reference is not None:
        check_clone(reference)
    preset = find_preset("sudoku-4x4")
    choice = choose_compute(preset.model, preset.learner, preset.batch_size, device=device)
    about = {
        "device": str(choice.compute),
        "machine": machine(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "rounds": rounds,
    }
    return Benchmark(about, _rows(preset, choice.compute, device, rounds, reference))


def machine(device: str) -> str:
    """What the figures were measured on."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def _rows(
    preset: Preset, compute: Compute, device: str, rounds: int, reference: Path | None
) -> Iterator[dict[str, Any]]:
    before = current_switches()
    try:
        yield _training_step(preset, compute, before, rounds)
        yield from _shares(preset, compute, rounds)
        if reference is not None:
            before.apply()
            yield from reference_rows(reference, device, rounds)
    finally:
        before.apply()


class _Workload:
    """A run's step, taken apart."""

    def __init__(self, preset: Preset, compute: Compute) -> None:
        self.compute = compute
        model = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
        data = dataclasses.replace(preset.data, train_puzzles=2000, validation_puzzles=1)
        preset = dataclasses.replace(preset, model=model, data=data)
        # Nothing is trained to the end or saved: the folder stays unmade.
        self.trainer = Trainer(preset, compute, RunFolder("unused"))
        self.metrics = IntervalMetrics(model.halt_max_steps, self.trainer.envs.device)
        self.obs, self.info = self.trainer.envs.reset(seed=0)

    def step(self) -> dict[str, float]:
        """One training step; seconds of all, the environment, and the agent's and log's bookkeeping."""
        obs, learner, average = self.obs, self.trainer.learner, self.trainer.average
        marks = [now(self.compute)]
        out = learner.model(
            learner.carry,
            obs["inputs"],
            obs["puzzle_identifiers"],
            gradient=learner.config.gradient,
        )
        marks.append(now(self.compute))
        action = learner.decide(out, obs["segment"])
        marks.append(now(self.compute))
        next_obs, _, _, _, next_info = self.trainer.envs.step(action)
        marks.append(now(self.compute))
        metrics = learner.learn(out, obs, self.info["labels"], next_info)
        marks.append(now(self.compute))
        if average:
            average.update()
        self.metrics.add(metrics)
        if learner.step % 10 == 0:
            self.metrics.take()
        marks.append(now(self.compute))
        self.obs, self.info = next_obs, next_info
        _, decide, environment, _, log = (b - a for a, b in pairwise(marks))
        return {
            "environment": environment,
            "bookkeeping": decide + log,
            "all": marks[-1] - marks[0],
        }


def _training_step(
    preset: Preset, compute: Compute, defaults: Compute, rounds: int
) -> dict[str, Any]:
    """A step as `train` computes it, against PyTorch's defaults in float32."""
    plain = dataclasses.replace(defaults, device=compute.device, dtype="float32")
    ways = {"ours": Way(_Workload(preset, compute).step, compute)}
    ways["plain"] = Way(_Workload(preset, plain).step, plain)
    seconds = interleaved(ways, rounds)
    m = preset.model
    name = (
        f"train_step.{preset.learner.q_target}.h{m.hidden_size}.s{m.seq_len}.b{preset.batch_size}"
    )
    return ratio_row(name, seconds["ours"], seconds["plain"], "float32, defaults")


def _shares(preset: Preset, compute: Compute, rounds: int) -> list[dict[str, Any]]:
    """What of a step is not the model: ratio = share."""
    work = _Workload(preset, compute)
    for _ in range(3):
        work.step()
    samples = [work.step() for _ in range(max(20, 4 * rounds))]
    rows = []
    for name, parts in (
        ("environment", ("environment",)),
        ("overhead", ("environment", "bookkeeping")),
    ):
        ours = [sum(s[part] for part in parts) for s in samples]
        whole = [s["all"] for s in samples]
        ratios = sorted(a / b for a, b in zip(ours, whole, strict=True))
        rows.append(
            {
                "name": f"{name}.h{preset.model.hidden_size}.b{preset.batch_size}",
                "ours": statistics.median(ours),
                "other": statistics.median(whole),
                "against": "a whole training step",
                "ratio": statistics.median(ours) / statistics.median(whole),
                "spread": [ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]],
            }
        )
    return rows
