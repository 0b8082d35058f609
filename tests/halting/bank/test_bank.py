"""The trace bank: what goes into the file comes out, without torch; what is wrong is named."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from hrm_rl.halting import BankHeader, TraceBank, puzzle_ids, puzzles_hash
from hrm_rl.halting.bank import FEATURES, SPLITS
from hrm_rl.puzzles import family
from hrm_rl.puzzles.pool import IGNORE_LABEL

N, M, S, D = 9, 4, 8, 3
PINNED = [8243656413853952051, 4972684991220920564]
OTHERS = ("features", "header", "source", "others")
SEGMENTS = ("correct", "valid", "cell_accuracy", "pooled_z_H", "drafts", "draft_ids")
ARRAYS = [f.name for f in dataclasses.fields(TraceBank) if f.name not in OTHERS]


@pytest.fixture
def full(random_bank: Callable[..., TraceBank]) -> TraceBank:
    """A bank with everything that one can hold."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 250, (N, S))
    labels[:, ::3] = IGNORE_LABEL
    header = BankHeader(
        trajectories="start",
        model_hash="abc",
        created="2025-01-01T00:00:00+00:00",
        versions={"numpy": "2"},
        halt_max_steps=3,
        trained_rule="q-halt:0",
        preset="tiny",
        step=7,
        seconds_per_segment={"1": 0.25, "64": 1.5},
        note="ä",
    )
    plain = dict(
        valid=rng.random((N, M)) < 0.5,
        labels=labels,
        puzzle_identifiers=rng.integers(0, 1000, N),
        puzzle_key=np.array([0, 1, 2, 3, 4, 0, 1, 2, 0]),
        rating=np.array([np.nan, 0, 1.5, *range(N - 3)]),
        source=("a", "b", "") * 3,
        split=np.array(["validation"] * 5 + ["test"] * 3 + ["train"]),
        header=header,
        pooled_z_H=rng.normal(size=(N, M, D)).astype(np.float16),
        drafts=rng.integers(0, 250, (N, M, S)).astype(np.uint8),
        learned=rng.random(N) < 0.5,
        draft_ids=rng.integers(0, 9, (N, M)),
    )
    bank = random_bank(N, M, **plain)
    own = {name: getattr(bank, name) for name in SEGMENTS} | dict(bank.features)
    others = {name: np.stack([column[::-1], column[::-1]], 1) for name, column in own.items()}
    return replace(bank, others=others)


