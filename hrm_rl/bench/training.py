"""`hrm-rl bench`: a training step as `train` computes it, its Q targets, and what of it is not the model."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from hrm_rl.bench.roofline import Peak, step_work, with_work
from hrm_rl.bench.timing import Way, interleaved, now, ratio_row
from hrm_rl.kernels import dispatch
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.metrics import IntervalMetrics
from hrm_rl.training.run_folder import RunFolder

# Steps between two of the clock: a whole turn of the targets that do something every eighth step.
STEPS = 8
_TARGETS = ("subsample:0.125", "every:8", "delayed", "lambda:0.9", "none")


def training_rows(
    preset: Preset, compute: Compute, defaults: Compute, peak: Peak, rounds: int
) -> Iterator[dict[str, Any]]:
    """The paper's step as we compute it against the plain formulas (HRM_KERNELS=eager) in float32 with
    PyTorch's defaults, then our cheaper Q targets against it, then the shares of the environment and of
    the bookkeeping."""
    plain = dataclasses.replace(defaults, device=compute.device, dtype="float32")
    ways = {
        target: Way(_Workload(with_target(preset, target), compute).steps, compute)
        for target in ("full", *_TARGETS)
    }
    formulas = _Workload(with_target(preset, "full"), plain)
    ways["plain"] = Way(lambda: _by_formulas(formulas.steps), plain)
    seconds = {
        name: [whole / STEPS for whole in times]
        for name, times in interleaved(ways, rounds).items()
    }
    model = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
    batch = preset.batch_size
    for target in ("full", *_TARGETS):
        other, against = (
            ("plain", "float32, plain formulas") if target == "full" else ("full", "ours, full")
        )
        row = ratio_row(
            f"train_step.{target}.h{model.hidden_size}.s{model.seq_len}.b{batch}",
            seconds[target],
            seconds[other],
            against,
        )
        yield with_work(row, step_work(model, with_target(preset, target).learner, batch), peak)
    yield from _shares(preset, compute, rounds)


def _by_formulas(run: Callable[[], Any]) -> None:
    """Run without kernels of ours."""
    before = os.environ.get(dispatch.VARIABLE)
    os.environ[dispatch.VARIABLE] = "eager"
    try:
        run()
    finally:
        if before is None:
            del os.environ[dispatch.VARIABLE]
        else:
            os.environ[dispatch.VARIABLE] = before


def with_target(preset: Preset, target: str) -> Preset:
    """The preset with that target of the continue value."""
    return dataclasses.replace(preset, learner=dataclasses.replace(preset.learner, q_target=target))


class _Workload:
    """A run's step, taken apart."""

    def __init__(self, preset: Preset, compute: Compute) -> None:
        model = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
        data = dataclasses.replace(preset.data, train_puzzles=2000, validation_puzzles=1)
        preset = dataclasses.replace(preset, model=model, data=data)
        # Nothing is trained to the end or saved: the folder stays unmade.
        self.trainer = Trainer(preset, compute, RunFolder("unused"))
        self.metrics = IntervalMetrics(model.halt_max_steps, self.trainer.envs.device)
        self.obs, self.info = self.trainer.envs.reset(seed=0)

    def steps(self) -> None:
        """As many training steps as are timed together."""
        for _ in range(STEPS):
            self.step()

    def step(self, clock: Callable[[], float] = lambda: 0.0) -> dict[str, float]:
        """One training step; seconds of all, the environment, and the agent's and log's bookkeeping.

        By default no clock is read, since that waits for a GPU and would keep its queue empty.
        """
        obs, learner, average = self.obs, self.trainer.learner, self.trainer.average
        marks = [clock()]
        out = learner.model(
            learner.carry,
            obs["inputs"],
            obs["puzzle_identifiers"],
            gradient=learner.config.gradient,
        )
        marks.append(clock())
        action = learner.decide(out, obs["segment"])
        marks.append(clock())
        next_obs, _, _, _, next_info = self.trainer.envs.step(action)
        marks.append(clock())
        metrics = learner.learn(out, obs, self.info["labels"], next_info)
        marks.append(clock())
        if average:
            average.update()
        self.metrics.add(metrics)
        if learner.step % 10 == 0:
            self.metrics.take()
        marks.append(clock())
        self.obs, self.info = next_obs, next_info
        _, decide, environment, _, log = (b - a for a, b in pairwise(marks))
        return {
            "environment": environment,
            "bookkeeping": decide + log,
            "all": marks[-1] - marks[0],
        }


def _shares(preset: Preset, compute: Compute, rounds: int) -> Iterator[dict[str, Any]]:
    """What of a step is not the model: ratio = share."""
    work = _Workload(preset, compute)
    for _ in range(3):
        work.step()
    samples = [work.step(lambda: now(compute)) for _ in range(max(20, 4 * rounds))]
    for name, parts in (
        ("environment", ("environment",)),
        ("overhead", ("environment", "bookkeeping")),
    ):
        ours = [sum(s[part] for part in parts) for s in samples]
        whole = [s["all"] for s in samples]
        ratios = sorted(a / b for a, b in zip(ours, whole, strict=True))
        yield {
            "name": f"{name}.h{preset.model.hidden_size}.b{preset.batch_size}",
            "ours": statistics.median(ours),
            "other": statistics.median(whole),
            "against": "a whole training step",
            "ratio": statistics.median(ours) / statistics.median(whole),
            "spread": [ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]],
        }
