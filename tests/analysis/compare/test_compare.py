"""Comparing rules: the report's figures by hand, chosen on one split and judged on the other."""

import dataclasses
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hrm_rl.analysis.compare import compare as compare_cases
from hrm_rl.analysis.compare.cases import Case, difficulty_of, make_case
from hrm_rl.analysis.compare.settings import DEFAULT_POLICIES, Settings
from hrm_rl.analysis.compare.table import chosen_cells, fitting, legend, markdown, table_cells
from hrm_rl.analysis.compare.wall_clock import expected_maximum, wall_clock
from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.halting.fit.linear import fit_lsm


def bank_of(seed: int = 0, puzzles: int = 200, **header: object) -> TraceBank:
    """A toy bank with another model hash for every seed."""
    bank = toy_bank(puzzles, seed)
    changes = {"model_hash": f"model {seed}", **header}
    return dataclasses.replace(bank, header=dataclasses.replace(bank.header, **changes))


def case_of(seed: int = 0, **header: object) -> Case:
    return make_case(f"run{seed}", bank_of(seed, **header))


def changed(**columns: object) -> Case:
    """A case with other columns in its bank."""
    return make_case("run", dataclasses.replace(bank_of(), **columns))


def compare(cases: Case | list[Case], *policies: str, folder: Path | None = None, **options) -> dict:
    """The object in compare.json."""
    cases = [cases] if isinstance(cases, Case) else cases
    return compare_cases(cases, Settings(policies, draws=200, **options), folder).to_dict()


def by_name(report: dict) -> dict[str, dict]:
    return {policy["policy"]: policy for policy in report["policies"]}


@pytest.fixture(scope="module")
def report() -> dict:
    """The default policies on one case."""
    return compare(case_of(seconds_per_segment={"1": 0.5, "8": 2.0}), *DEFAULT_POLICIES)


# --- one run --------------------------------------------------------------------------------------


def test_every_policy_has_a_row_and_json_takes_it(report) -> None:
    names = [policy["policy"] for policy in report["policies"]]
    assert names == [name.replace("LIMIT", "8") for name in DEFAULT_POLICIES]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_one_segment_has_every_default_rule_but_the_fitted() -> None:
    found = compare_cases([make_case("toy", toy_bank(40, num_segments=1))], Settings(draws=10))
    left_out = {*DEFAULT_POLICIES} - {row.policy for row in found}
    assert left_out == {"fixed:LIMIT", "lsm:auto", "voc:auto"}


def test_gain_by_hand(report) -> None:
    """Of a rule without a threshold, from the outcomes on the test puzzles."""
    test, cost = bank_of().in_split("test"), 0.03

    def utility(spec: str) -> float:
        outcome = replay(test, spec)
        return float((outcome.correct - cost * outcome.stopped).mean())

    (constant,) = report["best_fixed"]["0.03"]
    rule, fixed, oracle = (utility(spec) for spec in ("q", constant, f"oracle:{cost}"))
    found = by_name(report)["q"]["adaptive_gain"]["0.03"]
    assert found == pytest.approx((rule - fixed) / (oracle - fixed))


def test_a_comparison_is_a_sequence_of_rows() -> None:
    found = compare_cases([make_case("toy", toy_bank(20))], Settings(policies=("q", "fixed:1"), draws=10))
    assert list(found) == found.policies and found["q"] is found.policies[0]


def test_the_baseline_joins_and_may_be_any_policy() -> None:
    found = compare(case_of(), "q", baseline="fixed:LIMIT", cost=0.02)
    assert list(by_name(found)) == ["q", "fixed:8"]
    assert Settings(baseline="hindsight").baseline == "oracle"
    assert found["settings"]["baseline"] == "fixed:8"
    assert "0.02" in found["policies"][0]["adaptive_gain"]


