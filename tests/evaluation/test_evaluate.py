"""Evaluation with slot refill against a recording of every segment: the same answers, exactly."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from hrm_rl.agents import HRMAgent
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation.evaluate import check_fits, evaluate
from hrm_rl.evaluation.record import record
from hrm_rl.halting import SegmentFeatures, TraceBank
from hrm_rl.halting.bank.replay import replay
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku

# The package has a function of that name.
evaluation = import_module("hrm_rl.evaluation.evaluate")

COUNT, LIMIT, BEYOND = 24, 4, 7
# Thresholds are held against a bank in test_recorder.py.
SPECS = ["q", "fixed:6", "random:0.4"]


class Known(NamedTuple):
    """A model, puzzles, and all that the model does on them up to `BEYOND` segments."""

    model: HRM
    puzzles: PuzzleArrays
    recording: TraceBank

    def stops(self, spec: str, limit: int) -> np.ndarray:
        """The segment at which each puzzle stops under a rule."""
        return replay(self.recording, spec, max_segments=limit).stopped


@pytest.fixture(scope="module")
def known(restless_hrm: Any) -> Known:
    model = restless_hrm()
    puzzles = sudoku.generate(COUNT, 4, seed=0)
    # Some puzzles become right at some segment: their solution is what the model then says.
    recording = record(model, puzzles, BEYOND, drafts=True)
    assert recording.drafts is not None
    labels = puzzles.labels.copy()
    for i in range(0, COUNT, 3):
        labels[i] = recording.drafts[i, i % BEYOND]
    puzzles = PuzzleArrays(puzzles.inputs, labels, puzzles.puzzle_identifiers, puzzles.rating)
    recording = record(model, puzzles, BEYOND, drafts=True)
    return Known(model, puzzles, recording)


@pytest.mark.parametrize("batch_size", [1, 5, COUNT, 1000])
@pytest.mark.parametrize("spec", SPECS)
def test_every_answer_is_the_recorded_draft_of_its_segment(
    known: Known, spec: str, batch_size: int
) -> None:
    result = evaluate(known.model, known.puzzles, spec, max_segments=BEYOND, batch_size=batch_size)
    segments = known.stops(spec, BEYOND)
    rows, columns = np.arange(COUNT), segments - 1
    np.testing.assert_array_equal(result.segments, segments)
    np.testing.assert_array_equal(result.answers, known.recording.drafts[rows, columns])
    np.testing.assert_array_equal(result.correct, known.recording.correct[rows, columns])
    right = result.answers == known.puzzles.labels
    np.testing.assert_allclose(result.cell_accuracy, right.mean(1), rtol=1e-6)
    for i in rows:
        seen = known.recording.correct[i, : segments[i]]
        assert result.first_correct_segment[i] == (seen.argmax() + 1 if seen.any() else 0)


def test_the_rules_above_stop_at_different_segments(known: Known) -> None:
    """Else refilling would hardly be tested."""
    for spec in ("q", "random:0.4"):
        assert len(np.unique(known.stops(spec, BEYOND))) >= 4


def test_some_answers_are_right_and_some_were(known: Known) -> None:
    result = evaluate(known.model, known.puzzles, f"fixed:{LIMIT}")
    assert result.correct.any() and not result.correct.all()
    assert ((result.first_correct_segment > 0) & ~result.correct).any()


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_the_limit_stops_at_the_latest(known: Known, limit: int | None) -> None:
    result = evaluate(known.model, known.puzzles, "q", max_segments=limit, batch_size=5)
    assert result.max_segments == (limit or LIMIT)
    np.testing.assert_array_equal(result.segments, known.stops("q", limit or LIMIT))


def test_each_puzzle_is_answered_once_in_its_place(known: Known) -> None:
    """Whatever the order puzzles come in, each gets its own answer."""
    order = np.random.default_rng(0).permutation(COUNT)
    straight = evaluate(known.model, known.puzzles, "q", batch_size=7)
    shuffled = evaluate(known.model, known.puzzles.take(order), "q", batch_size=4)
    np.testing.assert_array_equal(shuffled.answers, straight.answers[order])
    np.testing.assert_array_equal(shuffled.segments, straight.segments[order])
    doubled = evaluate(known.model, known.puzzles.take(np.r_[order, order]), "q", batch_size=7)
    np.testing.assert_array_equal(doubled.answers[:COUNT], doubled.answers[COUNT:])


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
    known: Known, monkeypatch, graphs: bool, make: Any
) -> None:
    """It is thrown away, before the clock starts."""
    plain = evaluate(known.model, known.puzzles, make(), batch_size=7, graphs=graphs)
    order: list[str] = []
    clock = SimpleNamespace(perf_counter=lambda: order.append("clock") or float(len(order)))
    monkeypatch.setattr(evaluation, "time", clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(evaluation, "_on_cuda", lambda device: True)
    warmed = evaluate(known.model, known.puzzles, make(), batch_size=7, graphs=graphs)
    assert order == ["wait", "clock", "clock"]
    for name in ("answers", "correct", "segments", "cell_accuracy", "first_correct_segment"):
        np.testing.assert_array_equal(getattr(warmed, name), getattr(plain, name))


def test_summary(known: Known) -> None:
    result = evaluate(known.model, known.puzzles, "q", batch_size=7)
    summary = result.summary()
    assert summary["exact_accuracy"] == result.correct.mean()
    assert summary["valid_accuracy"] == result.valid.mean() == result.correct.mean()
    assert summary["cell_accuracy"] == pytest.approx(result.cell_accuracy.mean())
    assert summary["mean_segments"] == result.segments.mean()
    assert (summary["max_segments"], summary["count"]) == (LIMIT, COUNT)
    assert summary["puzzles_per_second"] == pytest.approx(COUNT / summary["seconds"])


def test_the_validator_judges_valid_only(known: Known) -> None:
    """Any answer is right to this validator, so all are valid and the rest is as it was."""
    plain = evaluate(known.model, known.puzzles, "q")
    result = evaluate(
        known.model, known.puzzles, "q", validator=lambda i, a: torch.ones(len(i)).bool()
    )
    assert result.valid.all()
    np.testing.assert_array_equal(result.correct, plain.correct)
    strict = evaluate(known.model, known.puzzles, "q", validator=validator_of(Sudoku(4)))
    wanted = sudoku.is_valid(known.puzzles.inputs, strict.answers, 4)
    np.testing.assert_array_equal(strict.valid, wanted)


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_was(known: Known, training: bool) -> None:
    before = {key: value.clone() for key, value in known.model.state_dict().items()}
    known.model.train(training)
    evaluate(known.model, known.puzzles.take(slice(4)), "q")
    assert known.model.training is training
    assert all(torch.equal(v, before[k]) for k, v in known.model.state_dict().items())
    assert all(p.grad is None for p in known.model.parameters())


def test_foreign_puzzles_are_refused(known: Known) -> None:
    with pytest.raises(ValueError, match="81 cells, the model was made for 16"):
        evaluate(known.model, sudoku.generate(2, 9, seed=0), "q")
    few = known.puzzles.take(slice(2))
    inputs = np.where(few.inputs == 5, 9, few.inputs)
    foreign = PuzzleArrays(inputs, few.labels, few.puzzle_identifiers, few.rating)
    with pytest.raises(ValueError, match="token 9, the model was made for vocab_size 6"):
        evaluate(known.model, foreign, "q")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_segments": 0}, "got 0"),
        ({"max_segments": -1}, "got -1"),
        ({"batch_size": 0}, "got 0"),
        ({"rule": "confidense:1"}, "did you mean 'confidence'"),
    ],
)
def test_bad_settings_are_refused(known: Known, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(known.model, known.puzzles, **options)


def test_freezing_ended_rows_gives_the_same_answers(known: Known) -> None:
    """The other way to evaluate: no refill, rows that stopped wait until all have."""
    source = SequentialSource(known.puzzles, 6)
    envs = PuzzleVectorEnv(
        COUNT, source, halt_max_steps=LIMIT, order="epoch", autoreset_mode="Disabled"
    )
    obs, info = envs.reset(seed=0)
    agent, state = HRMAgent(known.model, "q"), None
    for _ in range(LIMIT):
        decision = agent.act(obs, state, puzzle_key=info["puzzle_key"])
        obs, _, terminated, _, info = envs.step(decision.action)
        state = decision.state
    result = evaluate(known.model, known.puzzles, "q", batch_size=5)
    assert terminated.all()
    np.testing.assert_array_equal(obs["draft"].numpy(), result.answers)
    np.testing.assert_array_equal(info["segments"].numpy(), result.segments)
    np.testing.assert_array_equal(info["correct"].numpy(), result.correct)


def test_identifiers_beyond_the_models_are_refused() -> None:
    tokens = np.ones((3, 4), int)
    puzzles = PuzzleArrays(tokens, tokens, np.array([0, 5, 2]), np.zeros(3))
    shape = {"vocab_size": 3, "seq_len": 4, "hidden_size": 16, "num_heads": 2}
    for width, count in ((0, 1), (16, 6)):
        check_fits(HRMConfig(**shape, puzzle_emb_ndim=width, num_puzzle_identifiers=count), puzzles)
    with pytest.raises(ValueError, match="name identifier 5, the model was made for num_puzzle"):
        check_fits(HRMConfig(**shape, puzzle_emb_ndim=16, num_puzzle_identifiers=5), puzzles)