def arrays_of(bank: TraceBank) -> dict[str, Any]:
    arrays = {name: getattr(bank, name) for name in ARRAYS} | dict(bank.features)
    arrays |= {f"others.{name}": column for name, column in bank.others.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def assert_same(one: TraceBank, two: TraceBank) -> None:
    assert one.header == two.header and one.source == two.source
    found, wanted = arrays_of(one), arrays_of(two)
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
        assert array.dtype.kind == wanted[name].dtype.kind, name


@pytest.fixture
def saved(full: TraceBank, tmp_path: Path) -> Path:
    full.save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"


def rewrite(path: Path, metadata: dict[str, str] | None = None, **tensors: Any) -> None:
    """Change tensors or metadata of a saved bank; None removes a tensor."""
    with safe_open(path, "numpy") as file:
        header = (file.metadata() or {}) | (metadata or {})
    kept = {k: t for k, t in (load_file(path) | tensors).items() if t is not None}
    save_file({k: np.ascontiguousarray(t) for k, t in kept.items()}, path, header)


# --- files ----------------------------------------------------------------------------------------


def test_a_bank_loads_as_it_was_saved(full: TraceBank, saved: Path, random_bank: Any) -> None:
    assert_same(full, TraceBank.load(saved))
    assert list(saved.parent.iterdir()) == [saved]
    tokens = np.arange(N * S).reshape(N, S) * 50  # beyond uint8
    least = random_bank(N, M, inputs=tokens, labels=tokens + 9)
    least.save(saved)
    assert_same(least, TraceBank.load(str(saved)))


def test_opening_a_bank_needs_no_torch(saved: Path) -> None:
    code = (
        "import sys; from hrm_rl.halting import TraceBank; bank = TraceBank.load(sys.argv[1]);"
        "bank.column('halt_sum'), bank.in_split('test').first_correct;"
        "assert bank.num_puzzles == 9 and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, str(saved)]).returncode == 0


def test_the_file_is_what_its_page_says(full: TraceBank, saved: Path) -> None:
    """docs/trace-banks.md, read with safetensors and NumPy alone."""
    page = Path(__file__).parents[3].joinpath("docs", "trace-banks.md").read_text()
    with safe_open(saved, "numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
    assert metadata["format"] == "hrm_rl trace bank" and metadata["version"] == "1"
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| `") and len(cells) == 6:
            rows |= {name.strip("` "): cells[2:4] for name in cells[1].split(",")}
    assert rows.keys() == {name.removeprefix("others.") for name in names}
    assert {f"others.{name}" for name, cells in rows.items() if "N,M" in cells} <= names
    for name, kind in kinds.items():
        assert kind in rows[name.removeprefix("others.")][0].split(" or "), (name, kind)
    fields = {field.name for field in dataclasses.fields(BankHeader)}
    assert json.loads(metadata["header"]).keys() == fields
    assert all(f"`{name}`" in page for name in fields)
    tensors = load_file(saved)
    assert json.loads(metadata["split_names"]) == [*SPLITS] == [*family.SPLITS]
    codes = tensors["split"] == json.loads(metadata["split_names"]).index("test")
    np.testing.assert_array_equal(codes, full.split == "test")
    sources = json.loads(metadata["source_names"])
    assert tuple(sources[code] for code in tensors["source"]) == full.source


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.6, 0.999])
def test_a_truncated_file_is_named(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"bank\.safetensors.*(not a trace bank|cut short)"):
        TraceBank.load(saved)


def test_other_files_and_places_are_named(full: TraceBank, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("source,question,answer,rating\n" * 99)
    save_file({"weight": np.zeros(3)}, tmp_path / "weights")
    for name in ("text", "weights"):
        with pytest.raises(ValueError, match=rf"{name}.* not a trace bank"):
            TraceBank.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no bank at .*none"):
        TraceBank.load(tmp_path / "none")
    for use in (TraceBank.load, full.save):
        with pytest.raises(OSError, match="is a folder"):
            use(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"the folder .*none does not exist"):
        full.save(tmp_path / "none" / "bank")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"version": "2"}}, "format 2, but this version of hrm_rl reads format 1"),
        ({"metadata": {"header": "{"}}, "header is missing or damaged"),
        ({"metadata": {"header": "[]"}}, "header is damaged"),
        ({"metadata": {"source_names": "[]"}}, "source or split code has no name"),
        ({"metadata": {"header": '{"puzzles_hash": "0"}'}}, "puzzles_hash differs"),
        ({"metadata": {"header": '{"step": "x"}'}}, "step must be an integer, got 'x'"),
        ({"metadata": {"header": '{"dtype": 5}'}}, "dtype must be a string, got 5"),
        ({"metadata": {"header": '{"seconds_per_segment": 5}'}}, "must be an object, got 5"),
        ({"metadata": {"header": '{"seconds_per_segment": {"1": "x"}}'}}, "segment.1 must be a number"),
        ({"metadata": {"header": '{"seconds_per_segment": {"1": NaN}}'}}, "segment.1 must be a number"),
        ({"metadata": {"header": '{"seconds_per_segment": {"1": 0}}'}}, "seconds by batch size, both"),
        ({"metadata": {"header": '{"seconds_per_segment": {"x": 1}}'}}, "seconds by batch size, both"),
        ({"metadata": {"header": "[" * 10**5}}, "header is missing or damaged"),
        ({"metadata": {"source_names": "[1]"}}, "source_names must be a string, got 1"),
        ({"metadata": {"split_names": "{}"}}, "split_names must be a list"),
        ({"correct": None}, "lacks correct"),
        ({"inputs": None, "labels": None}, "lacks inputs, labels"),
        ({"q_halt": np.zeros((N, M + 1), np.float32)}, r"q_halt has shape \(9, 5\)"),
        ({"rating": np.zeros(2, np.float32)}, r"rating has shape \(2,\)"),
        ({"inputs": np.zeros((N, S), np.float32)}, "must be uint8 or uint16, got float32"),
        ({"first_correct": np.full(N, 2, np.int16)}, "first_correct does not follow"),
        ({"drafts": np.zeros((N, M, 2), np.uint8)}, "drafts has shape"),
        ({"learned": np.zeros(N + 1, bool)}, "learned has shape"),
        ({"others.kl": np.zeros((N, 1, M), np.float32)}, r"others: kl has shape \(9, 1, 4\)"),
        ({"others.kl": np.zeros(N, np.float32)}, r"others: kl has shape \(9,\)"),
        ({"others.kl": None}, r"same columns; odd: .'kl'"),
        ({"others.kl": np.full((N, 2, M), np.nan, np.float32)}, "others.kl holds NaN"),
    ],
)
def test_damage_is_named(saved: Path, change: dict[str, Any], message: str) -> None:
    rewrite(saved, **change)
    with pytest.raises(ValueError, match=rf"bank\.safetensors: .*{message}"):
        TraceBank.load(saved)


