"""Pointer chases as text and as pictures."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.family import as_shown
from hrm_rl.puzzles.pointer_chase.layout import BLANK, FIRST_NODE, PAD, check_all

_LARGEST_CIRCLE = 900  # pixels; more nodes than fit are drawn smaller


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> str:
    """The map as a table, the start, and the answers hop by hop: the draft's, or without one the labels'.

    Mistakes stand between stars (red in color), hops without an answer as dots.
    """
    check_all(nodes, hops, min_hops, trajectory)
    cells, shown, wrong = as_shown(inputs, draft, labels, 1 + nodes + hops, nodes + 2)
    width = len(str(nodes - 1)) + 1
    lines = []
    for first in range(0, nodes, 16):
        part = range(first, min(first + 16, nodes))
        lines.append("node   " + "".join(f"{node:>{width}} " for node in part))
        lines.append("points " + "".join(f"{_node(cells[1 + node]):>{width}} " for node in part))
    lines.append(f"start  {_node(cells[0]):>{width}}")
    answers = labels if draft is None and labels is not None else shown
    texts = []
    for cell in range(1 + nodes, 1 + nodes + hops):
        if cells[cell] == PAD:
            continue
        text = _node(int(np.asarray(answers)[cell]))
        if wrong[cell] and shown[cell] >= FIRST_NODE:
            text = f"*{text}*"
            texts.append(f"\x1b[1;4;31m{text}\x1b[0m" if color else text)
        else:
            texts.append(text)
    lines.append("hops   " + " ".join(f"{text:>{width}}" for text in texts))
    return "\n".join(line.rstrip() for line in lines)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 32,
    *,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> NDArray[np.uint8]:
    """The nodes on a circle with their arrows, the start dark; below, the answers hop by hop.

    A draft's node is blue, or red where it is wrong, in the answers; the node that it names last is
    marked in the circle too. A cell that is not asked for is grey.

    Arguments and return as in `hrm_rl.puzzles.family.Family.picture`.
    """
    check_all(nodes, hops, min_hops, trajectory)
    pictures.check_cell(cell)
    cells, shown, wrong = as_shown(inputs, draft, labels, 1 + nodes + hops, nodes + 2)
    first, columns = 1 + nodes, max(8, min(hops, 16))
    asked = int((cells[first:] == BLANK).sum())
    tiles: list[list[pictures.Tile]] = []
    for hop in range(columns * math.ceil(hops / columns)):
        if hop % columns == 0:
            tiles.append([])
        tile = pictures.Tile()
        if hop < asked:
            judged = trajectory or hop == asked - 1
            text = _node(int(shown[first + hop]), "") if draft is not None else ""
            ground = pictures.GIVEN_CELL if not judged else pictures.PAPER
            tile = pictures.Tile(text, pictures.DRAFT, ground, pictures.DRAFT_WEIGHT)
            if wrong[first + hop] and text:
                tile = pictures.Tile(
                    text, pictures.MISTAKE, pictures.MISTAKE_CELL, pictures.MISTAKE_WEIGHT
                )
        tiles[-1].append(tile)
    answers = pictures.tiles(tiles, cell, text=0.55)
    last = first + asked - 1
    marked = int(shown[last]) - FIRST_NODE if draft is not None and asked else -1
    circle = _circle(cells[:first] - FIRST_NODE, marked, bool(wrong[last]), cell, answers.width)
    return pictures.frame(pictures.on_top([circle, answers]), cell, caption, q)


def _circle(
    start_and_map: NDArray[np.int32], marked: int, wrong: bool, cell: int, least: int
) -> Image.Image:
    """The map's nodes and arrows: a square of `least` pixels, or larger where the nodes need it."""
    nodes, over = len(start_and_map) - 1, 4
    edge = cell
    side = max(least, math.ceil(min(_LARGEST_CIRCLE, nodes * cell * 1.15 / math.pi + 2 * edge)))
    radius = side / 2 - edge
    dot = min(0.42 * cell, 0.85 * math.pi * radius / nodes)
    angles = [2 * math.pi * node / nodes - math.pi / 2 for node in range(nodes)]
    places = [(side / 2 + radius * math.cos(a), side / 2 + radius * math.sin(a)) for a in angles]
    big = Image.new("RGB", (side * over, side * over), pictures.PAPER)
    pen = ImageDraw.Draw(big)
    for node, target in enumerate(start_and_map[1:].tolist()):
        _arrow(pen, places[node], places[target], side / 2, dot, over)
    dots = [_look(node, int(start_and_map[0]), marked, wrong) for node in range(nodes)]
    for (x, y), (fill, rim, _) in zip(places, dots, strict=True):
        box = (over * (x - dot), over * (y - dot), over * (x + dot), over * (y + dot))
        pen.ellipse(box, fill=fill, outline=rim, width=over)
    image = big.reduce(over)
    if dot >= 6:
        for node, ((x, y), (_, _, ink)) in enumerate(zip(places, dots, strict=True)):
            square = (round(x - dot), round(y - dot), round(2 * dot))
            pictures.write(image, str(node), square, ink, 0.5)
    return image


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


def _arrow(
    pen: ImageDraw.ImageDraw,
    tail: tuple[float, float],
    head: tuple[float, float],
    centre: float,
    dot: float,
    over: int,
) -> None:
    """An arrow between two nodes' rims; a loop outside of the circle where they are one."""
    color, width = pictures.CAPTION, max(1, round(0.35 * over * max(1.0, dot / 8)))
    x0, y0 = tail
    x1, y1 = head
    if tail == head:
        out = math.atan2(y0 - centre, x0 - centre)
        x, y = x0 + 1.25 * dot * math.cos(out), y0 + 1.25 * dot * math.sin(out)
        r = 0.6 * dot
        box = tuple(over * v for v in (x - r, y - r, x + r, y + r))
        pen.ellipse(box, outline=color, width=width)  # type: ignore[arg-type]
        return
    length = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    tip, barb = (x1 - dot * ux, y1 - dot * uy), 0.55 * dot
    pen.line((over * x0, over * y0, over * tip[0], over * tip[1]), fill=color, width=width)
    base = (tip[0] - barb * ux, tip[1] - barb * uy)
    wings = [(base[0] + s * 0.45 * barb * -uy, base[1] + s * 0.45 * barb * ux) for s in (1, -1)]
    pen.polygon([(over * x, over * y) for x, y in (tip, *wings)], fill=color)


def _node(token: int, otherwise: str = ".") -> str:
    return str(token - FIRST_NODE) if token >= FIRST_NODE else otherwise
