"""The dials at which the tests of all families run: `SMALL`, one quick case a family, and `ALL` cases."""

from typing import Any

from hrm_rl.puzzles import FAMILIES, make_family
from hrm_rl.puzzles.family import Family

CASES: dict[str, list[dict[str, Any]]] = {
    "sudoku": [{"size": 4, "extra_givens": (0, 3)}, {"size": 6, "extra_givens": (1, 3)}, {"size": 9}],
    "maze": [{"size": 7, "min_path": 6}, {"size": 8, "perfect": True, "braid": 0.5}],
    "prefix-parity": [{"length": 10, "min_length": 5}, {"length": 10}, {"length": 70, "min_length": 40}],
    "pointer-chase": [
        {"nodes": 7, "hops": 4, "min_hops": 2, "trajectory": True},
        {"nodes": 7, "hops": 4},
        {"nodes": 20, "hops": 12, "min_hops": 3},
    ],
    "life": [{"size": 6, "steps": 2}, {"size": 9, "steps": 7}],
    "lights-out": [{"size": 3}, {"size": 7, "presses": 9}],
    "unique-sat": [{"variables": 5, "extra_clauses": 3}, {"variables": 10, "extra_clauses": 7}],
}
"""The first case of a family is the quickest, the others turn each dial. A family without an entry is tested
at its defaults."""

SMALL = {name: CASES.get(name, [{}])[0] for name in FAMILIES}
ALL: list[Family] = [make_family(name, dials) for name in FAMILIES for dials in CASES.get(name, [{}])]
