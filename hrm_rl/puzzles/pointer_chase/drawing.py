"""Pointer chases as text and as pictures."""

import cmath
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import RED, paint
from hrm_rl.puzzles.pointer_chase.layout import BLANK, FIRST_NODE, PAD

_NOTHING = pictures.Tile()
_COLUMNS = 16
_OVER = 4  # times larger are circles drawn, to be smooth
_LARGEST_CIRCLE = 900  # pixels; more nodes than fit are drawn smaller


def text(shown: pictures.Shown, nodes: int, color: bool) -> str:
    """The map as a table, the start, and the answers hop by hop, `.` for none; mistakes between stars."""
    cells, answer, wrong = shown[:3]
    width = len(str(nodes - 1)) + 1
    lines = []
    for first in range(0, nodes, 16):
        part = range(first, min(first + 16, nodes))
        lines.append("node   " + "".join(f"{node:>{width}} " for node in part))
        lines.append("points " + "".join(f"{_node(cells[1 + node]):>{width}} " for node in part))
    lines.append(f"start  {_node(cells[0]):>{width}}")
    hops = [cell for cell in range(1 + nodes, len(cells)) if cells[cell] != PAD]
    texts = [
        paint(f"*{_node(answer[cell])}*", RED, color)
        if wrong[cell] and answer[cell] >= FIRST_NODE
        else _node(answer[cell])
        for cell in hops
    ]
    lines.append("hops   " + " ".join(f"{text:>{width}}" for text in texts))
    return "\n".join(line.rstrip() for line in lines)


def board(shown: pictures.Shown, nodes: int, trajectory: bool, cell: int) -> Image.Image:
    """The nodes on a circle with their arrows, the start dark; below, the answers hop by hop.

    A draft's node is blue in the answers, or red if it is wrong; the last one is marked in the circle too.
    A cell that is not judged is grey.
    """
    cells, answer, wrong, answered, _ = shown
    first = 1 + nodes
    asked = int((cells[first:] == BLANK).sum())
    hops, columns = _answers(shown, nodes, trajectory)
    answers = pictures.tiles(hops, columns, cell, text=0.55)
    last = first + asked - 1
    marked = int(answer[last]) - FIRST_NODE if answered and asked else -1
    circle = _circle(cells[:first] - FIRST_NODE, marked, bool(wrong[last]), cell, answers.width)
    return pictures.on_top([circle, answers])


def panels(shown: pictures.Shown, nodes: int, trajectory: bool) -> list[pictures.Panel]:
    """The nodes, the start dark, with the node that each points to below it, and the answers hop by hop."""
    columns, start = min(nodes, _COLUMNS), int(shown.puzzle[0]) - FIRST_NODE
    look = (pictures.GIVEN, pictures.GIVEN_CELL)
    names = [pictures.Tile(str(k), *(look[::-1] if k == start else look)) for k in range(nodes)]
    targets = [pictures.Tile(_node(token), pictures.GIVEN) for token in shown.puzzle[1 : 1 + nodes]]
    rows = []
    for first in range(0, nodes, columns):
        for side in (names, targets):
            part = side[first : first + columns]
            rows += part + [_NOTHING] * (columns - len(part))
    hops, across = _answers(shown, nodes, trajectory)
    return [
        pictures.Panel(rows, columns, "nodes, and where they point", box=(2, columns)),
        pictures.Panel(hops, across, "answers hop by hop"),
    ]


def _answers(shown: pictures.Shown, nodes: int, trajectory: bool) -> tuple[list[pictures.Tile], int]:
    """A tile an answer, and how many stand in a row."""
    cells, answer, wrong, answered, _ = shown
    first = 1 + nodes
    asked = int((cells[first:] == BLANK).sum())
    hops = []
    for hop in range(len(cells) - first):
        judged = trajectory or hop == asked - 1
        node = _node(answer[first + hop], "") if answered else ""
        hops.append(_hop(node, judged, bool(wrong[first + hop])) if hop < asked else _NOTHING)
    columns = max(8, min(len(hops), _COLUMNS))
    return hops + [_NOTHING] * (-len(hops) % columns), columns


