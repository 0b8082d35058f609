"""Train sudoku-4x4 with each Q target for the same time on one core, and plot the accuracy.

    python experiments/q_targets/equal_time.py --seeds 0 1 2

The runs of a seed are interleaved in one process, a few seconds each, so that other work on the machine
disturbs them alike. The clock is the process's CPU time, on one thread. The learning rate's schedule of each
run spans the steps expected in its time. Validation puzzles give the curves, test puzzles the final figures.
Seeds stored in equal_time.json are not run again.
"""

import dataclasses
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from hrm_rl.analysis.statistics.bootstrap import nested_bootstrap, percentile_interval
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset, find_preset
from hrm_rl.training.run_folder import RunFolder

HERE = Path(__file__).parent
TARGETS = ("full", "subsample:0.125", "delayed", "none")
TURN = 4.0  # seconds of CPU time


@dataclass(frozen=True)
class Study:
    """Compare the targets of the continue value at equal time."""

    targets: tuple[str, ...] = TARGETS
    """Q targets to train with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the runs."""
    seconds: float = 240.0
    """CPU time of one run's training."""
    batch_size: int = 128
    """Rows of a training step; half of the preset's, for about twice the steps."""
    points: int = 10
    """Validations of a run, equally spaced."""
    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    results: Path = HERE / "equal_time.json"
    """File to write, and to resume from; the figure is written beside it."""


@dataclass
class Run:
    """A training with one target, and its clock."""

    trainer: Trainer
    obs: Any
    info: Any
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)

    def train(self, seconds: float) -> None:
        """Train for `seconds` of this process's CPU time."""
        start, learner, envs = time.process_time(), self.trainer.learner, self.trainer.envs
        while time.process_time() - start < seconds:
            out, action = learner.act(self.obs)
            next_obs, _, terminated, _, next_info = envs.step(action)
            learner.learn(out, self.obs, self.info["labels"], terminated, next_info)
            self.obs, self.info = next_obs, next_info
            if self.trainer.average:
                self.trainer.average.update()
        self.seconds += time.process_time() - start

    def judge(self, puzzles: Any, rule: str) -> dict[str, Any]:
        found = evaluate(self.trainer.evaluated_model, puzzles, rule)
        return {
            "exact_accuracy": float(found.correct.mean()),
            "mean_segments": float(found.segments.mean()),
            "correct": np.packbits(found.correct).tobytes().hex(),
        }


def start(preset: Preset, target: str, seed: int, steps: int) -> Run:
    preset = preset.with_max_steps(steps)
    learner = dataclasses.replace(preset.learner, q_target=target)
    # Presets ask for bfloat16, which many CPUs emulate, tens of times slower.
    model = dataclasses.replace(preset.model, forward_dtype="float32")
    preset = dataclasses.replace(preset, learner=learner, model=model)
    trainer = Trainer(preset, Compute(threads=1), RunFolder(Path(tempfile.gettempdir()) / "unused"), seed)
    return Run(trainer, *trainer.envs.reset(seed=seed))


def steps_in(study: Study, preset: Preset) -> dict[str, int]:
    """The number of steps that each target takes in a run's time, from an interleaved timing."""
    runs = {target: start(preset, target, 0, 1500) for target in study.targets}
    for run in runs.values():
        run.train(1.0)
    before = {target: (run.trainer.learner.step, run.seconds) for target, run in runs.items()}
    for _ in range(3):
        for run in runs.values():
            run.train(TURN)
    found = {}
    for target, run in runs.items():
        step, seconds = before[target]
        per_second = (run.trainer.learner.step - step) / (run.seconds - seconds)
        found[target] = round(study.seconds * per_second)
    return found


