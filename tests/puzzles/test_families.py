"""The contract of `hrm_rl.puzzles.family.Family`, for every family."""

import dataclasses
import pickle
import re
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pytest
from family_cases import ALL, CASES, SMALL

from hrm_rl.puzzles import FAMILIES, IGNORE_LABEL, CustomPuzzles, family_of_shape, make_family
from hrm_rl.puzzles.base.dials import dial, range_of
from hrm_rl.puzzles.base.relations import as_relations
from hrm_rl.puzzles.family import SPLITS, Family
from hrm_rl.puzzles.files.csv import write_puzzles
from hrm_rl.puzzles.maze import Maze
from hrm_rl.puzzles.prefix_parity import PrefixParity
from hrm_rl.puzzles.square import SquareFamily
from hrm_rl.puzzles.sudoku import Sudoku

families = pytest.mark.parametrize("family", ALL, ids=lambda family: family.words)


def answers_of(puzzles: Any) -> np.ndarray:
    return np.where(puzzles.labels == IGNORE_LABEL, puzzles.inputs, puzzles.labels)


def test_every_case_is_of_a_family() -> None:
    assert set(CASES) <= set(FAMILIES)


@families
def test_shapes_tokens_and_right_labels(family: Family) -> None:
    puzzles = family.generate(30, seed=1, rate=True)
    assert puzzles.inputs.shape == puzzles.labels.shape == (30, family.seq_len)
    answers = answers_of(puzzles)
    assert puzzles.inputs.min() >= 0
    assert max(puzzles.inputs.max(), answers.max()) < family.vocab_size
    assert (puzzles.labels != IGNORE_LABEL).any(axis=1).all()
    assert family.is_valid(puzzles.inputs, answers).all()
    assert family.is_exact(puzzles.labels, answers).all()
    assert family.rate(puzzles.inputs[0]).shape == family.class_key(puzzles.inputs[0]).shape == ()
    np.testing.assert_array_equal(puzzles.rating, family.rate(puzzles.inputs))
    assert np.isfinite(puzzles.rating).all()
    if family.name != "sudoku":
        assert all(name.startswith(f"{family.source_name}/seed=1/") for name in puzzles.source)
        assert len(set(puzzles.source)) == 30
    assert family.name.replace("-", "_") in family.source_name
    assert "None" not in family.source_name and "None" not in family.words


@families
def test_a_wrong_cell_is_neither_exact_nor_valid(family: Family) -> None:
    puzzle = family.generate(1, seed=2)
    asked = np.flatnonzero(puzzle.labels[0] != IGNORE_LABEL)
    answers = np.repeat(answers_of(puzzle), len(asked), axis=0)
    rows = np.arange(len(asked))
    answers[rows, asked] = (answers[rows, asked] + 1) % family.vocab_size
    inputs, labels = (np.repeat(a, len(asked), axis=0) for a in (puzzle.inputs, puzzle.labels))
    assert not family.is_exact(labels, answers).any()
    assert not family.is_valid(inputs, answers).any()


@families
@pytest.mark.parametrize("split", [None, "test"])
def test_puzzle_k_depends_on_seed_and_k_alone(family: Family, split: str | None) -> None:
    few = family.generate(3, seed=5, split=split)
    many = family.generate(12, seed=5, split=split)
    np.testing.assert_array_equal(few.inputs, many.inputs[:3])
    np.testing.assert_array_equal(few.labels, many.labels[:3])
    assert few.source is None or few.source == many.source[:3]
    assert (many.inputs != family.generate(12, seed=6, split=split).inputs).any()


@families
def test_the_first_distinct_puzzles_of_a_seed(family: Family) -> None:
    found = family.generate_distinct(40, seed=5, split="test", rate=True)
    stream = family.generate(400, seed=5, split="test", rate=True).distinct()
    np.testing.assert_array_equal(found.inputs, stream.inputs[:40])
    np.testing.assert_array_equal(found.rating, stream.rating[:40])
    assert found.source is None or found.source == stream.source[:40]
    later = family.generate(3, seed=5, split="test", first=9)
    np.testing.assert_array_equal(later.inputs, family.generate(12, seed=5, split="test").inputs[9:])


