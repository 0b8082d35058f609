"""A comparison's report as a table: cells for the terminal, and Markdown ready to paste."""

import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from hrm_rl.stopwatch import crowded

Report = Mapping[str, Any]


def table_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows. Half widths and ranges are 95 % intervals; see `legend`."""
    cost = f"{report['settings']['cost']:g}"
    policies, baseline = report["policies"], report["settings"]["baseline"]

    def spread(row: Report, name: str, scale: float, digits: int) -> str:
        low, high = row["ci95"][name]
        return f"{scale * row[name]:.{digits}f} ±{scale * (high - low) / 2:.{digits}f}"

    columns: dict[str, Callable[[Report], str]] = {
        "policy": lambda row: label(row["policy"]),
        "solved %": lambda row: spread(row, "exact_accuracy", 100, 1),
        "held out %": lambda row: _number(_percent(row.get("held_out_accuracy")), 1),
        "segments": lambda row: spread(row, "mean_segments", 1, 2),
        "answered %": lambda row: _selective(row, "coverage"),
        "risk %": lambda row: _selective(row, "risk"),
        "GFLOP": lambda row: f"{row['gflop']:.3g}",
        f"gain at {cost}": lambda row: _range(row["adaptive_gain"][cost], row["ci95"]["adaptive_gain"][cost]),
        "p": lambda row: _p_value(row, baseline),
        "-1 pt": lambda row: _number(row["iso_accuracy_segments"]["1"], 2),
        "early %": lambda row: _number(100 * row["premature"], 1),
        "late %": lambda row: _number(100 * row["overthinking"], 1),
        "wasted": lambda row: _number(row["wasted_segments"], 2),
        "rho": lambda row: _number(row["rank_correlation"], 2),
        "/ s": lambda row: _number(row["wall_clock"]["refilled"], 0),
        "ms alone": lambda row: _milliseconds(row, "batch_1"),
        "ms refilled": lambda row: _milliseconds(row, "refilled"),
    }
    declines = any("selective" in row for row in policies)
    measured = any("measured" in row for row in policies)
    shown = {
        "GFLOP": all("gflop" in row for row in policies),
        "answered %": declines,
        "risk %": declines,
        "ms alone": measured,
        "ms refilled": measured,
        "held out %": any("held_out_accuracy" in row for row in policies),
        "p": len(policies) > 1,
        "rho": report["difficulty"] is not None,
        "/ s": any(row["wall_clock"]["refilled"] for row in policies),
    }
    header = [name for name in columns if shown.get(name, True)]
    return header, [[columns[name](row) for name in header] for row in policies]


def text(report: Report, width: int | None = None) -> str:
    """The table with its title, in aligned columns; without the last columns if they do not fit a width."""
    header, rows = table_cells(report)
    fit = len(header) if width is None else fitting(header, rows, width)
    lines = [line[:fit] for line in (header, *rows)]
    first, *others = aligned(lines)
    parts = [title(report), "", first, "-" * len(first), *others]
    if header[fit:]:
        missing = ", ".join(header[fit:])
        parts += ["", f"This window is too narrow for: {missing}. They are in compare.md."]
    return "\n".join(parts)


def aligned(lines: list[list[str]], left: int = 1) -> list[str]:
    """The lines with cells as wide as their column; the first columns to the left, the others right."""
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(f"{cell:{'<' if k < left else '>'}{sizes[k]}}" for k, cell in enumerate(line)).rstrip()
        for line in lines
    ]


def fitting(header: list[str], rows: list[list[str]], width: int) -> int:
    """The number of columns, from the left, that fit a window; at least one.

    A column is as wide as its longest cell and a gap of two. The last columns matter least.
    """
    sizes = [max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)]
    return max(1, sum(total <= width for total in accumulate(sizes)))


def label(policy: str) -> str:
    """A policy's name with its files named by the last part of their paths."""
    return re.sub(r"[^(),:\s]*/", "", policy)


def title(report: Report) -> str:
    return f"{counted(report)}, at most {report['settings']['max_segments']} segments"


def counted(report: Report) -> str:
    """The number of test puzzles, in words."""
    counts = [bank["test_puzzles"] for bank in report["banks"]]
    runs = "" if len(counts) == 1 else f" of {len(counts)} runs"
    return f"{sum(counts):,} test puzzles{runs}"


