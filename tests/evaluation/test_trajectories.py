"""Several trajectories of a puzzle: live against the bank, views mapped back, and what is refused."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.agents import HRMAgent
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation import Trajectories, evaluate, record
from hrm_rl.evaluation.trajectories import answer_ids, small_ids
from hrm_rl.halting import TraceBank, parse_rule, replay
from hrm_rl.model import HRM
from hrm_rl.model.noise import Noise
from hrm_rl.puzzles import FAMILIES, make_family
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.prefix_parity import PrefixParity
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.puzzles.views import views_of

COUNT, K, LIMIT = 22, 4, 4
SPREAD = ("noise:0.5", "start", "views", "views+start+noise:0.1")
SPECS = (
    "select(q, first)",
    "select(recall(q), best:q-halt)",
    "select(stable:1, best:residual)",
    "select(q, vote)",
    "select(q-halt:-0.5, vote:q-halt)",
)


@pytest.fixture(scope="module")
def wide(model: HRM, puzzles: PuzzleArrays) -> Callable[[str], TraceBank]:
    kept: dict[str, TraceBank] = {}

    def make(spread: str) -> TraceBank:
        if spread not in kept:
            options: Any = {"validator": validator_of(Sudoku(4)), "drafts": True, "batch_size": 9}
            several = Trajectories.parse(spread, K, Sudoku(4))
            kept[spread] = record(model, puzzles, LIMIT, trajectories=several, **options)
        return kept[spread]

    return make


@pytest.mark.parametrize("spread", SPREAD)
def test_the_first_trajectory_is_the_plain_one(
    wide: Any, bank: TraceBank, spread: str, tmp_path: Any
) -> None:
    found, plain = wide(spread), bank.truncate(LIMIT)
    assert (found.width, found.header.trajectories) == (K, spread)
    for name, column in plain.features.items():
        np.testing.assert_allclose(found.features[name], column, rtol=1e-4, atol=1e-5, err_msg=name)
    for name in ("correct", "valid", "drafts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert len(np.unique(found.stacked("q_halt")[0, :, 0 if spread != "noise:0.5" else 1])) == K
    found.save(tmp_path / "bank")
    assert TraceBank.load(tmp_path / "bank").width == K


@pytest.mark.parametrize("spread", SPREAD)
def test_drafts_of_all_trajectories_answer_the_puzzle_itself(
    wide: Any, puzzles: PuzzleArrays, spread: str
) -> None:
    """Judged in the view they saw; mapped back they are as right, and numbered by what they are."""
    found = wide(spread)
    drafts = found.stacked("drafts")  # [N, K, M, S]
    np.testing.assert_array_equal((drafts == puzzles.labels[:, None, None]).all(-1), found.stacked("correct"))
    ids = found.stacked("draft_ids").reshape(COUNT, -1)
    flat = drafts.reshape(COUNT, K * LIMIT, -1)
    np.testing.assert_array_equal(
        ids[:, :, None] == ids[:, None], (flat[:, :, None] == flat[:, None]).all(-1)
    )
    np.testing.assert_array_equal(small_ids(answer_ids(drafts)), found.stacked("draft_ids"))


@pytest.mark.parametrize(("spread", "batch_size"), [*zip(SPREAD, (3, 11, 256, 64), strict=True)])
@pytest.mark.parametrize("spec", SPECS)
def test_live_is_what_the_bank_says(
    model: HRM, puzzles: PuzzleArrays, wide: Any, spread: str, spec: str, batch_size: int
) -> None:
    several = Trajectories.parse(spread, K, Sudoku(4))
    live = evaluate(model, puzzles, spec, max_segments=LIMIT, batch_size=batch_size, trajectories=several)
    outcome = replay(wide(spread), spec)
    np.testing.assert_array_equal(live.segments, outcome.stopped)
    np.testing.assert_array_equal(live.correct, outcome.correct)
    np.testing.assert_array_equal((live.answers == puzzles.labels).all(1), outcome.correct)


def test_particles_are_copies_of_the_promising_ones(
    model: HRM, puzzles: PuzzleArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in every batch; equal to select(RULE, first) where nothing is ever resampled."""
    several = Trajectories(K, Noise(path=0.5))
    options: Any = {"max_segments": LIMIT, "trajectories": several}
    found = [evaluate(model, puzzles, "particles(q)", batch_size=size, **options) for size in (5, 64)]
    np.testing.assert_array_equal(found[0].answers, found[1].answers)
    plain = evaluate(model, puzzles, "select(q, first)", **options)
    assert (found[0].answers != plain.answers).any()
    module = sys.modules["hrm_rl.evaluation.evaluate"]
    monkeypatch.setattr(module, "resampled", lambda state, *_: state)
    np.testing.assert_array_equal(evaluate(model, puzzles, "particles(q)", **options).answers, plain.answers)


