"""Judging rules for stopping: a bank worked by hand, and what holds for every bank."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrm_rl.analysis.statistics.judging import (
    adaptive_gain,
    best_fixed,
    first_correct,
    iso_accuracy,
    judge,
    judge_oracle,
    why_undefined,
)

# Five puzzles, four segments.
BANK = np.array(
    [
        [0, 0, 1, 1],  # right late
        [1, 1, 0, 0],  # right early, then spoilt
        [0, 1, 0, 1],  # right, wrong, right
        [0, 0, 0, 0],  # never
        [1, 1, 1, 1],  # at once
    ],
    bool,
)


def utility(result, cost):
    return result.correct - cost * result.segments


def fixed(segments, bank):
    return judge(np.full(len(bank), segments), bank[:, segments - 1], bank)


def judged(stopped, answered):
    return judge(np.array(stopped), np.array(answered), BANK)


banks = st.tuples(st.integers(1, 12), st.integers(1, 6)).flatmap(lambda s: arrays(bool, s))
costs = st.sampled_from([0.0, 0.001, 0.03, 0.25, 0.5, 1.0, 2.0])


def test_by_hand():
    stopped = np.array([2, 3, 3, 4, 3])
    result = judged(stopped, BANK[np.arange(5), stopped - 1])
    assert result.correct.tolist() == [0, 0, 0, 0, 1]
    assert result.segments.tolist() == [2, 3, 3, 4, 3]
    assert result.premature.tolist() == [1, 0, 1, 0, 0]
    assert result.overthinking.tolist() == [0, 1, 1, 0, 0]
    assert result.both.tolist() == [0, 0, 1, 0, 0]
    assert result.never_right.tolist() == [0, 0, 0, 1, 0]
    assert result.wasted.tolist() == [0, 2, 1, 0, 2]


def test_recalling_an_earlier_draft():
    """Answering with another draft than the last one: right where a spoilt one would be wrong."""
    stopped = np.array([4, 4, 3, 4, 1])
    result = judge(stopped, np.array([False, True, True, False, True]), BANK)
    assert result.correct.tolist() == [0, 1, 1, 0, 1]
    assert result.overthinking.tolist() == [1, 0, 0, 0, 0]  # it recalled another than the right one
    assert result.premature.sum() == 0


def test_first_right_draft_and_the_oracle():
    assert first_correct(BANK).tolist() == [3, 1, 2, 0, 1]
    assert judge_oracle(BANK, 0.0).segments.tolist() == [3, 1, 2, 1, 1]
    assert judge_oracle(BANK, 0.4).segments.tolist() == [3, 1, 2, 1, 1]
    assert judge_oracle(BANK, 0.5).segments.tolist() == [1, 1, 2, 1, 1]  # 1 - 3c = 0 - c: the first
    assert judge_oracle(BANK, 1.0).segments.tolist() == [1, 1, 1, 1, 1]


def test_best_constant_takes_the_fewest_on_ties():
    assert BANK.mean(0).tolist() == [0.4, 0.6, 0.4, 0.6]
    # At 0.2, 0.4 - 0.2 = 0.6 - 0.4, up to rounding.
    assert [best_fixed(BANK, cost) for cost in (0.0, 0.1, 0.2, 0.3)] == [2, 2, 1, 1]
    rounded = np.arange(5)[:, None] < [3, 4]  # 0.8 - 0.4 is more than 0.6 - 0.2, by 6e-17
    assert best_fixed(rounded, 0.2) == 1


@given(bank=banks, cost=costs)
def test_the_oracle_is_the_best_there_is(bank, cost):
    """Against all stops tried one by one; and no constant is better."""
    utilities = bank - cost * np.arange(1, bank.shape[1] + 1)
    oracle = judge_oracle(bank, cost)
    assert utility(oracle, cost) == pytest.approx(utilities.max(1))
    assert utilities.mean(0).max() <= utility(oracle, cost).mean() + 1e-12


@given(bank=banks, data=st.data())
def test_wrong_answers_are_split_without_rest(bank, data):
    n, m = bank.shape
    stopped = data.draw(arrays(np.int64, n, elements=st.integers(1, m)))
    result = judge(stopped, bank[np.arange(n), stopped - 1], bank)
    wrong = result.premature + result.overthinking - result.both + result.never_right
    assert (wrong == 1 - result.correct).all()
    for row in range(n):  # as the definitions read
        right = np.flatnonzero(bank[row]) + 1
        lost = not bank[row, stopped[row] - 1]
        assert result.premature[row] == (lost and (right > stopped[row]).any())
        assert result.overthinking[row] == (lost and (right < stopped[row]).any())
        assert result.wasted[row] == max([stopped[row] - t for t in right[:1]] + [0])


@given(bank=banks, cost=costs)
def test_adaptive_gain_is_0_for_the_constant_and_1_for_hindsight(bank, cost):
    constant = utility(fixed(best_fixed(bank, cost), bank), cost).mean()
    oracle = utility(judge_oracle(bank, cost), cost).mean()
    gains = adaptive_gain([constant, oracle, (constant + oracle) / 2], constant, oracle)
    if why_undefined(constant, oracle) is None:
        assert gains == pytest.approx([0, 1, 0.5], abs=1e-6)
    else:
        assert np.isnan(gains).all()


def test_adaptive_gain_without_headroom_has_a_reason():
    assert np.isnan(adaptive_gain(0.5, 0.99, 0.99))
    assert "nothing to gain" in (why_undefined(0.99, 0.99) or "")
    assert "NaN" in (why_undefined(float("nan"), 0.5) or "")
    per_draw = adaptive_gain([0.5, 0.2], [0.4, 0.4], [0.8, 0.4])
    assert per_draw[0] == pytest.approx(0.25)
    assert np.isnan(per_draw[1])


def test_segments_at_iso_accuracy():
    segments, accuracy = [8.0, 2.0, 5.0, 16.0], [0.795, 0.70, 0.79, 0.80]
    assert iso_accuracy(segments, accuracy, full=0.80) == {0: 16.0, 0.5: 8.0, 1: 5.0, 2: 5.0}
    assert iso_accuracy(segments, accuracy, full=0.81, below=(0, 1)) == {0: None, 1: 16.0}
    assert iso_accuracy(segments, accuracy, full=0.0, below=(0,)) == {0: 2.0}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: judged([1, 1, 1, 1], [False] * 5), "stopped is"),
        (lambda: judged([1.0] * 5, [False] * 5), "stopped is float64"),
        (lambda: judged([1] * 5, [0] * 5), "answered_correct is int64"),
        (lambda: judged([1, 1, 1, 1, 5], [False] * 5), "from 1 to 5; 1 to 4 needed"),
        (lambda: judged([0, 1, 1, 1, 1], [False] * 5), "from 0 to 1"),
        (lambda: judged([2, 1, 1, 1, 1], [True] * 5), "puzzle 0 is correct after 2 segments"),
        (lambda: first_correct(BANK.astype(int)), r"correct is int64 \(5, 4\)"),
        (lambda: best_fixed(np.ones((0, 4), bool), 0.1), "bool array"),
        (lambda: best_fixed(BANK, float("nan")), "cost is nan"),
        (lambda: judge_oracle(BANK, -1), "cost is -1"),
        (lambda: iso_accuracy([1.0, 2.0], [0.5], 0.5), "must both be"),
    ],
)
def test_input_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
