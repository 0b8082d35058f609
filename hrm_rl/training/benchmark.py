"""Side-by-side timing of the training step, in one process, rounds interleaved."""

import dataclasses
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from hrm_rl.training.compute import Compute, choose_compute, current_switches
from hrm_rl.training.loop import Trainer
from hrm_rl.training.metrics import IntervalMetrics
from hrm_rl.training.presets import Preset, find_preset
from hrm_rl.training.run_folder import RunFolder


def benchmark(device: str, rounds: int = 5) -> dict[str, Any]:
    """The rows of `hrm-rl bench`: seconds (medians), ratios, and their spread over rounds."""
    before = current_switches()
    preset = find_preset("sudoku-4x4")
    choice = choose_compute(preset.model, preset.learner, preset.batch_size, device=device)
    compute = choice.compute
    try:
        rows = [
            _training_step(preset, compute, before, rounds),
            *_shares(preset, compute, rounds),
        ]
    finally:
        before.apply()
    return {
        "rows": rows,
        "device": str(compute),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


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
        marks = [_now(self.compute)]
        out = learner.model(
            learner.carry,
            obs["inputs"],
            obs["puzzle_identifiers"],
            gradient=learner.config.gradient,
        )
        marks.append(_now(self.compute))
        action = learner.decide(out, obs["segment"])
        marks.append(_now(self.compute))
        next_obs, _, _, _, next_info = self.trainer.envs.step(action)
        marks.append(_now(self.compute))
        metrics = learner.learn(out, obs, self.info["labels"], next_info)
        marks.append(_now(self.compute))
        if average:
            average.update()
        self.metrics.add(metrics)
        if learner.step % 10 == 0:
            self.metrics.take()
        marks.append(_now(self.compute))
        self.obs, self.info = next_obs, next_info
        _, decide, environment, _, log = (b - a for a, b in pairwise(marks))
        return {
            "environment": environment,
            "bookkeeping": decide + log,
            "all": marks[-1] - marks[0],
        }


def _now(compute: Compute) -> float:
    if compute.device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _training_step(
    preset: Preset, compute: Compute, defaults: Compute, rounds: int
) -> dict[str, Any]:
    """A step as `train` computes it, against PyTorch's defaults in float32."""
    plain = dataclasses.replace(defaults, device=compute.device, dtype="float32")
    ours, other = _Workload(preset, compute), _Workload(preset, plain)

    def timed(work: _Workload) -> Callable[[], float]:
        def run() -> float:
            work.compute.apply()
            return work.step()["all"]

        return run

    m = preset.model
    name = (
        f"train_step.{preset.learner.q_target}.h{m.hidden_size}.s{m.seq_len}.b{preset.batch_size}"
    )
    return _row(name, timed(ours), timed(other), "float32, defaults", rounds)


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


def _row(
    name: str, ours: Callable[[], float], other: Callable[[], float], against: str, rounds: int
) -> dict[str, Any]:
    """Time two things in turns; the ratio is how many times faster ours is."""
    ours(), other()
    pairs = [(ours(), other()) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    return {
        "name": name,
        "ours": statistics.median(a for a, _ in pairs),
        "other": statistics.median(b for _, b in pairs),
        "against": against,
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
    }
