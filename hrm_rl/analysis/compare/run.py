"""Comparing policies on recorded runs.

Thresholds are chosen on validation puzzles, and test puzzles judge. All rules stop on the same puzzles, so
differences are paired; several runs (training seeds) are pooled, each run weighing the same, and the
bootstrap draws runs first and puzzles within them. `hrm_rl.compare` also takes runs, and records them.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from hrm_rl.analysis.compare.cases import Case, check_poolable, on_same_puzzles
from hrm_rl.analysis.compare.curves import difficulty, reference_curves
from hrm_rl.analysis.compare.quantities import AllTrials
from hrm_rl.analysis.compare.records import BankRecord, Comparison
from hrm_rl.analysis.compare.rows import policy_rows
from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.compare.trials import Trials
from hrm_rl.analysis.statistics.calibration import halt_calibration
from hrm_rl.halting.bank.replay import trained_rule
from hrm_rl.halting.rules import HaltingRule

_log = logging.getLogger(__name__)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A comparison is thousands of small operations; on a busy machine, threads that wait for one another
    cost many times what they save on an idle one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def compare(
    cases: Sequence[Case],
    settings: Settings,
    rules_folder: Path | None = None,
    rules: Mapping[str, HaltingRule] | None = None,
) -> Comparison:
    """Compare policies on recorded runs.

    Args:
        cases: the runs.
        settings: the policies and prices.
        rules_folder: keeps rules that are fitted here; without it they are not saved, and their specs name
            no file.
        rules: the rules of policies that are not specs, by their names in the settings.

    Raises:
        ValueError: a rule is unknown, needs validation puzzles or a feature that a bank lacks, or was
            fitted on puzzles that it would be judged on; cases that cannot be pooled.
    """
    clock = [time.perf_counter()]
    check_poolable(cases)
    limit = cases[0].limit
    learned = {trained_rule(case.test) for case in cases}
    settings = settings.resolved(limit, learned.pop() if len(learned) == 1 else "q")
    _warn_of_untrained_q(cases, settings.policies)
    runs = [Trials(case, settings, rules_folder, rules or {}) for case in cases]
    trials = AllTrials(runs, settings)
    clock.append(time.perf_counter())
    shared = on_same_puzzles(cases)
    trials.bootstrap(shared)
    clock.append(time.perf_counter())
    curves = reference_curves(cases)
    rows = policy_rows(trials, curves["fixed"].accuracy)
    clock.append(time.perf_counter())
    q_halt = np.concatenate([case.test.column("q_halt") for case in cases])
    correct = np.concatenate([case.test.correct for case in cases])
    return Comparison(
        policies=rows,
        best_fixed={f"{c:g}": [trial.spec for trial in trials.fixed[c]] for c in settings.costs},
        adaptive_gain_undefined=trials.undefined_gains(),
        calibration=halt_calibration(q_halt, correct),
        difficulty=difficulty(cases, trials.headline),
        curves=curves,
        banks=[_bank(case) for case in cases],
        settings=settings,
        max_segments=limit,
        shared_puzzles=shared,
        seconds=dict(zip(("choosing", "bootstrap", "summary"), np.diff(clock), strict=True)),
    )


def _warn_of_untrained_q(cases: Sequence[Case], policies: Sequence[str]) -> None:
    """Warn where `q` judges a run that learned to stop in another way, and so has no trained Q_continue."""
    for case in cases:
        rule = case.test.header.trained_rule
        if rule != "q" and "q" in policies:
            _log.warning(
                "%s was trained to stop by %s, so its Q_continue is untrained and q is not its rule.",
                *(case.name, rule),
            )


def _bank(case: Case) -> BankRecord:
    header = case.test.header
    return BankRecord(
        name=case.name,
        model_hash=header.model_hash,
        puzzles_hash=case.puzzles_hash,
        test_puzzles=case.test.num_puzzles,
        learned_test_puzzles=None if case.test.learned is None else int(case.test.learned.sum()),
        validation_puzzles=case.validation.num_puzzles if case.validation else 0,
        max_segments=case.limit,
        preset=header.preset,
        step=header.step,
        halt_max_steps=header.halt_max_steps,
        trained_rule=header.trained_rule,
        device=header.device,
        dtype=header.dtype,
        seconds_per_segment=dict(header.seconds_per_segment),
        cpu_share=header.cpu_share,
        gflop_per_segment=dict(header.gflop_per_segment) or None,
        width=case.test.width if case.test.width > 1 else None,
        trajectories=header.trajectories or None,
    )
