"""Evaluation with slot refill; test_recorder.py holds its answers against a recording."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl import stopwatch
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation.evaluate import check_fits, evaluate
from hrm_rl.halting import SegmentFeatures
from hrm_rl.halting.rules import Fixed
from hrm_rl.messages import also_valid
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku

# The package has a function of that name.
evaluation = import_module("hrm_rl.evaluation.evaluate")

# As in conftest.py.
COUNT, LIMIT = 22, 4


class Counting:
    """A rule that knows how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, features: SegmentFeatures) -> torch.Tensor:
        self.calls += 1
        return torch.arange(len(features.q_halt)) % 3 < self.calls % 3


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("make", [lambda: "random:0.4", Counting])
def test_the_first_segment_on_a_gpu_changes_nothing(
    model: HRM, puzzles: PuzzleArrays, monkeypatch, graphs: bool, make: Any
) -> None:
    """It is thrown away, before the clock starts."""
    plain = evaluate(model, puzzles, make(), batch_size=7, graphs=graphs)
    order: list[str] = []
    clock = SimpleNamespace(
        perf_counter=lambda: order.append("clock") or float(len(order)), thread_time=lambda: 0.0
    )
    monkeypatch.setattr(stopwatch, "time", clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(evaluation, "_on_cuda", lambda device: True)
    warmed = evaluate(model, puzzles, make(), batch_size=7, graphs=graphs)
    assert order == ["wait", "clock", "clock"]
    for name in ("answers", "correct", "segments", "cell_accuracy", "first_correct_segment"):
        np.testing.assert_array_equal(getattr(warmed, name), getattr(plain, name))


def test_a_compiled_model_drops_idle_rows_too(restless_hrm: Any, model: HRM, puzzles: PuzzleArrays) -> None:
    """It goes on without compiling again for fewer rows."""
    compiled, seen = restless_hrm(), set()

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        seen.add(inputs[0].shape[0])
        return graph.forward

    compiled.compile_blocks(backend=backend)
    rows: list[int] = []
    for one in (model, compiled):
        noting = Counting()
        found = evaluate(one, puzzles, lambda f, n=noting: rows.append(len(f.q_halt)) or n(f), batch_size=8)
        rows.append(int(found.segments.sum()))
    assert seen == {8} and min(rows) < 8
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


def test_summary(model: HRM, puzzles: PuzzleArrays) -> None:
    result = evaluate(model, puzzles, "q", batch_size=7)
    assert result.summary() == {
        "exact_accuracy": result.correct.mean(),
        "valid_accuracy": result.correct.mean(),
        "cell_accuracy": pytest.approx(result.cell_accuracy.mean()),
        "mean_segments": result.segments.mean(),
        "max_segments": LIMIT,
        "count": COUNT,
        "seconds": result.seconds,
        "puzzles_per_second": pytest.approx(COUNT / result.seconds),
    }


def test_the_validator_judges_valid_only(model: HRM, puzzles: PuzzleArrays) -> None:
    """Any answer is right to this validator, so all are valid and the rest is as it was."""
    plain = evaluate(model, puzzles, "q")
    result = evaluate(model, puzzles, "q", validator=lambda i, a: torch.ones(len(i)).bool())
    assert result.valid.all()
    assert also_valid(result.summary()) == ", 100.0 % valid" and also_valid(plain.summary()) == ""
    np.testing.assert_array_equal(result.correct, plain.correct)
    strict = evaluate(model, puzzles, "q", validator=validator_of(Sudoku(4)))
    wanted = sudoku.is_valid(puzzles.inputs, strict.answers, 4)
    np.testing.assert_array_equal(strict.valid, wanted)


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_was(model: HRM, puzzles: PuzzleArrays, training: bool) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train(training)
    evaluate(model, puzzles.take(slice(4)), "q")
    assert model.training is training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_foreign_puzzles_and_bad_numbers_are_refused(model: HRM, puzzles: PuzzleArrays) -> None:
    with pytest.raises(ValueError, match="81 cells, the model was made for 16"):
        evaluate(model, sudoku.generate(2, 9, seed=0), "q")
    few = puzzles.take(slice(2))
    inputs = np.where(few.inputs == 5, 9, few.inputs)
    foreign = PuzzleArrays(inputs, few.labels, few.puzzle_identifiers, few.rating)
    with pytest.raises(ValueError, match="token 9, the model was made for vocab_size 6"):
        evaluate(model, foreign, "q")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_segments": 0}, "max_segments must be an integer >= 1, got 0"),
        ({"max_segments": "3"}, "max_segments must be an integer >= 1, got '3'"),
        ({"batch_size": -1}, "batch_size must be an integer >= 1, got -1"),
        ({"batch_size": 2.5}, "batch_size must be an integer >= 1, got 2.5"),
        ({"model": "runs/quickstart"}, "model must be a ReasoningModel, got str; hrm_rl"),
        ({"puzzles": np.ones((2, 16), int)}, "puzzles must be PuzzleArrays, got ndarray"),
        ({"puzzles": "all.csv"}, "puzzles must be PuzzleArrays, got str"),
        ({"rule": Fixed}, "a rule is an object or a function, got the class Fixed: make one of it"),
        ({"rule": None}, "a rule is a spec such as 'q', or a function of features; got None"),
        ({"rule": "qq"}, "unknown rule 'qq'; did you mean 'q'"),
        ({"validator": "valid"}, "validator must be a function of inputs and answers, got 'valid'"),
        ({"puzzle_keys": [1, 2]}, "puzzle_keys must be [0-9]+ integers, one a puzzle"),
        ({"puzzle_keys": "abc"}, "puzzle_keys must be [0-9]+ integers, one a puzzle"),
    ],
)
def test_arguments_are_checked_once_a_call(
    model: HRM, puzzles: PuzzleArrays, arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(**{"model": model, "puzzles": puzzles, **arguments})
    with pytest.raises(ValueError, match="at least one puzzle, got none"):
        evaluate(model, puzzles.take(slice(0)))


def test_identifiers_beyond_the_models_are_refused() -> None:
    tokens = np.ones((3, 4), int)
    puzzles = PuzzleArrays(tokens, tokens, np.array([0, 5, 2]), np.zeros(3))
    shape = {"vocab_size": 3, "seq_len": 4, "hidden_size": 16, "num_heads": 2}
    for width, count in ((0, 1), (16, 6)):
        check_fits(HRMConfig(**shape, puzzle_emb_ndim=width, num_puzzle_identifiers=count), puzzles)
    with pytest.raises(ValueError, match="name identifier 5, the model was made for num_puzzle"):
        check_fits(HRMConfig(**shape, puzzle_emb_ndim=16, num_puzzle_identifiers=5), puzzles)
