"""Rules for stopping side by side on recorded runs: one report of plain numbers, ready for JSON.

Thresholds are chosen on validation puzzles, test puzzles judge. All rules stop on the same puzzles, so
differences are paired; several runs (training seeds) are pooled, each run weighing the same, and the
bootstrap draws runs first and puzzles within them.
"""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrm_rl.analysis.compare.cases import Case, check_poolable, on_same_puzzles
from hrm_rl.analysis.compare.curves import difficulty, policy_curve, reference_curves
from hrm_rl.analysis.compare.quantities import Quantities
from hrm_rl.analysis.compare.rows import (
    AtCosts,
    gain_over,
    iso_accuracy_segments,
    matched_compute,
    p_values,
    policy_row,
    pooled_wall_clock,
    rank_correlation,
)
from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.compare.trials import Trials
from hrm_rl.analysis.statistics.calibration import halt_calibration
from hrm_rl.analysis.statistics.judging import why_undefined


@contextmanager
def _one_thread() -> Iterator[None]:
    """A comparison is thousands of small operations: on a busy machine, threads that wait for one another
    cost many times what they save on an idle one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def compare(
    cases: Sequence[Case], settings: Settings, rules_folder: Path | None = None
) -> dict[str, Any]:
    """The report of a comparison.

    Args:
        cases: runs, all with the same number of segments.
        settings: what to compare.
        rules_folder: where rules that are fitted on the way are saved, made if need be; without it they
            are not saved, and their specs name no file.

    Returns:
        policies, best_fixed, calibration, difficulty, curves, banks, settings, seconds: docs/compare.md
        says what each is. Undefined numbers are None.

    Raises:
        ValueError: a rule is unknown, needs validation puzzles or a feature that a bank lacks, or
            was fitted on puzzles that it would be judged on; cases that cannot be pooled.
    """
    clock = [time.perf_counter()]
    check_poolable(cases)
    limit, costs, cost = cases[0].limit, settings.all_costs, settings.cost
    names = [name.replace("LIMIT", str(limit)) for name in (*settings.policies, settings.baseline)]
    policies, baseline = list(dict.fromkeys(names)), names[-1]
    runs = [
        Trials(case, rules_folder, settings.seed, settings.cost, settings.allow_mismatch)
        for case in cases
    ]
    trials: dict[str, AtCosts] = {
        policy: {c: [run.trial(policy, c) for run in runs] for c in costs} for policy in policies
    }
    fixed = {c: [run.best_fixed(c) for run in runs] for c in costs}
    oracle = {c: [run.oracle(c) for run in runs] for c in costs}
    clock.append(time.perf_counter())

    quantities = Quantities()
    for at_costs in (*trials.values(), fixed, oracle):
        for several in at_costs.values():
            quantities.add(several, "correct", "segments")
    for policy in policies:
        quantities.add(trials[policy][cost], "valid")
    shared = on_same_puzzles(cases)
    quantities.draw(settings.draws, settings.seed, shared_puzzles=shared)
    clock.append(time.perf_counter())

    curves = reference_curves(cases)
    headline = {policy: at_costs[cost] for policy, at_costs in trials.items()}
    p_value = p_values(headline, baseline, cost, quantities)
    rows = []
    for policy, at_costs in trials.items():
        row = policy_row(policy, cost, at_costs, fixed, oracle, quantities)
        points = [run.sweep(policy, costs) for run in runs]
        row["curve"] = policy_curve(points, limit, curves["fixed"]["accuracy"][0])
        row["iso_accuracy_segments"] = iso_accuracy_segments(
            row["curve"], row, curves["fixed"]["accuracy"][-1]
        )
        row["rank_correlation"] = rank_correlation(at_costs[cost], cases)
        row["matched_compute"] = matched_compute(at_costs[cost], cases)
        row["gain_over_baseline"] = gain_over(
            at_costs[cost], headline[baseline], fixed[cost], oracle[cost], cost, quantities
        )
        row["p_value"] = p_value[policy]
        row["wall_clock"] = pooled_wall_clock(at_costs[cost], cases)
        rows.append(row)
    clock.append(time.perf_counter())
    report = {
        "policies": rows,
        "best_fixed": {f"{c:g}": [trial.spec for trial in fixed[c]] for c in costs},
        "adaptive_gain_undefined": {
            f"{c:g}": why
            for c in costs
            if (why := why_undefined(*(quantities.utility(x[c], c)[0] for x in (fixed, oracle))))
        },
        "calibration": _calibration(cases),
        "difficulty": difficulty(cases, headline),
        "curves": curves,
        "banks": [_bank(case) for case in cases],
        "settings": {
            **dataclasses.asdict(settings),
            "policies": policies,
            "baseline": baseline,
            "costs": costs,
            "max_segments": limit,
            "shared_puzzles": shared,
        },
        "seconds": dict(zip(("choosing", "bootstrap", "summary"), np.diff(clock), strict=True)),
    }
    return _plain(report)


def _calibration(cases: Sequence[Case]) -> dict[str, Any]:
    """Of the halt logit, over the test puzzles of all runs."""
    q_halt = np.concatenate([case.test.column("q_halt") for case in cases])
    found = halt_calibration(q_halt, np.concatenate([case.test.correct for case in cases]))
    pooled = dataclasses.asdict(found)
    return {**{name: pooled["pooled"][name] for name in ("ece", "brier", "auroc")}, **pooled}


def _bank(case: Case) -> dict[str, Any]:
    header = case.test.header
    return {
        "name": case.name,
        "model_hash": header.model_hash,
        "puzzles_hash": case.puzzles_hash,
        "test_puzzles": case.test.num_puzzles,
        "validation_puzzles": case.validation.num_puzzles if case.validation else 0,
        "max_segments": case.limit,
        "preset": header.preset,
        "step": header.step,
        "halt_max_steps": header.halt_max_steps,
        "trained_rule": header.trained_rule,
        "device": header.device,
        "dtype": header.dtype,
        "seconds_per_segment": dict(header.seconds_per_segment),
    }


def _plain(value: Any) -> Any:
    """The same in Python's own types; a number that is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
