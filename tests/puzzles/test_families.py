"""What holds for every family of puzzles, whatever it asks: the promises of `hrm_rl.puzzles.family`."""

import dataclasses
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import IGNORE_LABEL
from hrm_rl.puzzles.family import SPLITS
from hrm_rl.puzzles.files import csv as family_csv
from hrm_rl.puzzles.files.cell_text import CellText

# Small and fast, and a second setting that turns every dial.
CASES = [
    ("prefix_parity", {"length": 10}),
    ("prefix_parity", {"length": 70, "min_length": 40}),
    ("pointer_chase", {"nodes": 7, "hops": 4}),
    ("pointer_chase", {"nodes": 20, "hops": 12, "min_hops": 3, "trajectory": True}),
    ("life", {"size": 6, "steps": 2}),
    ("life", {"size": 9, "steps": 7}),
    ("lights_out", {"size": 3}),
    ("lights_out", {"size": 7, "presses": 9}),
    ("unique_sat", {"variables": 5}),
    ("unique_sat", {"variables": 10, "extra_clauses": 7}),
    ("maze", {"size": 7, "min_path": 6}),
]
families = pytest.mark.parametrize(
    ("name", "dials"), CASES, ids=[f"{name}-{i % 2}" for i, (name, _) in enumerate(CASES)]
)


def module(name: str) -> Any:
    return import_module(f"hrm_rl.puzzles.{name}")


def answers_of(puzzles: Any) -> np.ndarray:
    return np.where(puzzles.labels == IGNORE_LABEL, puzzles.inputs, puzzles.labels)