def test_chosen_on_validation_puzzles_and_judged_on_test_puzzles() -> None:
    """Validation puzzles say that segment 3 is right, test puzzles say segment 5."""
    bank = bank_of()
    correct = np.zeros_like(bank.correct)
    correct[:, 2] = bank.split == "validation"
    correct[:, 4] = bank.split == "test"
    found = compare(changed(correct=correct), "fixed:auto")
    (row, _) = found["policies"]
    assert row["spec"] == ["fixed:3"] and row["exact_accuracy"] == 0 and row["premature"] == 1
    assert found["best_fixed"]["0.01"] == ["fixed:3"]


def test_learned_rules_are_saved_and_their_specs_work(tmp_path) -> None:
    policies = ("lsm:auto", "recall(voc:auto)", "calm(confidence)")
    found = compare(case_of(), *policies, costs=(0.03,), folder=tmp_path / "rules")
    test = bank_of().in_split("test")
    for row in by_name(found).values():
        (spec,) = row["spec"]
        assert replay(test, spec).correct.mean() == pytest.approx(row["exact_accuracy"])
    header, rows = chosen_cells(found)
    specs = [spec for _, spec in rows]
    assert header == ["policy", "spec"] and len(specs) == 3 and all(str(tmp_path) in spec for spec in specs)
    # At two costs the first two; CALM goes by risk.
    assert len(list((tmp_path / "rules").iterdir())) == 5


def test_the_rules_of_several_runs_are_listed_run_by_run() -> None:
    settings = Settings(policies=("q", "margin:auto", "fixed:auto"), draws=20)
    found = compare_cases([case_of(0), case_of(1)], settings).to_dict()
    header, rows = chosen_cells(found)
    assert header == ["policy", "run0", "run1"]
    assert rows == [[name, *by_name(found)[name]["spec"]] for name in ("margin:auto", "fixed:auto")]
    name, *specs = rows[0]
    assert "| policy | run0 | run1 |" in markdown(found)
    assert f"| {name} | `{specs[0]}` | `{specs[1]}` |" in markdown(found)


def test_a_rule_given_as_a_file_stays_in_its_file_beside_one_learned_here(tmp_path) -> None:
    given = fit_lsm(bank_of().in_split("validation"), 0.03).save(tmp_path / "given.safetensors")
    before = (tmp_path / "given.safetensors").read_bytes()
    policy = f"any({given}, voc:auto)"
    options = {"baseline": policy, "costs": (), "folder": tmp_path / "rules"}
    (row,) = compare(case_of(), policy, **options)["policies"]
    (saved,) = (tmp_path / "rules").iterdir()
    assert row["spec"] == [f"any({given}, voc:{saved})"]
    assert (tmp_path / "given.safetensors").read_bytes() == before
    outcome = replay(bank_of().in_split("test"), row["spec"][0])
    assert outcome.stopped.mean() == row["mean_segments"]


def test_rules_without_a_file_are_kept_apart_by_cost() -> None:
    found = compare(case_of(), "lsm:auto", costs=(0.001, 0.3))
    by_cost = by_name(found)["lsm:auto"]["spec_by_cost"]
    assert len({spec for (spec,) in by_cost.values()}) == 3
    segments = by_name(found)["lsm:auto"]["curve"]["segments"]
    assert segments[-1] - segments[0] > 1  # dear segments: it stops earlier


def test_rank_correlation_is_within_source() -> None:
    """Slow puzzles all come from one source; within each, all ratings are equal: no correlation."""
    bank = bank_of()
    hard = (bank.first_correct > 2) | (bank.first_correct == 0)
    rating = np.where(hard, 10, 1).astype(np.float32)
    source = tuple("hard" if h else "easy" for h in hard)
    (row,) = compare(changed(rating=rating, source=source), "q")["policies"]
    assert row["rank_correlation"] is None
    found = compare(changed(rating=rating, source=("all",) * len(bank)), "first-correct")
    assert by_name(found)["first-correct"]["rank_correlation"] > 0.2


