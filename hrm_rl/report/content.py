"""What a page shows of one run or bank, as plain values."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_rl.analysis.compare import compare
from hrm_rl.analysis.compare.cases import make_case
from hrm_rl.analysis.compare.settings import DEFAULT_POLICIES, Settings
from hrm_rl.analysis.compare.table import chosen_cells, legend, table_cells, title
from hrm_rl.halting import TraceBank
from hrm_rl.messages import shortened
from hrm_rl.report.boards import drawable, kind_of_bank
from hrm_rl.report.replay import replays, rounded, sigmoid
from hrm_rl.report.settings import Recording
from hrm_rl.training.open_run import Trained, open_trained, record_run
from hrm_rl.training.pools import pools
from hrm_rl.training.run_folder import RunFolder

_POINTS = 1000  # of a training curve


@dataclass(frozen=True)
class Recorded:
    """A run that was recorded, or a bank."""

    name: str
    bank: TraceBank
    trained: Trained | None = None


def open_source(
    source: TraceBank | str | os.PathLike[str], name: str, how: Recording, progress: bool
) -> Recorded:
    """A bank, or a run recorded on validation and test puzzles with its drafts."""
    if isinstance(source, TraceBank):
        return Recorded(name, source if how.max_segments is None else source.truncate(how.max_segments))
    trained = open_trained(source, how.device, threads="auto")
    chosen = pools(trained, data=how.data, puzzles=how.puzzles, seed=how.seed)
    bank = record_run(trained, chosen, how.max_segments, drafts=True, progress=progress)
    return Recorded(name, bank, trained)


def content(found: Recorded, policies: Sequence[str] | None, replayed: int, seed: int) -> dict[str, Any]:
    """The sections of the page: facts, depth, replay, halting, training, settings."""
    bank = found.bank
    kind = found.trained.kind if found.trained else kind_of_bank(bank)
    return {
        "name": found.name,
        "kind": getattr(kind, "words", "puzzles"),
        "facts": _facts(found),
        "depth": depth(bank),
        "replay": replays(bank, drawable(kind), replayed),
        "halting": halting(found.name, bank, policies, seed),
        "training": training(found.trained),
        "settings": settings(found),
    }


def _facts(found: Recorded) -> list[list[str]]:
    header, bank = found.bank.header, found.bank
    counts = ", ".join(f"{number:,} {split}" for split, number in bank.counts().items())
    facts = {
        "puzzles": counts,
        "segments recorded": f"{bank.num_segments}",
        "trajectories": f"{bank.width} ({header.trajectories})" if bank.width > 1 else "",
        "limit in training": f"{header.halt_max_steps or 'unknown'}",
        "trained to stop by": header.trained_rule,
        "parameters": f"{found.trained.model.num_parameters():,}" if found.trained else "",
        "preset": header.preset or "",
        "step": f"{header.step:,}" if header.step else "",
        "computed in": f"{header.dtype} on {header.device}",
        "recorded": header.created.replace("T", " ").partition("+")[0],
        "model": header.model_hash[:12],
        "note": header.note,
    }
    return [[name, shortened(value, 200)] for name, value in facts.items() if value]


def depth(bank: TraceBank) -> dict[str, Any]:
    """Accuracy after each segment, of the test puzzles if there are any."""
    split = "test" if "test" in bank.counts() else next(iter(bank.counts()))
    part = bank.in_split(split)
    curves = {"exact": part.correct, "valid": part.valid, "cells": part.cell_accuracy}
    found: dict[str, Any] = {name: rounded(column.mean(0)) for name, column in curves.items()}
    if part.width > 1:
        found["any"] = rounded(part.stacked("valid").any(1).mean(0))
    if "q_halt" in part.features:
        found["q_halt"] = rounded(sigmoid(part.features["q_halt"]).mean(0))
    error = 1.96 * part.correct.std(0) / np.sqrt(len(part))
    found["half_width"] = rounded(error)
    return found | {"split": split, "count": len(part), "limit": bank.header.halt_max_steps}


def halting(name: str, bank: TraceBank, policies: Sequence[str] | None, seed: int) -> dict[str, Any]:
    """The comparison of stopping rules on a bank, its table and its legend."""
    counts = bank.counts()
    if "test" not in counts:
        return {"missing": f"Rules are judged on test puzzles, and this bank has {', '.join(counts)} only."}
    chosen_here = policies is None
    if policies is None:
        open_rules = ("auto", "calm") if "validation" not in counts else ()
        several = ("select(q, first)", "select(q-halt:auto, vote)") if bank.width > 1 else ()
        policies = [p for p in (*DEFAULT_POLICIES, *several) if not any(word in p for word in open_rules)]
    try:
        report = compare([make_case(name, bank)], Settings(tuple(policies), seed=seed)).to_dict()
    except ValueError as error:
        if not chosen_here:
            raise
        return {"missing": f"Rules cannot be compared: {error}"}  # the bank lacks a column, perhaps
    header, rows = table_cells(report)
    chosen = chosen_cells(report)
    return {
        "title": title(report),
        "table": [header, *rows],
        "legend": legend(report),
        "chosen": [chosen[0], *chosen[1]] if chosen[1] else [],
        "report": _short(report),
    }


def _short(value: Any) -> Any:
    """The value with floats of six digits; None for one that is not finite."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if np.isfinite(value) else None


def training(trained: Trained | None) -> dict[str, Any]:
    """The curves of a run's log: steps and values by tag."""
    lines = RunFolder.named(trained.path).metrics() if trained else []
    curves: dict[str, Any] = {}
    for line in lines:
        for tag, value in line.items():
            if isinstance(value, int | float) and tag != "step" and np.isfinite(value):
                steps, values = curves.setdefault(tag, ([], []))
                steps.append(line["step"])
                values.append(float(f"{value:.6g}"))
    if not curves:
        what = "a bank has no training log" if trained is None else "this model came without its training log"
        return {"missing": f"No training curves: {what}. Name the run's folder to see them."}
    return {
        tag: {"steps": steps[:: _every(steps)], "values": values[:: _every(values)]}
        for tag, (steps, values) in curves.items()
    }


def _every(values: Sequence[Any]) -> int:
    return -(-len(values) // _POINTS)


def settings(found: Recorded) -> dict[str, Any]:
    """The run's settings, or its model's if there are no others, the bank's header, and versions."""
    header = dataclasses.asdict(found.bank.header)
    trained, versions = found.trained, header.pop("versions")
    run = (trained.preset or trained.model.config).to_dict() if trained else None
    return _short({"run": run, "recording": header, "versions": versions})