def legend(report: Report) -> list[str]:
    """An explanation of the columns, one sentence a line."""
    settings, banks = report["settings"], report["banks"]
    chosen = sum(bank["validation_puzzles"] for bank in banks)
    lines = [
        f"Chosen on {chosen:,} validation puzzles at a cost of {settings['cost']:g} a segment. ± and "
        "[ ]: 95 % bootstrap intervals."
        if chosen
        else "No validation puzzles: nothing was chosen, and the best constant is that of the test puzzles.",
        "gain: 0 = the best constant number of segments, 1 = hindsight. "
        f"p: return against {settings['baseline']}'s, Holm-adjusted.",
        "-1 pt: segments on the rule's curve that lose at most one point on running all "
        f"{settings['max_segments']}.",
        "early: wrong, but a later draft is correct; late: wrong, but an earlier draft was correct. wasted: "
        "segments after the first correct draft.",
    ]
    if widths := sorted({bank["width"] for bank in banks if "width" in bank}):
        each = " or ".join(f"{width}" for width in widths)
        lines.append(f"select: segments are those of all trajectories, of which the bank has {each}.")
    if learned := sum(bank.get("learned_test_puzzles", 0) for bank in banks):
        which = f"{learned:,} of the {counted(report)} were learned from"
        lines.insert(0, f"{which}; held out %: solved of the others.")
    if report["difficulty"]:
        lines.append(f"rho: rank correlation of segments with {report['difficulty']['by']}, within source.")
    if any(policy["wall_clock"]["refilled"] for policy in report["policies"]):
        (batch,) = {policy["wall_clock"]["batch"] for policy in report["policies"]}
        devices = ", ".join(sorted({f"{bank['device']} {bank['dtype']}" for bank in banks}))
        lines.append(f"/ s: puzzles a second in a batch of {batch} with slot refill ({devices}).")
        lines += filter(None, [crowded(min(bank.get("cpu_share", 1.0) for bank in banks))])
    if all("gflop" in policy for policy in report["policies"]):
        lines.append("GFLOP: of a puzzle, counted from the model, the logits of every segment included.")
    if any("selective" in policy for policy in report["policies"]):
        lines.append("answered: the puzzles that the rule answers; risk: the answers that are wrong.")
    if any("measured" in policy for policy in report["policies"]):
        lines.append("ms: measured milliseconds a puzzle, alone, and in a batch of 256 with slot refill.")
    undefined = report["adaptive_gain_undefined"]
    if undefined and not any(report["curves"]["fixed"]["accuracy"]):
        # The same at every price: one line for all.
        return [*lines, "No test puzzle is solved, at any segment: the gain is undefined."]
    return lines + [f"Gain at {cost}: {why}" for cost, why in undefined.items()]


def chosen_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the rules that open policies became at the headline's cost, a column a run."""
    runs = [bank["name"] for bank in report["banks"]]
    rows = [[row["policy"], *row["spec"]] for row in report["policies"] if row["chosen"]]
    return ["policy", *(runs if len(runs) > 1 else ["spec"])], rows


def markdown(report: Report) -> str:
    """The table, its legend, gains at every cost, puzzles a second, and the rules as chosen."""
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
        parts += _table(["policy", "batch of 1", f"static batch of {batch}", f"refilled {batch}"], rates)
    header, rows = chosen_cells(report)
    if rows:
        parts += ["", "Rules as chosen, for `hrm-rl eval RUN --halting SPEC`", ""]
        specs = [[name, *(f"`{spec}`" for spec in specs)] for name, *specs in rows]
        parts += _table(header, specs, len(header))
    return "\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    rule = ["---" if number < left else "---:" for number in range(len(header))]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (header, rule, *rows))
    return ["| " + " | ".join(line) + " |" for line in escaped]


def _p_value(policy: Mapping[str, Any], baseline: str) -> str:
    if policy["policy"] == baseline:
        return "base"
    value = policy["p_value"]
    if value is None:
        return "-"
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _selective(row: Report, name: str) -> str:
    return _number(_percent(row["selective"][name]), 1) if "selective" in row else "-"


def _milliseconds(row: Report, name: str) -> str:
    return f"{1000 * row['measured'][name]:.3g}" if "measured" in row else "-"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _range(value: float | None, interval: list[float | None]) -> str:
    low, high = interval
    if value is None or low is None or high is None:
        return _number(value, 2)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
