"""Runs and evaluations with graphs on: the same figures, bit for bit, and recordings of few sizes."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning import graphs
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.puzzles import sudoku

# The package has a function of that name.
evaluation = import_module("hrm_rl.evaluation.evaluate")


@pytest.fixture
def tapes(tape, monkeypatch) -> list[Any]:
    """Every recorder that is made; they replay without Python, as CUDA graphs do."""
    made: list[Any] = []

    def make(device: torch.device) -> Any:
        made.append(tape())
        return made[-1]

    monkeypatch.setattr(graphs, "make_recorder", make)
    return made


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def figures_of(file: Path) -> list[dict[str, Any]]:
    """The lines of a log without what the clock said."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


@pytest.mark.parametrize("q_target", ["full", "delayed"])
def test_a_run_with_graphs_is_the_run_without(tmp_path, start, tapes, q_target) -> None:
    learner = LearnerConfig(optimizer="adamw", lr=1e-3, warmup_steps=5, q_target=q_target)
    changes = {"learner": learner, "validate_every": 5, "seed": 5, "max_steps": 10}
    plain = start(tmp_path / "plain", **changes)
    graphed = start(tmp_path / "graphed", graphs=True, **changes)
    figures = [trainer.train(progress=False) for trainer in (plain, graphed)]
    assert same(plain.model.state_dict(), graphed.model.state_dict())
    assert same(plain.average.model.state_dict(), graphed.average.model.state_dict())
    for name in ("exact_accuracy", "cell_accuracy", "mean_segments"):
        assert figures[0][name] == figures[1][name]
    logs = [figures_of(tmp_path / name / "metrics.jsonl") for name in ("plain", "graphed")]
    assert logs[0] == logs[1] and len(logs[0]) == 7  # five of two steps each, two validations
    assert tapes[0].replays > 0

    start(tmp_path / "parts", graphs=True, **(changes | {"max_steps": 5})).train(progress=False)
    resumed = start(tmp_path / "parts", resume=True, graphs=True, **changes)
    resumed.train(progress=False)
    assert same(resumed.model.state_dict(), plain.model.state_dict())


def test_a_run_of_steps_that_differ_is_refused(tmp_path, start) -> None:
    with pytest.raises(ValueError, match="every:2"):
        start(tmp_path / "run", graphs=True, learner=LearnerConfig(q_target="every:2"))


class Unmoved:
    """A rule that keeps a feature, and stops where it has not moved since: nowhere."""

    def __init__(self) -> None:
        self.before: torch.Tensor | None = None

    def __call__(self, features: Any) -> torch.Tensor:
        before, self.before = self.before, features.q_halt
        if before is None or len(before) != len(features.q_halt):
            return torch.zeros_like(features.q_halt, dtype=torch.bool)
        return features.q_halt == before


@pytest.mark.parametrize(
    ("rule", "batch_size"),
    [
        ("q", 1),
        ("q", 5),
        ("stable:1", 12),
        ("random:0.4", 12),
        ("random:0.4", 40),
        ("fixed:2", 5),
        (Unmoved, 12),
    ],
)
def test_an_evaluation_with_graphs_gives_the_same_answers(
    restless_hrm, tapes, monkeypatch, rule, batch_size
) -> None:
    sizes = set()
    act = evaluation.GraphedAgent.act

    def noting(agent: Any, obs: dict[str, torch.Tensor], *args: Any, **options: Any) -> Any:
        sizes.add(len(obs["segment"]))
        return act(agent, obs, *args, **options)

    monkeypatch.setattr(evaluation.GraphedAgent, "act", noting)
    model, puzzles = restless_hrm(), sudoku.generate(24, 4, seed=0)
    options: dict[str, Any] = {"max_segments": 7, "batch_size": batch_size}
    plain, graphed = (
        evaluate(model, puzzles, rule if isinstance(rule, str) else rule(), graphs=g, **options)
        for g in (False, True)
    )
    for name in ("answers", "correct", "segments", "cell_accuracy", "first_correct_segment"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(graphed, name))
    first = min(batch_size, 24)
    assert sizes <= {first, 1, 2, 4, 8, 16} and first in sizes
    assert len(tapes) == 1 and (batch_size > 5 or tapes[0].replays > 0)