def test_runs_are_ranked_each_for_itself() -> None:
    # One run is slower and has puzzles rated higher: that alone must not correlate.
    fast, slow = bank_of(0), bank_of(1)
    slow = dataclasses.replace(
        slow, rating=slow.rating + 10, features=slow.features | {"q_halt": slow.features["q_halt"] - 3}
    )
    cases = [make_case("fast", fast), make_case("slow", slow)]
    both, *alone = (
        compare(some, "q-halt:0", baseline="q-halt:0")["policies"][0]["rank_correlation"]
        for some in (cases, *cases)
    )
    assert both == pytest.approx(np.mean(alone))  # as many puzzles in both


def test_unrated_puzzles_have_no_difficulty() -> None:
    found = compare(changed(rating=np.full(400, np.nan, np.float32)), "q")
    assert found["difficulty"] is None and found["policies"][0]["rank_correlation"] is None
    assert "rho" not in table_cells(found)[0]


def test_ratings_that_hardly_differ_give_way_to_the_cells_to_fill() -> None:
    bank = bank_of()
    rng = np.random.default_rng(0)
    labels = bank.inputs + (rng.random(bank.inputs.shape) < rng.random((len(bank), 1)))
    rating = np.where(np.arange(len(bank)) < 3, 1, 0).astype(np.float32)
    case = changed(labels=labels, rating=rating)
    by, values = difficulty_of([case])
    assert by == "cells to fill"
    np.testing.assert_array_equal(values, (case.test.labels != case.test.inputs).sum(1))
    assert compare(case, "q")["difficulty"]["by"] == by


def test_nothing_to_gain_is_stated_and_not_divided() -> None:
    found = compare(changed(correct=np.ones_like(bank_of().correct)), "q")
    (row,) = found["policies"]
    assert row["adaptive_gain"]["0.01"] is None
    assert row["ci95"]["adaptive_gain"]["0.01"] == [None, None]
    assert "nothing to gain" in found["adaptive_gain_undefined"]["0.01"]
    assert "nothing to gain" in markdown(found)


def test_if_nothing_is_solved_one_line_states_it() -> None:
    found = compare(changed(correct=np.zeros_like(bank_of().correct)), "q", "fixed:2")
    assert len(found["adaptive_gain_undefined"]) == len(found["settings"]["costs"]) > 1
    (line,) = [row for row in legend(found) if "no gain" in row or "undefined" in row]
    assert line.startswith("No test puzzle is solved, at any segment")
    # The returns differ all the same, and that is what p tests.
    assert by_name(found)["fixed:2"]["p_value"] is not None


# --- several runs ---------------------------------------------------------------------------------


def test_runs_are_tuned_each_for_itself_and_weigh_the_same() -> None:
    cases = [case_of(0), make_case("run1", bank_of(1, puzzles=50))]
    policies = ("q", "q-halt:auto", "oracle")
    both, *alone = (by_name(compare(some, *policies)) for some in (cases, *cases))
    for policy in policies:
        for figure in ("exact_accuracy", "mean_segments", "premature", "utility"):
            mean = np.mean([rows[policy][figure] for rows in alone])
            assert both[policy][figure] == pytest.approx(mean)
        assert both[policy]["spec"] == [rows[policy]["spec"][0] for rows in alone]


def test_mcnemar_is_of_one_run_and_never_of_several() -> None:
    (alone,) = compare(case_of(0), "q")["policies"]
    (both,) = compare([case_of(0), case_of(1)], "q")["policies"]
    assert 0 < alone["matched_compute"]["p_value"] <= 1
    assert both["matched_compute"]["p_value"] is None
    assert both["matched_compute"]["only_policy_right"] > 0


