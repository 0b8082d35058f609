"""Every family of puzzles gives the same puzzles, byte for byte."""

from pathlib import Path

import observe
import pytest

PINNED = observe.stored("puzzles")


@pytest.mark.parametrize("words", PINNED["csv"])
def test_the_same_file(words: str, tmp_path: Path) -> None:
    found = observe.puzzles(words, tmp_path)
    assert found == PINNED["csv"][words], f"hrm-rl puzzles {words} -n 40 --seed 7: another file"


@pytest.mark.parametrize("words", PINNED["arc"])
def test_the_same_arc_tokens(words: str) -> None:
    assert observe.arc_tokens(words) == PINNED["arc"][words], f"arc, {words}: other tokens"
