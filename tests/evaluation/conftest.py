"""A tiny model, puzzles, and all that the model does on them."""

from collections.abc import Callable

import pytest

from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation.record import record
from hrm_rl.halting import BankHeader, TraceBank
from hrm_rl.model import HRM
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku

COUNT, BEYOND, ROWS = 22, 7, 8
SPLIT = ["validation"] * 10 + ["test"] * 12


@pytest.fixture(scope="package")
def model(restless_hrm: Callable[..., HRM]) -> HRM:
    return restless_hrm()


@pytest.fixture(scope="package")
def puzzles(model: HRM) -> PuzzleArrays:
    """Some of them with the model's own draft of some segment as the solution, so that it is right."""
    made = sudoku.generate(COUNT, 4, seed=0, rate=True)
    drafts = record(model, made, BEYOND, drafts=True).drafts
    assert drafts is not None
    labels = made.labels.copy()
    for n in range(0, COUNT, 2):
        labels[n] = drafts[n, n % BEYOND]
    return PuzzleArrays(made.inputs, labels, made.puzzle_identifiers, made.rating)


@pytest.fixture(scope="package")
def bank(model: HRM, puzzles: PuzzleArrays) -> TraceBank:
    return record(
        model,
        puzzles,
        BEYOND,
        split=SPLIT,
        batch_size=ROWS,
        validator=validator_of(Sudoku(4)),
        pooled=True,
        drafts=True,
        header=BankHeader(trained_rule="q", preset="tiny", step=3, note="made up"),
    )
