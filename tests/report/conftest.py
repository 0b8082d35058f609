"""Recordings to report, made without a model, and a browser."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.puzzles import IGNORE_LABEL, PuzzleArrays

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, Browser, browser


def recorded(puzzles: PuzzleArrays, source: str = "", width: int = 1, **header: Any) -> TraceBank:
    """The first half of the puzzles is for validation. Drafts go from question to solution, some cells a
    segment; a third of the puzzles lose cells in the end."""
    toy, count = toy_bank(len(puzzles) // 2, width=width), len(puzzles) // 2 * 2
    rng, limit = np.random.default_rng(0), toy.num_segments
    inputs, labels = puzzles.inputs[:count], puzzles.labels[:count]
    answers = np.where(labels == IGNORE_LABEL, inputs, labels)
    arrives = rng.integers(1, limit, (count, 1)) * rng.random(answers.shape)
    lost = (np.arange(count) % 3 == 0)[:, None] & (rng.random(answers.shape) < 0.2)
    drafts = np.stack(
        [np.where((k >= arrives) & ~(lost & (k == limit)), answers, inputs) for k in range(1, limit + 1)], 1
    )
    right = (drafts == answers[:, None]) | (labels == IGNORE_LABEL)[:, None]
    correct = right.all(2)
    columns = {"drafts": drafts.astype(np.uint16), "correct": correct, "valid": correct}
    columns["cell_accuracy"] = right.mean(2, dtype=np.float32)
    others = dict(toy.others)
    if width > 1:  # each is a segment later than the one before
        later = [np.maximum(np.arange(limit) - k, 0) for k in range(1, width)]
        others |= {name: np.stack([column[:, k] for k in later], 1) for name, column in columns.items()}
    return dataclasses.replace(
        toy,
        **columns,
        others=others,
        inputs=inputs,
        labels=labels,
        source=(source,) * count,
        header=dataclasses.replace(toy.header, **header),
    )


@pytest.fixture
def bank() -> Callable[..., TraceBank]:
    return recorded


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found