@pytest.mark.parametrize(
    ("family", "split", "count"),
    [
        (("lights-out", {"size": 2}), None, 15),
        (("prefix-parity", {"length": 4, "min_length": 4}), "test", 6),
        (("sudoku", {"size": 4}), "validation", 5376),
    ],
)
def test_a_family_with_fewer_puzzles_gives_all_and_warns(family, split, count, caplog) -> None:
    family = make_family(*family)
    wanted = min(count, 200) + 40
    found = family.generate_distinct(wanted, split=split)
    assert len(found) == min(wanted, count) == len(np.unique(found.inputs, axis=0))
    warned = f"has {count} distinct" in caplog.text and f"fewer than {wanted}" in caplog.text
    assert warned == (wanted > count), caplog.text


@families
def test_splits_share_no_class(family: Family) -> None:
    keys = {}
    for split in SPLITS:
        puzzles = family.generate(25, seed=3, split=split)
        keys[split] = set(family.class_key(puzzles.inputs).tolist())
        for other in SPLITS:
            found = family.rows_of(puzzles.inputs, other)
            assert found.tolist() == (list(range(25)) if other == split else [])
    assert sum(map(len, keys.values())) == len(set.union(*keys.values()))


@families
def test_symmetries_keep_puzzles_and_their_class(family: Family) -> None:
    symmetry = family.symmetry
    if symmetry is None:
        assert family.augmentation is None
        return
    puzzles = family.generate(20, seed=4, rate=True)
    inputs, labels = symmetry.apply(puzzles.inputs, puzzles.labels, np.random.default_rng(0))
    assert (inputs != puzzles.inputs).any()
    answers = np.where(labels == IGNORE_LABEL, inputs, labels)
    assert family.is_valid(inputs, answers).all()
    np.testing.assert_array_equal(family.class_key(inputs), family.class_key(puzzles.inputs))
    if family != Sudoku(9):  # rated on random copies of each puzzle
        np.testing.assert_array_equal(family.rate(inputs), puzzles.rating)


