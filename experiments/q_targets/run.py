"""Train sudoku-4x4 with each Q target, then evaluate all on the same puzzles of held-out classes.

    python experiments/q_targets/run.py                 # every target, one seed
    python experiments/q_targets/run.py --seeds 0 1 2   # more seeds

The runs are a study of `hrm-rl sweep`; finished ones in --work are not repeated. Results go to results.json
beside this file.
"""

import dataclasses
import json
import logging
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

from hrm_rl.evaluation import evaluate
from hrm_rl.sweep import sweep
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.open_run import open_trained
from hrm_rl.training.presets import Preset
from hrm_rl.training.run_folder import RunFolder

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """Compare the targets of the continue value on 4x4 Sudoku."""

    study: Path = HERE / "study.toml"
    """The runs to train, which differ in learner.q_target."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the runs."""
    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    work: Path = Path("runs/q_targets")
    """Folder for the runs."""
    results: Path = HERE / "results.json"
    """File to write."""


def main(study: Study) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    trials = sweep(study.study, study.work, seeds=study.seeds)["trials"]
    done: dict[str, Any] = {"runs": [judge(study, trial) for trial in trials if trial["state"] == "finished"]}
    base, compute = RunFolder(trials[0]["run"]).config()
    done["step_seconds"] = step_seconds([run["q_target"] for run in done["runs"]], base, compute)
    done["machine"] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "computing": str(compute),
        "torch": torch.__version__,
        "command": " ".join(["python", "experiments/q_targets/run.py", *sys.argv[1:]]),
    }
    study.results.write_text(json.dumps(done, indent=2) + "\n")
    show(done)


def judge(study: Study, trial: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a run on the test puzzles, at the limit and with its own rule."""
    trained = open_trained(trial["run"])
    assert trained.preset is not None
    puzzles = generated_puzzles(trained.preset.data.kind, "test", study.puzzles)
    limit = trained.model.config.halt_max_steps
    rules = {"limit": f"fixed:{limit}", "own": trained.rule, "four": "fixed:4", "one": "fixed:1"}
    judged = {name: evaluate(trained.model, puzzles, rule).summary() for name, rule in rules.items()}
    return {
        "q_target": trained.preset.learner.q_target,
        "seed": trial["seed"],
        "steps": trial["max_steps"],
        "rule": trained.rule,
        **{f"{name}_accuracy": result["exact_accuracy"] for name, result in judged.items()},
        "mean_segments": judged["own"]["mean_segments"],
    }


def with_target(preset: Preset, target: str) -> Preset:
    return dataclasses.replace(preset, learner=dataclasses.replace(preset.learner, q_target=target))


def step_seconds(targets: list[str], base: Preset, compute: Compute) -> dict[str, dict[str, Any]]:
    """Seconds of a training step with each target: the median of five interleaved rounds of eight steps."""
    with tempfile.TemporaryDirectory() as folder:
        steppers = {}
        for number, target in enumerate(dict.fromkeys(targets)):
            preset = with_target(base, target)
            run = RunFolder(Path(folder) / str(number))
            trainer = Trainer(preset, compute, run)
            steppers[target] = (trainer, [trainer.envs.reset(seed=0)])
        times: dict[str, list[float]] = {target: [] for target in steppers}
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