FLOATS = ["cell_accuracy", "pooled_z_H", *(name for name in FEATURES if name != "unchanged_for")]


@pytest.mark.parametrize("name", FLOATS)
def test_nan_is_named_with_its_column_and_place(saved: Path, full: TraceBank, name: str) -> None:
    column = np.array(load_file(saved)[name])
    column[6, 2] = np.nan
    wanted = f"{name} holds NaN.*puzzle 6, segment 3"
    rewrite(saved, **{name: column})
    with pytest.raises(ValueError, match=wanted):
        TraceBank.load(saved)
    changed = {name: column}
    if name in FEATURES:
        changed = {"features": {**full.features, name: column}}
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=wanted):
        replace(full, **changed).save(saved)
    assert saved.read_bytes() == before


def test_infinity_only_where_there_is_nothing_to_compare_with(saved: Path) -> None:
    columns = load_file(saved)
    for name in ("kl", "residual_H", "residual_L"):
        assert (columns[name][:, 0] == np.inf).all()
    for name, place in (("kl", (1, 1)), ("q_halt", (1, 0)), ("confidence", (1, 0))):
        column = np.array(columns[name])
        column[place] = np.inf
        rewrite(saved, **{name: column})
        with pytest.raises(ValueError, match=f"{name} holds infinity"):
            TraceBank.load(saved)
        rewrite(saved, **{name: columns[name]})
    TraceBank.load(saved)


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[3], [5, 0, 5], np.arange(N) % 2 == 0, slice(2, 7)])
def test_take_and_truncate(full: TraceBank, rows: Any) -> None:
    few = full.take(rows)
    for name, array in arrays_of(few).items():
        np.testing.assert_array_equal(array, arrays_of(full)[name][rows], err_msg=name)
    for limit in (1, 3, M):
        for name, array in arrays_of(few.truncate(limit)).items():
            wanted = arrays_of(few)[name]
            if array.shape != wanted.shape:
                wanted = wanted[:, :, :limit] if "others" in name else wanted[:, :limit]
            np.testing.assert_array_equal(array, wanted, err_msg=name)
        assert few.truncate(limit).num_segments == limit
    assert few.source == tuple(np.array(full.source)[rows])
    assert few.header.puzzles_hash == puzzles_hash(few.inputs, few.labels)
    assert len(few) == few.num_puzzles == len(few.puzzles)


def test_splits_and_first_correct(full: TraceBank) -> None:
    assert full.counts() == {"train": 1, "validation": 5, "test": 3}
    test = full.in_split("test")
    np.testing.assert_array_equal(test.inputs, full.inputs[5:8])
    np.testing.assert_array_equal(test.puzzle_key, [0, 1, 2])
    for row, first in zip(full.correct, full.first_correct, strict=True):
        assert first == next((m + 1 for m in range(M) if row[m]), 0)


# --- columns --------------------------------------------------------------------------------------