@families
def test_symmetries_keep_which_cells_are_related(family: Family) -> None:
    relations, symmetry = family.relations, family.symmetry
    if relations is None:
        assert family.name in ("pointer-chase", "prefix-parity", "reasoning-gym")
        return
    np.testing.assert_array_equal(as_relations(relations, family.seq_len), relations)
    assert symmetry is not None and {0} < set(np.unique(relations))
    for table in symmetry.cell_tables:
        for cells in table[:: max(1, len(table) // 8)]:
            np.testing.assert_array_equal(relations[np.ix_(cells, cells)] == 0, relations == 0)


@families
def test_drawings_and_pictures(family: Family) -> None:
    puzzles = family.generate(9, seed=0)
    inputs, labels, right = puzzles.inputs[0], puzzles.labels[0], answers_of(puzzles)[0]
    wrong = right.copy()
    cell = np.flatnonzero((labels != IGNORE_LABEL) & (labels != inputs))[-1]
    # Another token that may stand there: that of another labelled cell of these puzzles.
    others = puzzles.labels[(puzzles.labels != IGNORE_LABEL) & (puzzles.labels != right[cell])]
    wrong[cell] = others[0]
    texts = [family.draw(inputs, draft=draft, labels=labels) for draft in (right, wrong)]
    assert texts[0] != texts[1] and not texts[0].endswith("\n")
    assert "\x1b" in family.draw(inputs, draft=wrong, labels=labels, color=True)
    shown: list[dict[str, Any]] = [
        {"draft": None, "caption": "", "q": (np.nan, np.nan)},
        {"draft": right, "caption": "segment 1 of 8", "q": (1.0, -1.0)},
        {"draft": wrong, "caption": "segment 2 of 8", "q": (1.0, -1.0)},
    ]
    pictures = [family.picture(inputs, labels=labels, cell=24, **each) for each in shown]
    assert len({picture.shape for picture in pictures}) == 1
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert (pictures[1] != pictures[2]).any()
    other = family.picture(puzzles.inputs[1], labels=puzzles.labels[1], cell=24, **shown[0])
    assert other.shape == pictures[0].shape and (other != pictures[0]).any()
    panels = [family.panels(family.shown(inputs, draft, labels)) for draft in (None, right, wrong)]
    layouts = {tuple((len(panel.tiles), panel.columns, panel.title) for panel in each) for each in panels}
    assert len(layouts) == 1 and all(len(p.tiles) % p.columns == 0 for p in panels[0])
    assert panels[0] != panels[1] != panels[2]


@families
def test_files_read_back(family: Family, tmp_path: Any) -> None:
    puzzles = family.generate(4, seed=0, rate=True)
    family.write_csv(tmp_path / "p.csv", puzzles)
    back = family.read_csv(tmp_path / "p.csv")
    for field in ("inputs", "labels", "rating"):
        np.testing.assert_array_equal(getattr(back, field), getattr(puzzles, field))
    assert back.source == puzzles.source


@families
def test_wrong_answers_in_a_file_are_refused(family: Family, tmp_path: Any) -> None:
    puzzles = family.generate(4, seed=0)
    wrong = dataclasses.replace(puzzles, labels=np.roll(puzzles.labels, 1, axis=0))
    row = int(np.argmin(family.is_valid(wrong.inputs, wrong.labels)))
    reason = re.escape(family.explain(wrong.inputs[row], wrong.labels[row]))
    with pytest.raises(ValueError, match=f"puzzle {row}, answer: {reason}"):
        family.write_csv(tmp_path / "w.csv", wrong)
    write_puzzles(tmp_path / "w.csv", wrong, family.cell_text)
    with pytest.raises(ValueError, match=f"w.csv, line {2 + row}, answer: {reason}"):
        family.read_csv(tmp_path / "w.csv")


@families
def test_arguments_out_of_range_are_named(family: Family) -> None:
    for field in dataclasses.fields(family):  # type: ignore[arg-type]
        bad = "yes" if range_of(field).words == "True or False" else -3
        with pytest.raises(ValueError, match=rf"{field.name} must be .*got \[?{bad!r}"):
            dataclasses.replace(family, **{field.name: bad})  # type: ignore[type-var]
    for wrong, message in (
        ({"count": -1}, "count must be 0 or more, got -1"),
        ({"seed": -1}, "seed must lie in"),
        ({"split": "dev"}, r"split must be one of train.*got 'dev'"),
    ):
        with pytest.raises(ValueError, match=message):
            family.generate(**{"count": 1, **wrong})
    assert len(family.generate(0, rate=True)) == 0


@families
def test_a_family_is_a_value(family: Family) -> None:
    again = pickle.loads(pickle.dumps(family))
    assert again == family == make_family(family.name, family.dials())
    assert hash(again) == hash(family)


@pytest.mark.parametrize("name", FAMILIES)
def test_functions_of_a_module_take_the_dials(name: str) -> None:
    module, family = import_module(FAMILIES[name].partition(":")[0]), make_family(name, SMALL[name])
    if not hasattr(module, "__getattr__"):
        pytest.skip("a module without module_functions")
    dials = family.dials()
    puzzles = module.generate(2, seed=1, **dials)
    np.testing.assert_array_equal(puzzles.inputs, family.generate(2, seed=1).inputs)
    assert module.seq_len(**dials) == family.seq_len
    assert module.is_valid(puzzles.inputs, answers_of(puzzles), **dials).all()
    with pytest.raises(AttributeError, match="no attribute 'solved'"):
        _ = module.solved


@pytest.mark.parametrize(
    ("base", "body", "message"),
    [
        (Family, {}, "Two needs a name"),
        (SquareFamily, {"name": "two", "__annotations__": {"size": "int"}}, "Two.size needs a range"),
        (PrefixParity, {"ones": 3, "__annotations__": {"ones": int}}, "Two.ones needs a range"),
    ],
)
def test_a_family_without_a_name_or_a_range_is_refused(base: Any, body: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Two", (base,), body)


@dataclasses.dataclass(frozen=True)
class Shares(PrefixParity):
    """A family with a number as a dial, and with the default streams."""

    name: ClassVar = "shares"
    stream: ClassVar = None
    share: float = dial(0.5, 0, 1)

    def stream_numbers(self) -> tuple[int, ...]:
        return Family.stream_numbers(self)


@dataclasses.dataclass(frozen=True)
class Named(Shares):
    name: ClassVar = "named"


def test_by_default_names_and_all_dials_separate_the_streams() -> None:
    made = [Shares(share=s) for s in (0, 0.25, 0.5, 0.75, 1.0)] + [Named(), Shares(min_length=16)]
    inputs = [family.generate(5).inputs.tobytes() for family in made]
    assert len(set(inputs)) == len(made)
    assert Shares(share=1).generate(5).inputs.tobytes() == inputs[4]
    with pytest.raises(ValueError, match=r"share must be 0.0 to 1.0, got 1.5"):
        Shares(share=1.5)


@pytest.mark.parametrize(
    ("name", "dials", "message"),
    [
        ("chess", {}, "unknown family 'chess'; known: sudoku, maze"),
        ("lifes", {}, "unknown family 'lifes'; did you mean 'life'[?]"),
        ("life", {"step": 1}, r"'steps'[?] it has size \(4 to 32\), steps \(1 to 64\)"),
        ("sudoku", {"extra_givens": (3, 2)}, "0 <= least <= most <= 81, got .3, 2"),
        ("sudoku", {"size": 4, "extra_givens": 17}, "most <= 16, got .17, 17"),
        ("lights-out", {"size": 3, "presses": 10}, "presses must be 1 to 9 on 3x3, got 10"),
        ("prefix-parity", {"length": 8, "min_length": 9}, "must be 4 to length=8, got 9"),
        ("pointer-chase", {"nodes": 8}, "hops must be 1 to 7, fewer than the 8 nodes; got 8"),
        ("pointer-chase", {"hops": 3, "min_hops": 4}, "min_hops must be 1 to hops=3, got 4"),
        ("unique-sat", {"variables": 4, "extra_clauses": 17}, "0 to 16 with 4 variables, got 17"),
        ("maze", {"size": 5, "min_path": 27}, "min_path must be 1 to 26 in a 5x5 maze, got 27"),
        ("maze", {"braid": 0.5}, "braid is for perfect mazes; got braid=0.5 with perfect=False"),
    ],
)
def test_unknown_families_and_dials_are_refused(name: str, dials: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_family(name, dials)


def test_only_mazes_with_one_path_are_augmented() -> None:
    assert Maze(6, perfect=True).augmentation is not None
    assert Maze(6, perfect=True, braid=0.5).augmentation is None
    assert Maze(6).augmentation is None and Maze(6).symmetry is not None


def test_custom_puzzles_have_a_shape_alone() -> None:
    custom = CustomPuzzles(12, 30)
    assert custom.symmetry is None and custom.augmentation is None and custom.picture is None
    with pytest.raises(ValueError, match="30 cells and 12 tokens can only come from a folder"):
        custom.generate(1, seed=0, split="test")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((11, 81), "9x9 Sudoku"),
        ((6, 16), "4x4 Sudoku"),
        ((6, 900), "maze (size=30 perfect=False braid=0.0)"),
        ((12, 900), "puzzles of 900 cells and 12 tokens"),
        ((6, 10), "puzzles of 10 cells and 6 tokens"),
    ],
)
def test_the_family_of_a_shape(shape: tuple[int, int], words: str) -> None:
    assert family_of_shape(*shape).words == words
