"""A recorded bank against the model itself, and against the live loop that halts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.agents import HRMAgent
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation import confirm
from hrm_rl.evaluation.confirm import check_bank, measure_speedup
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.evaluation.record import record, segment_seconds
from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank import FEATURES
from hrm_rl.halting.bank.replay import replay
from hrm_rl.model import HRM
from hrm_rl.model.files.fingerprint import model_hash
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku

# As in conftest.py.
COUNT, LIMIT, BEYOND = 22, 4, 7


def test_a_bank_holds_what_the_model_does(model: HRM, puzzles: PuzzleArrays, bank: TraceBank) -> None:
    """All puzzles at once, in a plain loop."""
    obs = {"inputs": torch.from_numpy(puzzles.inputs), "puzzle_identifiers": torch.zeros(COUNT).long()}
    agent, state = HRMAgent(model, "fixed:1"), None
    for segment in range(BEYOND):
        obs["segment"] = torch.full((COUNT,), segment)
        decision = agent.act(obs, state)
        state = decision.state
        draft = decision.action["answer"].numpy()
        assert bank.drafts is not None and bank.pooled_z_H is not None
        np.testing.assert_array_equal(bank.drafts[:, segment], draft)
        right = draft == puzzles.labels
        np.testing.assert_array_equal(bank.correct[:, segment], right.all(1))
        np.testing.assert_allclose(bank.cell_accuracy[:, segment], right.mean(1), rtol=1e-6)
        valid = sudoku.is_valid(puzzles.inputs, draft, 4)
        np.testing.assert_array_equal(bank.valid[:, segment], valid)
        pooled = decision.state.carry.z_H.mean(1).numpy()
        np.testing.assert_allclose(bank.pooled_z_H[:, segment], pooled, rtol=2e-3, atol=1e-4)
        for name in (*FEATURES, "segment", "previous_residual_H", "halt_sum", "log_survival"):
            wanted = getattr(decision.features, name).numpy()
            got = bank.column(name)[:, segment]
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
    assert bank.correct.any() and not bank.correct.any(1).all()


def test_a_bank_knows_its_puzzles_and_its_model(
    model: HRM, puzzles: PuzzleArrays, bank: TraceBank, tmp_path: Path
) -> None:
    for name in ("inputs", "labels", "puzzle_identifiers", "rating"):
        np.testing.assert_array_equal(getattr(bank, name), getattr(puzzles, name))
    assert bank.counts() == {"validation": 10, "test": 12}
    assert bank.split.tolist() == ["validation"] * 10 + ["test"] * 12
    assert bank.puzzle_key.tolist() == [*range(10), *range(12)]
    header = bank.header
    assert header.model_hash == model_hash(model)
    assert (header.halt_max_steps, header.preset, header.step) == (LIMIT, "tiny", 3)
    assert (header.dtype, header.device, header.note) == ("float32", "cpu", "made up")
    assert header.versions["torch"] == torch.__version__
    bank.save(tmp_path / "bank")
    assert TraceBank.load(tmp_path / "bank").header == header


@pytest.mark.parametrize("batch_size", [1, 5, COUNT, 1000])
def test_batches_do_not_matter(model: HRM, puzzles: PuzzleArrays, bank: TraceBank, batch_size: int) -> None:
    again = record(model, puzzles, 3, batch_size=batch_size, drafts=True)
    short = bank.truncate(3)
    np.testing.assert_array_equal(again.drafts, short.drafts)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.correct, short.correct)
    for name in FEATURES:
        np.testing.assert_allclose(
            again.features[name], short.features[name], rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_the_limit_is_the_models_by_default(model: HRM, puzzles: PuzzleArrays) -> None:
    found = record(model, puzzles.take(slice(2))).num_segments
    assert found == model.config.halt_max_steps


def test_the_model_stays_as_it_was(model: HRM, puzzles: PuzzleArrays) -> None:
    random = torch.get_rng_state()
    model.train()
    found = record(model, puzzles.take(slice(2)), 1)
    assert model.training and found.pooled_z_H is None and found.drafts is None
    model.eval()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("count", "segments", "options", "message"),
    [
        (0, 1, {}, "at least one puzzle"),
        (1, 0, {}, "max_segments must be an integer >= 1, got 0"),
        (1, 1, {"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        (1, 1, {"batch_size": "x"}, "batch_size must be an integer >= 1, got 'x'"),
        (1, 2.5, {}, "max_segments must be an integer >= 1, got 2.5"),
        (1, 1, {"split": "dev"}, "unknown split 'dev'"),
        (3, 1, {"split": ["test"] * 2}, "split must be a name, or 3 of them; got shape"),
        (1, 1, {"header": {"preset": "x"}}, "header must be a BankHeader, got dict"),
    ],
)
def test_bad_settings_are_named(
    model: HRM, puzzles: PuzzleArrays, count: int, segments: int, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        record(model, puzzles.take(slice(count)), segments, **options)


# --- live -----------------------------------------------------------------------------------------

SPECS = ["q", "q-halt:{q_halt}", "confidence:{confidence}", "margin:{margin}", "entropy:{entropy}"]
SPECS += ["stable:1", "residual:{residual_H}", "kl:{kl}", "second-order:0.02", "random:0.3"]
SPECS += ["fixed:3", "act:{halt_sum}", "ponder:{halted}", "recall(q)", "recall(fixed:5)"]
SPECS += ["any(stable:2, margin:{margin})", "all(q, min(3, confidence:{confidence}))", "min(2, q)"]
SPECS += ["abstain(recall(stable:1), margin:{margin})"]


def with_thresholds(template: str, bank: TraceBank) -> str:
    """Amid the widest gap about the middle of each signal, so that last bits decide nothing."""
    names = ("q_halt", "confidence", "margin", "entropy", "residual_H", "kl", "halt_sum")
    columns = {name: bank.column(name) for name in names}
    columns["halted"] = -np.expm1(bank.column("log_survival"))
    middles = {}
    for name, column in columns.items():
        values = np.sort(column[np.isfinite(column)])
        values = values[len(values) // 3 : 2 * len(values) // 3]
        gap = np.diff(values).argmax()
        middles[name] = (float(values[gap]) + float(values[gap + 1])) / 2
    return template.format(**middles)


@pytest.mark.parametrize("template", SPECS)
def test_live_and_replayed_agree_puzzle_by_puzzle(model: HRM, bank: TraceBank, template: str) -> None:
    spec = with_thresholds(template, bank)
    batches = [(5, BEYOND), (COUNT, LIMIT)]
    if template in ("q", "random:0.3"):
        batches += [(1, BEYOND), (1000, BEYOND), (5, 2), (5, 1)]
    for rows, limit in batches:
        live = evaluate(
            model,
            bank.puzzles,
            spec,
            max_segments=limit,
            batch_size=rows,
            validator=validator_of(Sudoku(4)),
            puzzle_keys=bank.puzzle_key,
        )
        replayed = replay(bank, spec, max_segments=limit)
        np.testing.assert_array_equal(live.segments, replayed.stopped)
        np.testing.assert_array_equal(live.correct, replayed.correct)
        np.testing.assert_array_equal(live.valid, replayed.valid)
        if replayed.declined is not None:
            np.testing.assert_array_equal(live.declined, replayed.declined)  # type: ignore[arg-type]
            assert 0 < live.summary()["coverage"] == (~replayed.declined).mean() < 1
        answers = bank.drafts[np.arange(COUNT), replayed.answered - 1]  # type: ignore[index]
        np.testing.assert_array_equal(live.answers, answers)
        share = (answers == bank.labels).mean(1)
        np.testing.assert_allclose(live.cell_accuracy, share, rtol=1e-6)
        if "recall" not in template:  # else other answers than the drafts come before the stop
            first = np.where(bank.first_correct <= replayed.stopped, bank.first_correct, 0)
            np.testing.assert_array_equal(live.first_correct_segment, first)


def test_the_rules_above_stop_at_different_segments(bank: TraceBank) -> None:
    """Else agreement would mean little; recalling changes answers, and some answers get spoilt."""
    stopped = replay(bank, "random:0.3").stopped
    assert len(np.unique(stopped)) >= 4 and len(np.unique(replay(bank, "q").stopped)) >= 4
    assert ((bank.first_correct > 0) & ~bank.correct[:, LIMIT - 1]).any()
    for template in SPECS:
        stops = replay(bank, with_thresholds(template, bank)).stopped
        assert "fixed" in template or len(np.unique(stops)) >= 2, template
    recalled = replay(bank, "recall(fixed:5)")
    assert (recalled.answered < recalled.stopped).any()


def test_a_bank_of_another_model_is_refused(
    model: HRM, bank: TraceBank, restless_hrm: Callable[..., HRM]
) -> None:
    check_bank(model, bank)
    other = restless_hrm(L_cycles=3)
    with pytest.raises(ValueError, match=f"model {model_hash(model)[:12]}.*--allow-mismatch"):
        check_bank(other, bank)
    check_bank(other, bank, allow_mismatch=True)


# --- the clock ------------------------------------------------------------------------------------


def test_segments_are_timed_by_batch_size(model: HRM, puzzles: PuzzleArrays) -> None:
    seconds = segment_seconds(model, puzzles.take(slice(3)), (1, 8))
    assert seconds.keys() == {"1", "8"} and all(0 < value < 10 for value in seconds.values())


def test_speedup_is_of_puzzles_a_second(model: HRM, puzzles: PuzzleArrays, monkeypatch: Any) -> None:
    """With a clock that counts segments, it is what the segments promise."""

    def counted(*arguments: Any, **options: Any) -> Any:
        found = evaluate(*arguments, **options)
        return dataclasses.replace(found, seconds=float(found.segments.sum()))

    monkeypatch.setattr(confirm, "evaluate", counted)
    found = measure_speedup(model, puzzles, "q", BEYOND, batch_size=5)
    mean = evaluate(model, puzzles, "q", max_segments=BEYOND).segments.mean()
    assert found["promised_speedup"] == pytest.approx(BEYOND / mean)
    assert found["speedup"] == pytest.approx(BEYOND / mean) and mean < BEYOND