def train_seed(study: Study, preset: Preset, seed: int) -> list[dict[str, Any]]:
    """Train and evaluate every target on one seed, interleaved."""
    steps = steps_in(study, preset)
    runs = {target: start(preset, target, seed, steps[target]) for target in study.targets}
    for point in range(1, study.points + 1):
        due = study.seconds * point / study.points
        while min(run.seconds for run in runs.values()) < due:
            for run in runs.values():
                if run.seconds < due:
                    run.train(min(TURN, due - run.seconds))
        for target, run in runs.items():
            judged = run.judge(run.trainer.data.validation, run.trainer.rule)
            run.curve.append({"step": run.trainer.learner.step, "seconds": run.seconds, **judged})
            accuracy, segments = judged["exact_accuracy"], judged["mean_segments"]
            print(f"seed {seed} {run.seconds:5.0f} s {target:16s} {accuracy:.3f} {segments:.2f}", flush=True)
    puzzles = generated_puzzles(preset.data.kind, "test", study.puzzles)
    limit = f"fixed:{preset.model.halt_max_steps}"
    return [
        {
            "q_target": target,
            "seed": seed,
            "rule": run.trainer.rule,
            "scheduled_steps": steps[target],
            "validation_puzzles": len(run.trainer.data.validation),
            "curve": run.curve,
            "test": {"own": run.judge(puzzles, run.trainer.rule), "limit": run.judge(puzzles, limit)},
        }
        for target, run in runs.items()
    ]


def accuracy(judged: list[dict[str, Any]], count: int) -> tuple[float, np.ndarray]:
    """Mean over runs, and its 95 % interval over runs and the puzzles that they share."""
    packed = [np.frombuffer(bytes.fromhex(j["correct"]), np.uint8) for j in judged]
    correct = [np.unpackbits(bits, count=count).astype(float)[:, None] for bits in packed]
    draws = nested_bootstrap(correct, draws=4000, seed=0, shared_puzzles=True)
    return float(np.mean(correct)), percentile_interval(draws[:, 0])


def draw(study: Study, done: dict[str, Any]) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for target in study.targets:
        runs = [run for run in done["runs"] if run["q_target"] == target]
        points = list(zip(*[run["curve"] for run in runs], strict=True))
        seconds = [np.mean([p["seconds"] for p in point]) for point in points]
        found = [accuracy(list(point), runs[0]["validation_puzzles"]) for point in points]
        low, high = zip(*[interval for _, interval in found], strict=True)
        (line,) = left.plot(seconds, [mean for mean, _ in found], "o-", ms=3, label=target)
        left.fill_between(seconds, low, high, alpha=0.15, color=line.get_color())
        right.plot(seconds, [np.mean([p["mean_segments"] for p in point]) for point in points], "o-", ms=3)
    left.set(xlabel="seconds of one core", ylabel="validation puzzles solved, own rule")
    left.set_ylim(0.8, 1.002)  # omits the first minute
    right.set(xlabel="seconds of one core", ylabel="segments, own rule")
    left.legend()
    figure.savefig(study.results.with_suffix(".png"), dpi=110)


def show(study: Study, done: dict[str, Any]) -> None:
    print("| target | steps | solved by its own rule | mean segments | solved at the limit | seeds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for target in study.targets:
        runs = [run for run in done["runs"] if run["q_target"] == target]
        cells = []
        for rule in ("own", "limit"):
            mean, (low, high) = accuracy([run["test"][rule] for run in runs], study.puzzles)
            cells.append(f"{100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")
        steps = np.mean([run["curve"][-1]["step"] for run in runs])
        segments = np.mean([run["test"]["own"]["mean_segments"] for run in runs])
        print(f"| `{target}` | {steps:.0f} | {cells[0]} | {segments:.2f} | {cells[1]} | {len(runs)} |")


def load(study: Study) -> dict[str, Any]:
    return json.loads(study.results.read_text()) if study.results.exists() else {"runs": []}


def main(study: Study) -> None:
    torch.set_num_threads(1)
    preset = dataclasses.replace(find_preset("sudoku-4x4"), batch_size=study.batch_size)
    for seed in study.seeds:
        if seed not in {run["seed"] for run in load(study)["runs"]}:
            runs = train_seed(study, preset, seed)
            done = load(study)  # another process may have added a seed meanwhile
            done["runs"] += runs
            done["machine"] = {
                "date": time.strftime("%Y-%m-%d"),
                "torch": torch.__version__,
                "computing": "cpu, float32, 1 thread",
                "command": " ".join(["python", "experiments/q_targets/equal_time.py", *sys.argv[1:]]),
            }
            study.results.write_text(json.dumps(done, indent=1) + "\n")
    done = load(study)
    show(study, done)
    draw(study, done)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
