"""Draws docs/assets/families.png: a puzzle of every family, with a draft that has most cells right.

python docs/families.py
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hrm_rl.puzzles import IGNORE_LABEL, picture

SHEET = Path(__file__).parent / "assets" / "families.png"
# Title, module, what generates, what draws beside the dials, and what else generates.
FAMILIES: list[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("Sudoku", "sudoku", {"size": 9}, {"cell": 30}, {"extra_givens": 6}),
    ("Maze", "maze", {"size": 15}, {}, {}),
    ("Life, 4 steps", "life", {"size": 10, "steps": 4}, {}, {}),
    ("Lights Out", "lights_out", {"size": 7}, {}, {}),
    ("Pointer chase", "pointer_chase", {"nodes": 12, "hops": 6, "trajectory": True}, {}, {}),
    ("Unique 3-SAT", "unique_sat", {"variables": 10}, {}, {}),
    ("Prefix parity", "prefix_parity", {"length": 48}, {"cell": 24}, {}),
]
_PANEL = 330  # pixels a picture at most, either way
_GAP = 28
_TITLE = 22
_COLUMNS = 4


def panel(
    title: str, name: str, dials: dict[str, Any], look: dict[str, Any], more: Any
) -> Image.Image:
    """One puzzle with a draft that has most cells right and some wrong, under its title."""
    family = import_module(f"hrm_rl.puzzles.{name}")
    puzzle = family.generate(1, seed=4, **dials, **more)
    inputs, labels = puzzle.inputs[0], puzzle.labels[0]
    draft = np.where(labels == IGNORE_LABEL, inputs, labels)
    asked = np.flatnonzero((labels != IGNORE_LABEL) & (labels != inputs))
    tokens = np.unique(labels[asked])
    rng = np.random.default_rng(1)
    for cell in rng.choice(asked, max(1, len(asked) // 9), replace=False):
        draft[cell] = (
            rng.choice(tokens[tokens != labels[cell]]) if len(tokens) > 1 else inputs[cell]
        )
    if (
        name == "maze"
    ):  # any cell off the path is as wrong as another: leave the path whole but for a gap
        draft = labels.copy()
        draft[asked[len(asked) // 2]] = inputs[asked[len(asked) // 2]]
    drawn = Image.fromarray(family.picture(inputs, draft=draft, labels=labels, **look, **dials))
    drawn.thumbnail((_PANEL, _PANEL), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (_PANEL, _PANEL + 2 * _TITLE), picture.PAPER)
    line = picture.text_mask(title, _TITLE)
    whole.paste(picture.GIVEN, ((_PANEL - line.width) // 2, 0), line)
    whole.paste(drawn, ((_PANEL - drawn.width) // 2, _TITLE + _GAP // 2))
    return whole


def main() -> None:
    panels = [panel(*family) for family in FAMILIES]
    rows = -(-len(panels) // _COLUMNS)
    width, height = (side + _GAP for side in panels[0].size)
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP, rows * height + _GAP), picture.PAPER)
    for number, drawn in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        # A last row that is not full stands in the middle.
        missing = _COLUMNS - min(_COLUMNS, len(panels) - row * _COLUMNS)
        x = _GAP + column * width + missing * width // 2
        sheet.paste(drawn, (x, _GAP + row * height))
    sheet.quantize(128).save(SHEET, optimize=True)
    print(f"{SHEET}: {sheet.width} x {sheet.height}")


if __name__ == "__main__":
    main()
