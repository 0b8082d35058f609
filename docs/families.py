"""Draws docs/assets/environments/NAME.png for every environment with a picture, and docs/assets/families.png.

python docs/families.py [NAME ...]

A puzzle is drawn with a draft that has most cells right. families.png shows the families on one sheet. With
names of families, only their own pictures are drawn.
"""

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw

import hrm_rl  # noqa: F401  (registers the environments)
from hrm_rl.puzzles import FAMILIES, IGNORE_LABEL, arc, find_family, make_family
from hrm_rl.puzzles.base import picture

ASSETS = Path(__file__).parent / "assets"
# Title on the sheet, dials, and width of a cell where it is not the family's own. A family without an entry
# is drawn at its defaults.
LOOKS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "sudoku": ("Sudoku", {"size": 9, "extra_givens": 6}, 30),
    "maze": ("Maze", {"size": 15}, None),
    "life": ("Life, 4 steps", {"size": 10, "steps": 4}, None),
    "lights-out": ("Lights Out", {"size": 7}, None),
    "pointer-chase": ("Pointer chase", {"nodes": 12, "hops": 6, "trajectory": True}, None),
    "unique-sat": ("Unique 3-SAT", {"variables": 10}, None),
    "prefix-parity": ("Prefix parity", {"length": 48}, 24),
}
_PANEL = 330  # pixels a picture at most, either way
_GAP = 28
_TITLE = 22
_COLUMNS = 4


def look(name: str) -> tuple[str, dict[str, Any], int | None]:
    """The entry of a family in `LOOKS`, or one by its docstring and defaults."""
    return LOOKS.get(name) or ((find_family(name).__doc__ or "").partition(":")[0], {}, None)


def drawn(name: str) -> Image.Image:
    """One puzzle with a draft that has most cells right and some wrong."""
    _, dials, cell = look(name)
    family = make_family(name, dials)
    puzzle = family.generate(1, seed=4)
    inputs, labels = puzzle.inputs[0], puzzle.labels[0]
    draft = np.where(labels == IGNORE_LABEL, inputs, labels)
    asked = np.flatnonzero((labels != IGNORE_LABEL) & (labels != inputs))
    tokens = np.unique(labels[asked])
    rng = np.random.default_rng(1)
    for wrong in rng.choice(asked, max(1, len(asked) // 9), replace=False):
        others = tokens[tokens != labels[wrong]]
        draft[wrong] = rng.choice(others) if len(others) else inputs[wrong]
    if name == "maze":  # the whole path but for a gap
        draft = labels.copy()
        draft[asked[len(asked) // 2]] = inputs[asked[len(asked) // 2]]
    return Image.fromarray(family.picture(inputs, draft=draft, labels=labels, cell=cell))


def drawn_arc() -> Image.Image:
    """A pair of an ARC task: the board of the input and that of a draft with three mistakes."""
    table = arc.ArcTable(arc.augment(arc.load("arc-agi-1"), 0), "training")
    pair = table.take(slice(36, 37))
    inputs, labels = pair.inputs[0], pair.labels[0]
    draft = np.where(labels == IGNORE_LABEL, arc.PAD, labels)
    colored = np.flatnonzero(labels >= arc.FIRST_COLOR)
    draft[colored[[90, 216, 342]]] = arc.FIRST_COLOR + 2
    return Image.fromarray(arc.picture(inputs, draft=draft, labels=labels))


def drawn_cue_recall() -> Image.Image:
    """An episode of cue recall with distractors, up to its query."""
    env = gym.make("HRM/CueRecall-v0", distractors=3, render_mode="rgb_array")
    env.reset(seed=1)
    for _ in range(6):
        env.step(0)
    frame = Image.fromarray(np.asarray(env.render()))
    return frame.resize((2 * frame.width, 2 * frame.height), Image.Resampling.NEAREST)


def drawn_halting() -> Image.Image:
    """The segments of docs/rendering.md: after each the agent decides."""
    return Image.open(ASSETS / "sudoku_segments.png").convert("RGB")


def drawn_one_way_maze() -> Image.Image:
    """A fork with its two doors, the rooms of both passages, and the exit."""
    depth, step, radius = 3, 90, 20
    image = Image.new("RGB", ((depth + 1) * step + 60, 210), picture.PAPER)
    pen = ImageDraw.Draw(image)
    fork = (50, 105)
    for y in (50, 160):
        places = [fork, *((fork[0] + step * (room + 1), y) for room in range(depth))]
        pen.line(places, fill=picture.GIVEN, width=2)
        for x, height in places[1:]:
            is_exit = (x, height) == (fork[0] + step * depth, 50)
            box = (x - radius, height - radius, x + radius, height + radius)
            fill = picture.DRAFT if is_exit else picture.PAPER
            pen.ellipse(box, fill=fill, outline=picture.GIVEN, width=2)
    pen.rectangle((30, 85, 70, 125), fill=picture.GIVEN)
    return image


def panel(title: str, board: Image.Image) -> Image.Image:
    """A picture under its title, on a square."""
    line = picture.text_mask(title, _TITLE)
    whole = Image.new("RGB", (_PANEL, _PANEL + 2 * _TITLE), picture.PAPER)
    whole.paste(picture.GIVEN, ((_PANEL - line.width) // 2, 0), line)
    whole.paste(board, ((_PANEL - board.width) // 2, _TITLE + _GAP // 2))
    return whole


def sheet(panels: list[Image.Image]) -> Image.Image:
    """All panels, a last row that is not full in the middle."""
    rows = -(-len(panels) // _COLUMNS)
    width, height = (side + _GAP for side in panels[0].size)
    made = Image.new("RGB", (_COLUMNS * width + _GAP, rows * height + _GAP), picture.PAPER)
    for number, drawn in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        missing = _COLUMNS - min(_COLUMNS, len(panels) - row * _COLUMNS)
        made.paste(drawn, (_GAP + column * width + missing * width // 2, _GAP + row * height))
    return made


def main() -> None:
    chosen = sys.argv[1:]
    boards = {name: drawn(name) for name in chosen or {**LOOKS, **FAMILIES}}
    families = list(boards)
    if not chosen:
        boards |= {"arc": drawn_arc(), "halting": drawn_halting()}
        boards |= {"cue-recall": drawn_cue_recall(), "one-way-maze": drawn_one_way_maze()}
    (ASSETS / "environments").mkdir(exist_ok=True)
    for name, board in boards.items():
        board.thumbnail((_PANEL, _PANEL), Image.Resampling.LANCZOS)
        board.quantize(128).save(ASSETS / "environments" / f"{name}.png", optimize=True)
    if not chosen:
        panels = [panel(look(name)[0], boards[name]) for name in families]
        sheet(panels).quantize(128).save(ASSETS / "families.png", optimize=True)


if __name__ == "__main__":
    main()