def _hop(node: str, judged: bool, wrong: bool) -> pictures.Tile:
    if wrong and node:
        return pictures.Tile(node, *pictures.MISTAKE_LOOK)
    ground = pictures.PAPER if judged else pictures.GIVEN_CELL
    return pictures.Tile(node, pictures.DRAFT, ground, pictures.DRAFT_WEIGHT)


def _circle(start_and_map: NDArray[np.int32], marked: int, wrong: bool, cell: int, least: int) -> Image.Image:
    """The map's nodes and arrows: a square of `least` pixels, or larger if the nodes need it."""
    nodes = len(start_and_map) - 1
    side = max(least, math.ceil(min(_LARGEST_CIRCLE, nodes * cell * 1.15 / math.pi + 2 * cell)))
    # Points are complex numbers, in the pixels of an image that is reduced to `side` in the end.
    radius, centre = _OVER * (side / 2 - cell), _OVER * side / 2 * (1 + 1j)
    dot = min(0.42 * cell * _OVER, 0.85 * math.pi * radius / nodes)
    angles = [2 * math.pi * node / nodes - math.pi / 2 for node in range(nodes)]
    places = [centre + cmath.rect(radius, angle) for angle in angles]
    image = Image.new("RGB", (side * _OVER, side * _OVER), pictures.PAPER)
    pen = ImageDraw.Draw(image)
    for node, target in enumerate(start_and_map[1:].tolist()):
        _arrow(pen, places[node], places[target], centre, dot)
    dots = [_look(node, int(start_and_map[0]), marked, wrong) for node in range(nodes)]
    for place, (fill, rim, _) in zip(places, dots, strict=True):
        pen.ellipse(_box(place, dot), fill=fill, outline=rim, width=_OVER)
    image = image.reduce(_OVER)
    if dot >= 6 * _OVER:
        for node, (place, (_, _, ink)) in enumerate(zip(places, dots, strict=True)):
            left, top, *_ = (round(x / _OVER) for x in _box(place, dot))
            pictures.write(image, str(node), (left, top, round(2 * dot / _OVER)), ink, 0.5)
    return image


def _box(middle: complex, radius: float) -> tuple[float, float, float, float]:
    x, y = middle.real, middle.imag
    return x - radius, y - radius, x + radius, y + radius


def _look(node: int, start: int, marked: int, wrong: bool) -> tuple[pictures.Color, ...]:
    """Colors of a node's inside, rim and number."""
    fill, rim, ink = pictures.GIVEN_CELL, pictures.THICK_LINE, pictures.GIVEN
    if node == start:
        fill, ink = pictures.GIVEN, pictures.PAPER
    if node == marked:
        rim = pictures.MISTAKE if wrong else pictures.DRAFT
        if node != start:
            fill, ink = (pictures.MISTAKE_CELL if wrong else pictures.DRAFT_CELL), rim
    return fill, rim, ink


def _arrow(pen: ImageDraw.ImageDraw, tail: complex, head: complex, centre: complex, dot: float) -> None:
    """An arrow between two nodes' rims; a loop outside the circle if they are the same node."""
    color, width = pictures.CAPTION, max(1, round(0.35 * max(_OVER, dot / 8)))
    if tail == head:
        middle = tail + cmath.rect(1.25 * dot, cmath.phase(tail - centre))
        pen.ellipse(_box(middle, 0.6 * dot), outline=color, width=width)
        return
    unit, barb = (head - tail) / abs(head - tail), 0.55 * dot
    tip = head - dot * unit
    pen.line((tail.real, tail.imag, tip.real, tip.imag), fill=color, width=width)
    base, wing = tip - barb * unit, 0.45 * barb * 1j * unit
    pen.polygon([(p.real, p.imag) for p in (tip, base + wing, base - wing)], fill=color)


def _node(token: int, otherwise: str = ".") -> str:
    return str(int(token) - FIRST_NODE) if token >= FIRST_NODE else otherwise