@families
def test_shapes_tokens_and_right_labels(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    puzzles = family.generate(30, seed=1, rate=True, **dials)
    cells, tokens = family.seq_len(**dials), family.vocab_size(**dials)
    assert puzzles.inputs.shape == puzzles.labels.shape == (30, cells)
    answers = answers_of(puzzles)
    assert puzzles.inputs.min() >= 0 and max(puzzles.inputs.max(), answers.max()) < tokens
    assert (puzzles.labels != IGNORE_LABEL).any(axis=1).all()
    assert family.is_valid(puzzles.inputs, answers, **dials).all()
    assert family.is_exact(puzzles.labels, answers).all()
    np.testing.assert_array_equal(puzzles.rating, family.rate(puzzles.inputs, **dials))
    assert np.isfinite(puzzles.rating).all()
    version = family.GENERATOR_VERSION
    assert all(source.startswith(f"{name}-v{version}/") for source in puzzles.source)
    assert len(set(puzzles.source)) == 30


@families
def test_a_wrong_cell_is_neither_exact_nor_valid(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    puzzle = family.generate(1, seed=2, **dials)
    asked = np.flatnonzero(puzzle.labels[0] != IGNORE_LABEL)
    answers = np.repeat(answers_of(puzzle), len(asked), axis=0)
    tokens = family.vocab_size(**dials)
    rows = np.arange(len(asked))
    answers[rows, asked] = (answers[rows, asked] + 1) % tokens
    inputs, labels = (np.repeat(a, len(asked), axis=0) for a in (puzzle.inputs, puzzle.labels))
    assert not family.is_exact(labels, answers).any()
    assert not family.is_valid(inputs, answers, **dials).any()


@families
@pytest.mark.parametrize("split", [None, "test"])
def test_puzzle_k_hangs_on_seed_and_k_alone(
    name: str, dials: dict[str, Any], split: str | None
) -> None:
    family = module(name)
    few = family.generate(3, seed=5, split=split, **dials)
    many = family.generate(12, seed=5, split=split, **dials)
    np.testing.assert_array_equal(few.inputs, many.inputs[:3])
    np.testing.assert_array_equal(few.labels, many.labels[:3])
    assert few.source == many.source[:3]
    assert (many.inputs != family.generate(12, seed=6, split=split, **dials).inputs).any()


@families
def test_splits_share_no_class(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    keys = {}
    for split in SPLITS:
        puzzles = family.generate(25, seed=3, split=split, **dials)
        keys[split] = set(family.class_key(puzzles.inputs, **dials).tolist())
        array = np.array(sorted(keys[split]), np.uint64)
        assert all((family.in_split(array, other) == (other == split)).all() for other in SPLITS)
    assert sum(map(len, keys.values())) == len(set.union(*keys.values()))


@families
def test_symmetries_keep_puzzles_and_their_class(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    symmetry = family.symmetry(**dials)
    if symmetry is None:
        assert name in ("prefix_parity", "pointer_chase")
        return
    puzzles = family.generate(20, seed=4, rate=True, **dials)
    inputs, labels = symmetry.apply(puzzles.inputs, puzzles.labels, np.random.default_rng(0))
    assert (inputs != puzzles.inputs).any()
    answers = np.where(labels == IGNORE_LABEL, inputs, labels)
    assert family.is_valid(inputs, answers, **dials).all()
    np.testing.assert_array_equal(
        family.class_key(inputs, **dials), family.class_key(puzzles.inputs, **dials)
    )
    np.testing.assert_array_equal(family.rate(inputs, **dials), puzzles.rating)


@families
def test_drawings_and_pictures(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    puzzles = family.generate(9, seed=0, **dials)
    inputs, labels, right = puzzles.inputs[0], puzzles.labels[0], answers_of(puzzles)[0]
    wrong = right.copy()
    cell = np.flatnonzero(labels != IGNORE_LABEL)[-1]
    # Another token that may stand there: what another asked cell of these puzzles has.
    others = puzzles.labels[(puzzles.labels != IGNORE_LABEL) & (puzzles.labels != right[cell])]
    wrong[cell] = others[0]
    texts = [family.draw(inputs, draft=d, labels=labels, **dials) for d in (right, wrong)]
    assert texts[0] != texts[1] and not texts[0].endswith("\n")
    assert "\x1b" in family.draw(inputs, draft=wrong, labels=labels, color=True, **dials)
    shown: list[dict[str, Any]] = [
        {"draft": None, "caption": "", "q": (np.nan, np.nan)},
        {"draft": right, "caption": "segment 1 of 8", "q": (1.0, -1.0)},
        {"draft": wrong, "caption": "segment 2 of 8", "q": (1.0, -1.0)},
    ]
    pictures = [family.picture(inputs, labels=labels, cell=24, **each, **dials) for each in shown]
    assert len({picture.shape for picture in pictures}) == 1
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert (pictures[1] != pictures[2]).any()
    other = family.picture(
        puzzles.inputs[1], labels=puzzles.labels[1], cell=24, **shown[0], **dials
    )
    assert other.shape == pictures[0].shape and (other != pictures[0]).any()


@families
def test_files_read_back(name: str, dials: dict[str, Any], tmp_path: Any) -> None:
    family = module(name)
    puzzles = family.generate(4, seed=0, rate=True, **dials)
    family_csv.write_csv(tmp_path / "p.csv", puzzles, family.CHARACTERS)
    back = family_csv.read_csv(tmp_path / "p.csv", family.CHARACTERS)
    for field in ("inputs", "labels", "rating"):
        np.testing.assert_array_equal(getattr(back, field), getattr(puzzles, field))
    assert back.source == puzzles.source
    wrong = dataclasses.replace(puzzles, labels=np.roll(puzzles.labels, 1, axis=0))

    def are_right(read: Any) -> Any:
        return family.is_valid(read.inputs, read.labels, **dials)

    right = are_right(wrong)
    assert not right.all()
    family_csv.write_csv(tmp_path / "w.csv", wrong, family.CHARACTERS)
    assert len(family_csv.read_csv(tmp_path / "p.csv", family.CHARACTERS, are_right)) == 4
    line = 2 + int(np.argmin(right))
    with pytest.raises(ValueError, match=rf"w.csv, line {line}, answer: it does not solve"):
        family_csv.read_csv(tmp_path / "w.csv", family.CHARACTERS, are_right)


@families
def test_dials_out_of_range_are_named(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    for dial in family.DIALS:
        bad = "yes" if dial.low is None and dial.choices is None else -3
        for function in (family.seq_len, lambda **d: family.generate(1, **d)):
            with pytest.raises(ValueError, match=f"{dial.name} must be .*got {bad!r}"):
                function(**{**dials, dial.name: bad})


@families
def test_other_arguments_are_named(name: str, dials: dict[str, Any]) -> None:
    family = module(name)
    with pytest.raises(ValueError, match="count must be 0 or more, got -1"):
        family.generate(-1, **dials)
    with pytest.raises(ValueError, match="seed must lie in"):
        family.generate(1, seed=-1, **dials)
    with pytest.raises(ValueError, match=r"split must be one of train.*got 'dev'"):
        family.generate(1, split="dev", **dials)
    assert len(family.generate(0, rate=True, **dials)) == 0


# Recorded data sets and runs name puzzles by (dials, seed, k), and hold out classes: another stream needs
# another GENERATOR_VERSION.
STREAMS: dict[str, tuple[str, int]] = {
    "prefix_parity": ("0000100110101011", 5235321265865732275),
    "pointer_chase": ("16 6 2 3 10 10 12 9 5 11 3 4 11 3 12 7 7", 17318884048083112930),
    "life": ("...##...###........##...#....#.#...#...#", 160944406598037233),
    "lights_out": ("000100101001100001011000110111001000", 1396558961148943322),
    "unique_sat": ("1 1 1 1 1 1 1 1 1 1 1 1 14 6 27 10 9 4 2", 11782272968141211288),
}


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_stream_of_puzzles_stays_what_it_was(name: str) -> None:
    family = module(name)
    assert family.GENERATOR_VERSION == 1
    puzzle = family.generate(1, seed=0)
    text = CellText(family.CHARACTERS).write_all(puzzle.inputs)[0]
    assert (text[:40], int(family.class_key(puzzle.inputs)[0])) == STREAMS[name]