def test_runs_on_the_same_puzzles_share_their_luck() -> None:
    # Two models that do the same on the same puzzles are, for luck with puzzles, one run, not two.
    once = case_of(0)
    twin = make_case("twin", dataclasses.replace(bank_of(0), header=bank_of(1).header))
    alone, report, other = (
        compare(cases, "fixed:2", baseline="fixed:2") for cases in ([once], [once, twin], [once, case_of(1)])
    )
    ends = [by_name(r)["fixed:2"]["ci95"]["exact_accuracy"] for r in (alone, report)]
    assert ends[1][1] - ends[1][0] > 0.85 * (ends[0][1] - ends[0][0])
    assert report["settings"]["shared_puzzles"] and not other["settings"]["shared_puzzles"]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda: [make_case("again", bank_of(0))], "run0 and again are the same bank"),
        (lambda: [case_of(1, model_hash="model 0")], "record the same model"),
        (lambda: [make_case("short", bank_of(1), max_segments=4)], "8 and 4 segments a puzzle; --m"),
    ],
)
def test_what_cannot_be_pooled(others, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare([case_of(0), *others()], "q")
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([], "q")


def test_splits_that_will_not_do() -> None:
    bank = bank_of()
    with pytest.raises(ValueError, match=r"no test puzzles .* validation puzzles only"):
        make_case("run", bank.in_split("validation"))
    inputs, labels = bank.inputs.copy(), bank.labels.copy()
    inputs[-7:], labels[-7:] = inputs[:7], labels[:7]
    with pytest.raises(ValueError, match="7 of its 200 test puzzles are also validation puzzles"):
        changed(inputs=inputs, labels=labels)
    with pytest.raises(ValueError, match=r"8 segments .* --max-segments 9"):
        make_case("run", bank, max_segments=9)
    untuned = make_case("run", bank.in_split("test"))
    assert compare(untuned, "q")["banks"][0]["validation_puzzles"] == 0
    with pytest.raises(ValueError, match=r"margin:auto on run: .*`hrm-rl trace RUN"):
        compare(untuned, "q", "margin:auto")


def test_a_rule_is_not_judged_on_what_it_was_fitted_on(tmp_path) -> None:
    bank = bank_of()
    fitted = fit_lsm(bank.in_split("validation"), 0.01).save(tmp_path / "lsm.safetensors")
    swapped = np.where(bank.split == "test", "validation", "test")
    with pytest.raises(ValueError, match="was fitted on 200 of these 200 puzzles"):
        compare(changed(split=swapped), str(fitted))
    with pytest.raises(ValueError, match="fitted for model 'model 0'"):
        compare(case_of(1), str(fitted))
    found = compare(case_of(1), str(fitted), allow_mismatch=True)
    assert found["policies"][0]["exact_accuracy"] > 0.5


def test_a_feature_that_the_bank_lacks_is_named() -> None:
    features = {name: column for name, column in bank_of().features.items() if name != "kl"}
    with pytest.raises(ValueError, match=r"kl:auto on run: .*feature 'kl'.*hrm-rl trace"):
        compare(changed(features=features), "kl:auto")


@pytest.mark.parametrize(
    "changes", [{"cost": 1.0}, {"cost": float("nan")}, {"costs": (0.1, -0.1)}, {"draws": 0}, {"policies": ()}]
)
def test_settings_out_of_range(changes) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=name):
        Settings(**changes)


# --- declining ---


def test_a_rule_that_declines_has_coverage_and_risk(tmp_path) -> None:
    case = case_of()
    policies = "fixed:4", "abstain(fixed:4, q-halt:0.5)", "abstain(q, calm(margin, 0.3, 0.1))"
    found = compare(case, *policies, folder=tmp_path)
    plain, row, calibrated, _ = found["policies"]
    declined = replay(case.test, "abstain(fixed:4, q-halt:0.5)").declined
    selective = row["selective"]
    assert selective["coverage"] == pytest.approx(1 - declined.mean())
    assert selective["risk"] == pytest.approx(1 - row["exact_accuracy"] / selective["coverage"])
    low, high = selective["ci95"]["risk"]
    assert low < selective["risk"] < high
    assert selective["curve"]["risk"][-1] == pytest.approx(1 - plain["exact_accuracy"])
    assert "selective" not in plain and row["mean_segments"] == 4
    right = case.test.correct[:, 3]
    assert row["premature"] == pytest.approx((~declined & ~right & case.test.correct[:, 4:].any(1)).mean())
    assert calibrated["spec"][0].startswith("abstain(q, calm:") and "risk %" in table_cells(found)[0]