def test_resampling_follows_the_weights(model: HRM) -> None:
    from hrm_rl.evaluation.trajectories import resampled

    state = HRMAgent(model).initial_state(3 * K)
    state = state._replace(memory=state.memory._replace(segment=torch.arange(3 * K)))
    q_halt = torch.tensor([0.0, 50, -50, -50] + [-50, -50, -50, 0] + [1.0] * K)
    kept = resampled(state, q_halt, torch.arange(3 * K), torch.ones(3 * K).long(), K).memory.segment.view(
        3, K
    )
    assert set(kept[0].tolist()) == {0, 1} and (kept[0] == 1).sum() in (2, 3)
    assert kept[1].tolist() == [7] * K
    assert kept[2].tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("name", FAMILIES)
def test_views_are_distinct_symmetries_and_are_undone(name: str) -> None:
    family = make_family(name, {})
    if family.symmetry is None:
        pytest.skip("no symmetry")
    few = family.generate(3)
    rows = np.repeat(np.arange(3), K)
    views = views_of(family.symmetry, np.array([0, 1, 7]), K, family.seq_len)
    inputs, labels = views.apply(few.inputs[rows]), views.apply(few.labels[rows])
    assert family.solves(inputs, labels).all()
    np.testing.assert_array_equal(family.key(inputs), family.key(few.inputs)[rows])
    np.testing.assert_array_equal(inputs[::K], few.inputs)
    np.testing.assert_array_equal(views.undo(np.stack([inputs, labels], 1))[:, 0], few.inputs[rows])
    np.testing.assert_array_equal(views.undo(labels), few.labels[rows])
    cells = np.arange(family.seq_len, dtype=np.int32) + 1000  # beyond free tokens: positions alone
    assert len(np.unique(views.apply(np.tile(cells, (len(rows), 1)))[:K], axis=0)) == K
    again = views_of(family.symmetry, np.array([7]), K, family.seq_len)
    np.testing.assert_array_equal(again.positions, views.positions[2 * K :])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trajectories.parse("view", 4), "unknown trajectories 'view'; did you mean 'views'"),
        (lambda: Trajectories.parse("noise", 4), "SIGMA must be a number > 0, as in noise:0.01"),
        (lambda: Trajectories.parse("noise:0.1+noise:1", 4), "noise is given twice"),
        (lambda: Trajectories.parse("noise:0", 4), "SIGMA must be a number > 0"),
        (lambda: Trajectories.parse("noise:x", 4), "SIGMA must be a number > 0"),
        (lambda: Trajectories.parse("views", 4, PrefixParity()), "prefix-parity.*no symmetry, so no views"),
        (lambda: Trajectories(4), "need noise or a symmetry"),
        (lambda: Trajectories(0), "width must be"),
        (lambda: Trajectories.parse("start", 4).selecting(parse_rule("q")), r"select\(q, first\)"),
        (lambda: Trajectories.parse("start", 4).selecting(parse_rule("select(q, oracle)")), "hindsight"),
        (
            lambda: Trajectories.parse("views", 4, Sudoku(4)).selecting(parse_rule("particles(q)")),
            "views do not share states",
        ),
        (lambda: views_of(make_family("maze", {}).symmetry, [0], 9, 900), "has 8 views, fewer than 9"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_does_not_fit_is_refused(model: HRM, puzzles: PuzzleArrays) -> None:
    several = Trajectories(10**9, Noise(start=True))
    with pytest.raises(
        MemoryError, match=r"22 puzzles x 1000000000 trajectories x 4 segments take about .* GB"
    ):
        record(model, puzzles, LIMIT, trajectories=several)
    with pytest.raises(ValueError, match=r"selects among several trajectories .* --width K"):
        evaluate(model, puzzles, "select(q, vote)")