def test_derived_columns_equal_their_definitions(full: TraceBank) -> None:
    halt = 1 / (1 + np.exp(-full.features["q_halt"].astype(float)))
    wanted: dict[str, NDArray[Any]] = {
        "segment": np.array([range(1, M + 1)] * N),
        "puzzle_key": np.repeat(full.puzzle_key, M).reshape(N, M),
        "halt_sum": np.array([[halt[n, : m + 1].sum() for m in range(M)] for n in range(N)]),
        "log_survival": np.log([[np.prod(h[: m + 1]) for m in range(M)] for h in 1 - halt]),
        "previous_residual_H": np.array([[np.inf, *column[:-1]] for column in full.features["residual_H"]]),
        "pooled_z_H": full.pooled_z_H,  # type: ignore[dict-item]
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(full.column(name), values, rtol=2e-6, atol=1e-6, err_msg=name)
    for name in FEATURES:
        assert full.column(name) is full.features[name]


def test_derived_columns_do_not_overflow(random_bank: Callable[..., TraceBank]) -> None:
    bank = random_bank(2, 2)
    q = np.array([[200.0, -200.0], [-200.0, 200.0]])
    bank = replace(bank, features={"q_halt": q})
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(bank.column("halt_sum"), [[1, 1], [0, 1]])
        np.testing.assert_allclose(bank.column("log_survival"), [[-200, -200], [0, -200]])


BARE = {"pooled_z_H": None, "features": {}, "others": {}}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda bank: bank.take([]), "at least one puzzle"),
        (lambda bank: bank.take([5]).in_split("train"), "no puzzle of split 'train'; .* test"),
        (lambda bank: bank.truncate(0), rf"1\.\.{M}, .* got 0"),
        (lambda bank: bank.truncate(M + 1), rf"1\.\.{M}, .* got {M + 1}"),
        (lambda bank: bank.narrow(4), r"1\.\.3, the trajectories in the bank; got 4"),
        (lambda bank: replace(bank, draft_ids=None), "same columns; odd: .'draft_ids'"),
        (lambda bank: replace(bank, **BARE).column("pooled_z_H"), "'pooled_z_H', .* lacks.*--pool"),
        (lambda bank: replace(bank, **BARE).column("kl"), "'kl', which this bank lacks; record it"),
        (lambda bank: bank.column("mood"), r"'mood', which this bank lacks$"),
    ],
)
def test_bad_use_is_named(full: TraceBank, use: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use(full)


# --- construction and hashes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"correct": np.zeros((0, M))}, "must be .puzzles, segments., both >= 1"),
        ({"valid": np.zeros((N, M + 1))}, r"valid has shape \(9, 5\)"),
        ({"labels": np.zeros((N, S + 1))}, "labels has shape"),
        ({"source": ("a",)}, "source names 1 puzzles, the bank holds 9"),
        ({"split": np.full(N, "dev")}, "unknown split 'dev'"),
        ({"features": {"mood": np.zeros((N, M))}}, "unknown feature 'mood'"),
        ({"pooled_z_H": np.zeros((N, M), np.float16)}, "pooled_z_H has shape"),
    ],
)
def test_what_does_not_fit_is_named(
    random_bank: Callable[..., TraceBank], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        random_bank(N, M, **fields)


def test_hashes_see_every_cell_and_their_order() -> None:
    inputs = np.arange(6).reshape(2, 3)
    labels = inputs + 1
    ids = puzzle_ids(inputs, labels)
    assert ids.dtype == np.uint64
    # Files of fitted rules hold these numbers.
    assert ids.tolist() == PINNED
    np.testing.assert_array_equal(puzzle_ids(inputs[::-1], labels[::-1]), ids[::-1])
    np.testing.assert_array_equal(puzzle_ids(inputs.astype(np.uint8), labels), ids)
    pairs = [(inputs, labels), (inputs[:, ::-1], labels)]
    for cell in range(3):
        changed = inputs.copy(), labels.copy()
        for array in changed:
            array[:, cell] = IGNORE_LABEL
        pairs += [(changed[0], labels), (inputs, changed[1])]
    assert len(np.unique([puzzle_ids(*pair) for pair in pairs])) == 2 * 8
    pairs.append((inputs[::-1], labels[::-1]))
    assert len({puzzles_hash(*pair) for pair in pairs}) == 9
