"""A comparison's report as a table: cells for the terminal, and Markdown ready to paste."""

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

Report = Mapping[str, Any]


def table_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows. Half widths and ranges are 95 % intervals; see `legend`."""
    settings = report["settings"]
    cost = f"{settings['cost']:g}"
    timed = any(policy["wall_clock"]["refilled"] for policy in report["policies"])
    rated = report["difficulty"] is not None
    several = len(report["policies"]) > 1
    header = ["policy", "solved %", "segments", f"gain at {cost}"]
    header += ["p"] if several else []
    header += ["-1 pt", "early %", "late %", "wasted"]
    header += ["rho"] if rated else []
    header += ["/ s"] if timed else []
    rows = []
    for policy in report["policies"]:
        interval = policy["ci95"]
        row = [
            label(policy["policy"]),
            _spread(policy["exact_accuracy"], interval["exact_accuracy"], 100, 1),
            _spread(policy["mean_segments"], interval["mean_segments"], 1, 2),
            _range(policy["adaptive_gain"][cost], interval["adaptive_gain"][cost]),
        ]
        row += [_p_value(policy, settings["baseline"])] if several else []
        row += [
            _number(policy["iso_accuracy_segments"]["1"], 2),
            _number(100 * policy["premature"], 1),
            _number(100 * policy["overthinking"], 1),
            _number(policy["wasted_segments"], 2),
        ]
        row += [_number(policy["rank_correlation"], 2)] if rated else []
        row += [_number(policy["wall_clock"]["refilled"], 0)] if timed else []
        rows.append(row)
    return header, rows


def fitting(header: list[str], rows: list[list[str]], width: int) -> int:
    """How many columns, from the left, fit a window: each is as wide as its longest cell and a gap of two.

    At least one; the last columns are the ones to miss least.
    """
    sizes = [max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)]
    return max(1, sum(total <= width for total in accumulate(sizes)))


def label(policy: str) -> str:
    """A policy's name with its files named by the last part of their paths."""
    return re.sub(r"[^(),:\s]*/", "", policy)


def title(report: Report) -> str:
    banks, settings = report["banks"], report["settings"]
    puzzles = sum(bank["test_puzzles"] for bank in banks)
    runs = "" if len(banks) == 1 else f" of {len(banks)} runs"
    return f"{puzzles:,} test puzzles{runs}, at most {settings['max_segments']} segments"


def legend(report: Report) -> list[str]:
    """What the columns mean, one sentence a line."""
    settings, banks = report["settings"], report["banks"]
    chosen = sum(bank["validation_puzzles"] for bank in banks)
    lines = [
        f"Chosen on {chosen:,} validation puzzles at a cost of {settings['cost']:g} a segment. ± and "
        "[ ]: 95 % bootstrap intervals."
        if chosen
        else "No validation puzzles: nothing was chosen, and the best constant is the test puzzles' own.",
        "gain: 0 = the best constant number of segments, 1 = hindsight. "
        f"p: return against {settings['baseline']}'s, Holm-adjusted.",
        "-1 pt: segments on the rule's curve that lose at most one point on running all "
        f"{settings['max_segments']}.",
        "early: wrong, and right later; late: wrong, and right before. wasted: segments after the first "
        "right draft.",
    ]
    if report["difficulty"]:
        lines.append(
            f"rho: rank correlation of segments with {report['difficulty']['by']}, within source."
        )
    batches = {policy["wall_clock"]["batch"] for policy in report["policies"]}
    if any(policy["wall_clock"]["refilled"] for policy in report["policies"]):
        (batch,) = batches
        devices = ", ".join(sorted({f"{bank['device']} {bank['dtype']}" for bank in banks}))
        lines.append(
            f"/ s: puzzles a second in a batch of {batch} whose free rows are refilled ({devices})."
        )
    undefined = report["adaptive_gain_undefined"]
    if undefined and not any(report["curves"]["fixed"]["accuracy"]):
        # The same at every price: one line, and not one a price.
        return [*lines, "No test puzzle is solved, at any segment: there is no gain to give."]
    return lines + [f"Gain at {cost}: {why}" for cost, why in undefined.items()]


def resolved(report: Report) -> list[tuple[str, str]]:
    """What each policy with something to choose became, at the headline's cost."""
    return [
        (policy["policy"], "; ".join(dict.fromkeys(policy["spec"])))
        for policy in report["policies"]
        if policy["chosen"]
    ]


def markdown(report: Report) -> str:
    """The table, its legend, what was chosen, and gains at every cost."""
    header, rows = table_cells(report)
    parts = [f"**{title(report)}**", "", *_table(header, rows), ""]
    parts += [f"- {line}" for line in legend(report)]
    costs = [f"{cost:g}" for cost in report["settings"]["costs"]]
    gains = [
        [label(policy["policy"]), *(_number(policy["adaptive_gain"][cost], 2) for cost in costs)]
        for policy in report["policies"]
    ]
    parts += ["", "Adaptive gain by cost of a segment", ""]
    parts += _table(["policy", *costs], gains)
    timed = [policy for policy in report["policies"] if policy["wall_clock"]["batch"]]
    if timed:
        batch = timed[0]["wall_clock"]["batch"]
        kinds = ("batch_1", "static", "refilled")
        rates = [
            [label(policy["policy"]), *(_number(policy["wall_clock"][kind], 0) for kind in kinds)]
            for policy in timed
        ]
        parts += ["", "Puzzles a second", ""]
        parts += _table(
            ["policy", "batch of 1", f"static batch of {batch}", f"refilled {batch}"], rates
        )
    if resolved(report):
        parts += ["", "Rules as chosen, for `hrm-rl eval RUN --halting SPEC`", ""]
        parts += _table(
            ["policy", "spec"], [[name, f"`{spec}`"] for name, spec in resolved(report)], 2
        )
    return "\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    rule = ["---" if number < left else "---:" for number in range(len(header))]
    return ["| " + " | ".join(line) + " |" for line in (header, rule, *rows)]


def _p_value(policy: Mapping[str, Any], baseline: str) -> str:
    if policy["policy"] == baseline:
        return "base"
    value = policy["p_value"]
    if value is None:
        return "-"
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _spread(value: float, interval: list[float], scale: float, digits: int) -> str:
    low, high = interval
    return f"{scale * value:.{digits}f} ±{scale * (high - low) / 2:.{digits}f}"


def _range(value: float | None, interval: list[float | None]) -> str:
    low, high = interval
    if value is None or low is None or high is None:
        return _number(value, 2)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