def test_rules_that_select_cost_the_segments_of_all_trajectories(tmp_path) -> None:
    bank = toy_bank(100, num_segments=4, width=3)
    policies = "q", "select(q, first)", "select(q-halt:auto, vote, 2)", "select(fixed:4, oracle)"
    found = compare(make_case("wide", bank), *policies, folder=tmp_path)
    q, first, vote, bound = found["policies"]
    assert q == compare(make_case("wide", bank.narrow(1)), "q")["policies"][0] | {"p_value": q["p_value"]}
    outcome = replay(bank.in_split("test"), "select(q, first)")
    assert first["mean_segments"] == outcome.stopped.mean() == 3 * outcome.lengths[:, 0].mean()
    assert (bound["mean_segments"], bound["hindsight"], bound["p_value"]) == (12, True, None)
    wrong = 1 - bank.in_split("test").stacked("correct")[:, :, 3].any(1).mean()
    assert bound["never_right"] + bound["overthinking"] == pytest.approx(wrong)
    assert vote["chosen"] and min(vote["curve"]["segments"]) >= 2 and max(vote["curve"]["segments"]) <= 8
    assert (found["banks"][0]["width"], found["banks"][0]["trajectories"]) == (3, "start")
    assert any("of which the bank has 3" in line for line in legend(found))


# --- wall-clock -----------------------------------------------------------------------------------


def test_expected_maximum_of_every_batch() -> None:
    stops, batch = np.array([1, 2, 2, 5]), 3
    brute = np.mean([max(drawn) for drawn in product(stops, repeat=batch)])
    assert expected_maximum(stops, batch) == pytest.approx(brute)
    assert expected_maximum(stops, 1) == pytest.approx(stops.mean())


def test_puzzles_a_second_by_hand() -> None:
    """Stops 1 and 3: mean 2; the longer of two is 1 once in four, else 3: 2.5."""
    found = wall_clock(np.array([[1], [3]]), {"1": 0.1, "2": 0.125})
    assert dataclasses.astuple(found) == pytest.approx((2, 1 / 0.2, 2 / (2.5 * 0.125), 2 / 0.25))
    wide = wall_clock(np.array([[1, 1], [2, 4]]), {"2": 0.125})  # two rows hold one puzzle
    assert (wide.batch_1, wide.static, wide.refilled) == (1 / (2.5 * 0.125),) * 2 + (2 / (4 * 0.125),)
    assert set(dataclasses.astuple(wall_clock(np.array([[1], [3]]), {}))) == {None}


# --- tables ---------------------------------------------------------------------------------------


def test_a_narrow_window_loses_the_last_columns() -> None:
    header, rows = ["policy", "solved", "/ s"], [["q", "95.9 ±0.9", "1"]]  # 6, 9 and 3 wide
    fits = [fitting(header, rows, width) for width in (0, 8, 18, 19, 23, 24, 250)]
    assert fits == [1, 1, 1, 2, 2, 3, 3]


def test_tables_have_a_row_a_policy_and_all_columns(report) -> None:
    header, rows = table_cells(report)
    assert [row[0] for row in rows] == [policy["policy"] for policy in report["policies"]]
    assert all(len(row) == len(header) for row in rows)
    text = markdown(report)
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum(line.startswith("| q | ") for line in tables) == 3
    assert "nan" not in text.lower() and "None" not in text
