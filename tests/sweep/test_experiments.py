"""The studies under experiments/, and the figures of the soak."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.sweep import read_study

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
STUDIES = {
    "q_targets/study": 6,
    "halting_policies/study": 6,
    "halting_policies/full": 10,
    "models/study": 21,
    "models/lower_rate": 9,
    "models/six": 18,
    "models/six_half_rate": 3,
    "models/maze": 18,
    "relation_bias/nine": 12,
    "relation_bias/six": 12,
    "sudoku_9x9/trials": 11,
}

pytestmark = pytest.mark.skipif(not EXPERIMENTS.is_dir(), reason="runs in a checkout of the repository")


def test_every_study_of_an_experiment_has_its_trials() -> None:
    files = sorted(EXPERIMENTS.glob("*/*.toml"))
    counts = {f"{file.parent.name}/{file.stem}": len(read_study(file).trials()) for file in files}
    assert counts == STUDIES


def loaded(name: str) -> Any:
    """A module of an experiment."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXPERIMENTS / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def summarise() -> Any:
    return loaded("soak/report.py").summarise


def log_of(rss: Any) -> list[dict[str, Any]]:
    """The log of a soak of ten lives of 200 seconds each, with `rss(run, life, age)` KiB of memory."""
    common = {
        "orphans": 0,
        "temporary": 0,
        "code": -9,
        "signal": "SIGKILL",
        "moment": "any",
        "seconds_to_end": 0.1,
    }
    lines: list[dict[str, Any]] = []
    for life in range(1, 11):
        for age in range(0, 200, 10):
            for run, number, seconds in (
                ("disturbed", life, age),
                ("undisturbed", 1, 200 * (life - 1) + age),
            ):
                found = {"rss_kib": rss(run, number, seconds), "descriptors": 7, "threads": 4}
                lines.append({"event": "memory", "run": run, "life": number, "age": seconds, **found})
        steps = {"from_step": 100 * (life - 1), "to_step": 100 * life}
        lines.append({"event": "life", "run": "disturbed", "life": life, **steps, **common})
    end = {"seconds": 2000, "event": "compare", "step": 1000, "lines": 3, "different_lines": [500]}
    return [{"seconds": 0, **line} for line in lines] + [end]


def test_the_gradient_through_two_segments_is_the_derivative_of_their_loss(tiny_hrm) -> None:
    """Along one direction, by a central difference; a gradient that ends between them is another."""
    model = tiny_hrm(forward_dtype="float64", halt_max_steps=2).double()
    config = LearnerConfig(q_loss_weight=0.0, q_target="none", gradient="full")
    trainer = SimpleNamespace(model=model, rows=3, preset=SimpleNamespace(learner=config))
    puzzles = Sudoku(4).generate(3, seed=1)
    inputs, labels = (torch.as_tensor(x) for x in (puzzles.inputs, puzzles.labels))
    weight = model.L_level.layers[0].mlp.down_proj.weight
    direction = torch.linspace(-1, 1, weight.numel(), dtype=torch.float64).view_as(weight)

    def gradient(segments: int) -> float:
        learner = loaded("models/through_segments.py").SegmentsLearner.of(trainer, segments)
        learner.apply_gradients = lambda: None
        model.zero_grad()
        for number in range(2):
            obs = {"inputs": inputs, "puzzle_identifiers": torch.zeros(3).long()}
            obs["segment"] = torch.full((3,), number)
            out, _ = learner.act(obs)
            wrong = torch.zeros(3).bool()
            info = {"correct": wrong, "cell_accuracy": torch.zeros(3), "segments": obs["segment"] + 1}
            learner.learn(out, obs, labels, wrong, info)
        return float((weight.grad * direction).sum())

    @torch.no_grad()
    def loss(shift: float) -> float:
        weight.add_(shift * direction)
        carry, total = model.initial_carry(3), 0.0
        for _ in range(2):
            out = model(carry, inputs, torch.zeros(3).long())
            total, carry = total + float(token_loss(out.logits, labels).mean()) / 2, out.carry
        weight.sub_(shift * direction)
        return total

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert gradient(2) == pytest.approx(slope, rel=1e-5)
    assert gradient(1) / 2 != pytest.approx(slope, rel=1e-2)  # the sum of two updates' gradients


def test_the_soak_tells_memory_that_grows_from_memory_that_does_not(summarise) -> None:
    flat = summarise(log_of(lambda run, life, age: 500_000 + 1000 * (age < 50)))
    assert (
        flat["lives"] == 10
        and flat["kills"] == {"SIGKILL any": 10}
        and flat["exit_codes"] == {"SIGKILL": [-9]}
    )
    assert flat["memory_within_a_life"]["growth_percent"] == flat["memory_over_lives"]["growth_percent"] == 0
    assert flat["memory_over_lives"]["lives"] == 9  # the first has no checkpoint to start from
    assert flat["compared"] == {"step": 1000, "lines": 3, "different_lines": [500]}
    within = summarise(log_of(lambda run, life, age: 500_000 + 10 * age * (run == "undisturbed")))
    assert within["memory_within_a_life"]["growth_percent"] > 2
    over = summarise(log_of(lambda run, life, age: 500_000 + 5000 * life))
    assert (
        over["memory_over_lives"]["growth_percent"] > 2
        and over["memory_within_a_life"]["growth_percent"] == 0
    )
