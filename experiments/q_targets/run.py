"""Train sudoku-4x4 with each Q target, then evaluate all on the same puzzles of held-out classes.

    python experiments/q_targets/run.py                 # every target, one seed
    python experiments/q_targets/run.py --seeds 0 1 2   # more seeds

Results go to results.json beside this file after every run; runs already in it are not repeated.
"""

import dataclasses
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset, find_preset
from hrm_rl.training.run_folder import RunFolder
from hrm_rl.training.start import fit_to_machine

HERE = Path(__file__).parent
TARGETS = ("full", "subsample:0.125", "every:8", "delayed", "lambda:0.9", "none")


@dataclass(frozen=True)
class Study:
    """Compare the targets of the continue value on 4x4 Sudoku."""

    targets: tuple[str, ...] = TARGETS
    """Q targets to train with."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the runs."""
    steps: int = 1500
    """Training steps of each run."""
    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    results: Path = HERE / "results.json"
    """File to write, and to resume from."""


def main(study: Study) -> None:
    base, compute = fit_to_machine(find_preset("sudoku-4x4").with_max_steps(study.steps))
    done: dict[str, Any] = {"runs": []}
    if study.results.exists():
        done = json.loads(study.results.read_text())
    finished = {(run["q_target"], run["seed"], run["steps"]) for run in done["runs"]}
    for seed in study.seeds:
        for target in study.targets:
            if (target, seed, study.steps) not in finished:
                done["runs"].append(train_and_judge(study, base, compute, target, seed))
                save(study, done)
    done["step_seconds"] = step_seconds(study, base, compute)
    done["machine"] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "computing": str(compute),
        "torch": torch.__version__,
        "command": " ".join(["python", "experiments/q_targets/run.py", *sys.argv[1:]]),
    }
    save(study, done)
    show(done)


def with_target(preset: Preset, target: str) -> Preset:
    return dataclasses.replace(preset, learner=dataclasses.replace(preset.learner, q_target=target))


def train_and_judge(study: Study, base: Preset, compute: Compute, target: str, seed: int) -> dict[str, Any]:
    """Train one run and evaluate it on the test puzzles, at the limit and with its own rule."""
    preset = with_target(base, target)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        run.create(preset, compute)
        trainer = Trainer(preset, compute, run, seed)
        trainer.train()
        puzzles = generated_puzzles(preset.data.kind, "test", study.puzzles)
        limit = preset.model.halt_max_steps
        rules = {"limit": f"fixed:{limit}", "own": trainer.rule, "four": "fixed:4", "one": "fixed:1"}
        judged = {
            name: evaluate(trainer.evaluated_model, puzzles, rule).summary() for name, rule in rules.items()
        }
    return {
        "q_target": target,
        "seed": seed,
        "steps": study.steps,
        "rule": rules["own"],
        **{f"{name}_accuracy": result["exact_accuracy"] for name, result in judged.items()},
        "mean_segments": judged["own"]["mean_segments"],
    }


def step_seconds(study: Study, base: Preset, compute: Compute) -> dict[str, dict[str, Any]]:
    """Seconds of a training step with each target: the median of five interleaved rounds of eight steps."""
    with tempfile.TemporaryDirectory() as folder:
        steppers = {}
        for number, target in enumerate(study.targets):
            preset = with_target(base, target)
            run = RunFolder(Path(folder) / str(number))
            trainer = Trainer(preset, compute, run)
            steppers[target] = (trainer, [trainer.envs.reset(seed=0)])
        times: dict[str, list[float]] = {target: [] for target in study.targets}
        for _ in range(6):
            for target, (trainer, current) in steppers.items():
                start = time.perf_counter()
                for _ in range(8):  # a whole cycle of every:8 and subsample:0.125
                    obs, info = current[0]
                    out, action = trainer.learner.act(obs)
                    next_obs, _, terminated, _, next_info = trainer.envs.step(action)
                    trainer.learner.learn(out, obs, info["labels"], terminated, next_info)
                    current[0] = (next_obs, next_info)
                times[target].append((time.perf_counter() - start) / 8)
    full = times.get("full")
    return {
        target: {
            "seconds": statistics.median(rounds[1:]),
            "against_full": statistics.median(
                mine / other for mine, other in zip(rounds[1:], full[1:], strict=True)
            )
            if full
            else None,
        }
        for target, rounds in times.items()
    }


def save(study: Study, done: dict[str, Any]) -> None:
    study.results.write_text(json.dumps(done, indent=2) + "\n")


def show(done: dict[str, Any]) -> None:
    """Print the table of the README; means over seeds."""
    print("| target | step time | solved at the limit | by its own rule | mean segments | seeds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for target in dict.fromkeys(run["q_target"] for run in done["runs"]):
        runs = [run for run in done["runs"] if run["q_target"] == target]
        mean = {
            key: statistics.mean(run[key] for run in runs)
            for key in ("limit_accuracy", "own_accuracy", "mean_segments")
        }
        speed = done["step_seconds"].get(target, {}).get("against_full")
        print(
            f"| `{target}` | {f'{speed:.2f}' if speed else '-'} | {100 * mean['limit_accuracy']:.1f} % "
            f"| {100 * mean['own_accuracy']:.1f} % | {mean['mean_segments']:.2f} | {len(runs)} |"
        )


if __name__ == "__main__":
    main(tyro.cli(Study))
