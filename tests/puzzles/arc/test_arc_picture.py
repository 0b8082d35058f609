"""ARC boards as text and as pictures."""

import numpy as np

from hrm_rl.puzzles import arc

QUESTION = arc.encode(np.array([[1, 0, 2]], np.uint8))
ANSWER = arc.encode(np.array([[2, 0, 1]], np.uint8))
LABELS = arc.as_labels(ANSWER)


def test_text_by_hand() -> None:
    assert arc.draw(QUESTION).splitlines() == [
        "+---------+",
        "| 1 0 2 + |",
        "| + + +   |",
        "+---------+",
    ]
    draft = ANSWER.copy()
    draft[[2, 30, 33, 500]] = 5, 0, 9, 7  # wrong, a mark missing, and two in cells without a label
    assert arc.draw(QUESTION, draft, LABELS).splitlines() == [
        "+---------+  +---------+",
        "| 1 0 2 + |  | 2 0 3!+ |",
        "| + + +   |  |  !+ + . |",
        "+---------+  +---------+",
    ]
    assert arc.draw(np.zeros(900, int)).splitlines()[1] == "|   |"


def test_colored_text_is_the_same_text() -> None:
    import re

    draft = np.where(LABELS < 0, 4, 5)
    colored = arc.draw(QUESTION, draft, LABELS, color=True)
    assert "\x1b[30;48;2;255;65;54m2 " in colored  # red
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == arc.draw(QUESTION, draft, LABELS)


def test_pictures_are_of_one_shape_and_show_the_palette() -> None:
    rng = np.random.default_rng(0)
    junk = rng.integers(0, 12, 900)
    pictures = [arc.picture(QUESTION, draft, LABELS) for draft in (QUESTION, ANSWER, junk, None)]
    assert {p.shape for p in pictures} == {pictures[0].shape} and pictures[0].dtype == np.uint8
    assert arc.picture(QUESTION).shape == pictures[0].shape
    framed = {arc.picture(QUESTION, caption=c, q=(0.0, 1.0)).shape for c in ("", "segment 3")}
    assert len(framed) == 1 and framed != {pictures[0].shape}
    grid = np.arange(10, dtype=np.uint8)[None]
    whole = arc.picture(arc.encode(grid), cell=10)
    edge = 10
    for color, wanted in enumerate(arc.PALETTE):
        assert tuple(whole[edge + 5, edge + 10 * color + 5]) == wanted


def test_a_mistake_and_nothing_else_is_red() -> None:
    red = np.array((193, 32, 38))
    assert not (arc.picture(QUESTION, ANSWER, LABELS) == red).all(-1).any()
    junk_beside = np.where(LABELS < 0, 6, LABELS)
    beside = arc.picture(QUESTION, junk_beside, LABELS)
    assert not (beside == red).all(-1).any()
    assert not (beside == arc.PALETTE[4]).all(-1).any()  # it is pale
    wrong = ANSWER.copy()
    wrong[1] = 8
    assert (arc.picture(QUESTION, wrong, LABELS) == red).all(-1).any()
