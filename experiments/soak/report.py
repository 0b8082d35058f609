"""The figures of a soak, from its log."""

from collections import Counter
from typing import Any

import numpy as np

WARM_UP = 60.0  # seconds of a life in which its memory still grows
Line = dict[str, Any]


def summarise(lines: list[Line]) -> dict[str, Any]:
    """Lives, what they left, memory within a life and over lives, and the comparison of the two runs."""
    lives = [line for line in lines if line["event"] == "life" and line["run"] == "disturbed"]
    compared = next((line for line in lines if line["event"] == "compare"), {})
    resumed = {line["life"] for line in lives if line["from_step"] > 0}
    busy = [line for line in lines if line["event"] == "neighbour" and line["busy"]]
    return {
        "minutes": round(lines[-1]["seconds"] / 60, 1),
        "lives": len(lives),
        "kills": dict(Counter(f"{line['signal']} {line['moment']}" for line in lives)),
        "ended_by_themselves": [line["life"] for line in lives if line["signal"] is None],
        "exit_codes": _codes(lives),
        "slowest_end_seconds": max((line["seconds_to_end"] for line in lives), default=None),
        "partial_files_after_a_kill": sum(line.get("partial", 0) for line in lives),
        "orphans": sum(line["orphans"] for line in lives),
        "temporary_files": max((line["temporary"] for line in lives), default=0),
        "neighbour_started": len(busy),
        "memory_within_a_life": _within(_memory(lines, "undisturbed")),
        "memory_over_lives": _over([s for s in _memory(lines, "disturbed") if s["life"] in resumed]),
        "compared": {name: compared[name] for name in compared if name not in ("seconds", "event")},
    }


def _codes(lives: list[Line]) -> dict[str, list[int]]:
    """The exit codes by signal."""
    names = sorted({str(line["signal"]) for line in lives})
    return {name: sorted({line["code"] for line in lives if str(line["signal"]) == name}) for name in names}


def _memory(lines: list[Line], run: str) -> list[Line]:
    memory = [line for line in lines if line["event"] == "memory" and line["run"] == run]
    return [line for line in memory if line["age"] >= WARM_UP]


def _within(samples: list[Line]) -> dict[str, Any] | None:
    """Memory of one long life: the median of its first fifth against that of its last."""
    if len(samples) < 10:
        return None
    fifth, half = len(samples) // 5, len(samples) // 2
    return {
        "minutes": round((samples[-1]["age"] - samples[0]["age"]) / 60, 1),
        **_growth(samples[:fifth], samples[-fifth:]),
        "mib_per_hour": _slope(samples),
        "mib_per_hour_in_second_half": _slope(samples[half:]),
    }


def _slope(samples: list[Line]) -> float:
    """The growth of a straight line through the samples."""
    hours, rss = (
        [line[name] / unit for line in samples] for name, unit in (("age", 3600), ("rss_kib", 1024))
    )
    return round(float(np.polyfit(hours, rss, 1)[0]), 2)


def _over(samples: list[Line]) -> dict[str, Any] | None:
    """Memory of lives that outlast the warm-up: the first half of them against the second.

    Lives before the first checkpoint compile and generate puzzles, so they are left out.
    """
    lives = sorted({line["life"] for line in samples})
    if len(lives) < 4:
        return None
    half = lives[len(lives) // 2]
    early = [line for line in samples if line["life"] < half]
    late = [line for line in samples if line["life"] >= half]
    return {"lives": len(lives)} | _growth(early, late)


def _growth(early: list[Line], late: list[Line]) -> dict[str, Any]:
    before, after = (float(np.median([line["rss_kib"] for line in part])) for part in (early, late))
    return {
        "rss_mib": round(before / 1024, 1),
        "growth_percent": round(100 * (after / before - 1), 3),
        "descriptors": sorted({line["descriptors"] for line in early + late}),
        "threads": sorted({line["threads"] for line in early + late}),
    }
