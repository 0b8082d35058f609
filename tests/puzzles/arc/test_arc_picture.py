"""ARC boards as text and as pictures."""

import re

import numpy as np

from hrm_rl.puzzles import arc

QUESTION = arc.encode(np.array([[1, 0, 2]], np.uint8))
ANSWER = arc.encode(np.array([[2, 0, 1]], np.uint8))
LABELS = arc.as_labels(ANSWER)


def test_text_by_hand() -> None:
    assert arc.draw(QUESTION).splitlines() == ["+---------+", "| 1 0 2 + |", "| + + +   |", "+---------+"]
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
    draft = np.where(LABELS < 0, 4, 5)
    colored = arc.draw(QUESTION, draft, LABELS, color=True)
    assert "\x1b[30;48;2;255;65;54m2 " in colored  # red
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == arc.draw(QUESTION, draft, LABELS)


def test_pictures_are_of_one_shape_and_show_the_palette() -> None:
    junk = np.random.default_rng(0).integers(0, 12, 900)
    drafts = (QUESTION, ANSWER, junk, None)
    assert len({arc.picture(QUESTION, draft, LABELS, caption="").shape for draft in drafts}) == 1
    whole = arc.picture(arc.encode(np.arange(10, dtype=np.uint8)[None]), cell=10)
    for color, wanted in enumerate(arc.PALETTE):
        assert tuple(whole[15, 15 + 10 * color]) == wanted


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
