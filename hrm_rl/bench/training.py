"""Rows of `hrm-rl bench` about a training step: against plain formulas, by Q target, and overhead."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from hrm_rl.bench.roofline import Peak, step_work, with_work
from hrm_rl.bench.timing import Way, interleaved, now, ratio_row, shape
from hrm_rl.kernels import dispatch
from hrm_rl.stopwatch import Stopwatch
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.metrics import IntervalMetrics
from hrm_rl.training.run_folder import RunFolder

# Steps timed together: one period of the targets that act on every eighth step.
STEPS = 8
_TARGETS = ("subsample:0.125", "every:8", "delayed", "lambda:0.9", "none")


def training_rows(
    preset: Preset, compute: Compute, defaults: Compute, peak: Peak, rounds: int
) -> Iterator[dict[str, Any]]:
    """The paper's step as in `train` against the plain formulas (HRM_KERNELS=eager) in float32 with PyTorch's
    defaults; cheaper Q targets against it; then the shares of the environment and the bookkeeping.
    """
    plain = dataclasses.replace(defaults, device=compute.device, dtype="float32")
    ways = {
        target: Way(_Workload(with_target(preset, target), compute).steps, compute)
        for target in ("full", *_TARGETS)
    }
    formulas = _Workload(with_target(preset, "full"), plain)
    ways["plain"] = Way(lambda: _by_formulas(formulas.steps), plain)
    seconds = interleaved(ways, rounds, runs=STEPS)
    model = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
    for target in ("full", *_TARGETS):
        other, against = ("full", "ours, full")
        if target == "full":
            other, against = ("plain", "float32, plain formulas")
        name = f"train_step.{target}.{shape(model, preset.batch_size)}"
        row = ratio_row(name, seconds[target], seconds[other], against)
        learner = with_target(preset, target).learner
        yield with_work(row, step_work(model, learner, preset.batch_size), peak, ways[target])
    yield from _shares(preset, compute, rounds)


@dispatch.forced("eager")
def _by_formulas(run: Callable[[], Any]) -> None:
    """Run without our kernels."""
    run()


def with_target(preset: Preset, target: str) -> Preset:
    """The preset with another `q_target`."""
    return dataclasses.replace(preset, learner=dataclasses.replace(preset.learner, q_target=target))


class _Workload:
    """The steps of a run, whole or part by part."""

    def __init__(self, preset: Preset, compute: Compute) -> None:
        model = dataclasses.replace(preset.model, forward_dtype=compute.dtype)
        data = dataclasses.replace(preset.data, train_puzzles=2000, validation_puzzles=1)
        preset = dataclasses.replace(preset, model=model, data=data)
        # Nothing is saved, so the folder is never made.
        self.trainer = Trainer(preset, compute, RunFolder("unused"))
        self.metrics = IntervalMetrics(model.halt_max_steps, self.trainer.envs.device)
        self.obs, self.info = self.trainer.envs.reset(seed=0)

    def steps(self) -> None:
        """The training steps that are timed together."""
        for _ in range(STEPS):
            self.step()

    def step(self, clock: Callable[[], float] = lambda: 0.0) -> dict[str, float]:
        """One training step; returns the seconds of all, the environment, and the bookkeeping.

        The default clock is constant, as a real one would wait for the GPU.
        """
        obs, learner, average = self.obs, self.trainer.learner, self.trainer.average
        marks = [clock()]
        out = learner.think(obs)
        marks.append(clock())
        action = learner.decide(out, obs["segment"])
        marks.append(clock())
        next_obs, _, terminated, _, next_info = self.trainer.envs.step(action)
        marks.append(clock())
        metrics = learner.learn(out, obs, self.info["labels"], terminated, next_info)
        marks.append(clock())
        if average:
            average.update()
        self.metrics.add(metrics)
        if learner.step % 10 == 0:
            self.metrics.take()
        marks.append(clock())
        self.obs, self.info = next_obs, next_info
        _, decide, environment, _, log = (b - a for a, b in pairwise(marks))
        return {"environment": environment, "bookkeeping": decide + log, "all": marks[-1] - marks[0]}


def _shares(preset: Preset, compute: Compute, rounds: int) -> Iterator[dict[str, Any]]:
    """The shares of a step outside the model, as `ratio`."""
    work = _Workload(preset, compute)
    for _ in range(3):
        work.step()
    watch = Stopwatch(compute.device)
    samples = [work.step(lambda: now(compute)) for _ in range(max(20, 4 * rounds))]
    share = watch.read().cpu_share
    for name, parts in (("environment", ("environment",)), ("overhead", ("environment", "bookkeeping"))):
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
            "cpu_share": share,
        }
