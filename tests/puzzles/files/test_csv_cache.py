"""Cached files: read as by the families' readers, then from arrays; a stale cache is never used."""

import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hrm_rl import files
from hrm_rl.puzzles import PuzzleArrays, maze, sudoku
from hrm_rl.puzzles.files import rows as files_rows
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.table import PuzzleTable, check_disjoint
from hrm_rl.training.data import puzzle_files


def assert_same(table: PuzzleTable | PuzzleArrays, arrays: PuzzleArrays) -> None:
    read = table.arrays()
    for name in ("inputs", "labels", "puzzle_identifiers", "rating"):
        np.testing.assert_array_equal(getattr(read, name), getattr(arrays, name))
    assert read.source == arrays.source and len(table) == len(arrays)


def cache_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.cache")


@pytest.fixture
def sudokus(tmp_path: Path) -> Path:
    path = tmp_path / "sudokus.csv"
    sudoku.write_csv(path, sudoku.generate(300, 4, rate=True), 4)
    return path


@pytest.mark.parametrize("quoted", [False, True])
def test_read_as_by_the_familys_reader(tmp_path: Path, monkeypatch, quoted: bool) -> None:
    monkeypatch.setattr(files_rows, "_BLOCK", 5000)  # so that there are many blocks
    monkeypatch.setattr(files_rows, "_ROWS", 7)
    rating = np.where(np.arange(200) % 3, 1.5, np.nan).astype(np.float32)
    names = tuple("two, three" if quoted and k > 50 else f"n{k % 7}" for k in range(200))
    for family, size in ((sudoku, 6), (maze, 9)):
        dials = {"perfect": True} if family is maze else {}
        made = family.generate(200, size, seed=1, **dials)
        made = PuzzleArrays(made.inputs, made.labels, made.puzzle_identifiers, rating, names)
        path = tmp_path / f"{size}.csv"
        family.write_csv(path, made, size)
        for _ in range(2):
            table = read_csv_cached(path)
            assert_same(table, made)
            assert_same(table, family.read_csv(path))
            assert table.place(60) == f"{path}, line 62"
        assert isinstance(table.inputs, np.memmap)


def test_takes_rows_in_every_way(sudokus: Path) -> None:
    table, whole = read_csv_cached(sudokus), sudoku.read_csv(sudokus)
    for rows in ([5, 1, 1, -1], 3, slice(10, 40, 3), np.arange(300) % 7 == 0, []):
        assert_same(table.take(rows), whole.take(rows))
    assert sum(len(chunk) for chunk in table.chunks(64)) == 300 and table.seq_len == 16


def test_the_second_reading_looks_at_the_arrays_alone(sudokus: Path, monkeypatch) -> None:
    first = read_csv_cached(sudokus).arrays()
    monkeypatch.setattr("hrm_rl.puzzles.files.cache.decode", None)
    assert_same(read_csv_cached(sudokus), first)
    assert_same(read_csv_cached(sudokus, "sudoku", 4), first)


def test_a_changed_file_is_read_again(sudokus: Path) -> None:
    read_csv_cached(sudokus)
    other = sudoku.generate(20, 4, seed=9)
    sudoku.write_csv(sudokus, other, 4)
    assert_same(read_csv_cached(sudokus), other)
    # Of the same size, changed a moment later.
    third = sudoku.generate(20, 4, seed=10)
    sudoku.write_csv(sudokus, third, 4)
    os.utime(sudokus, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert_same(read_csv_cached(sudokus), third)
    assert sorted(os.listdir(sudokus.parent)) == [".sudokus.csv.cache", "sudokus.csv"]


@pytest.mark.parametrize("harm", ["cut", "gone", "format", "json", "count", "kind"])
def test_a_damaged_cache_is_replaced(sudokus: Path, harm: str) -> None:
    whole = read_csv_cached(sudokus).arrays()
    cache = cache_of(sudokus)
    about = json.loads((cache / "about.json").read_text())
    if harm == "cut":
        os.truncate(cache / "labels", 1000)
    elif harm == "gone":
        (cache / "rating").unlink()
    elif harm == "kind":
        np.zeros((300, 16)).tofile(cache / "inputs")
    else:
        about |= {"format": {"format": 0}, "count": {"count": 7}}.get(harm, {})
        text = json.dumps(about)
        (cache / "about.json").write_text(text[:-5] if harm == "json" else text)
    assert_same(read_csv_cached(sudokus), whole)


def test_a_bad_file_leaves_no_cache(sudokus: Path) -> None:
    with open(sudokus, "a") as file:
        file.write(f"m,{'.' * 16},{'1' * 16},3\n")
    with pytest.raises(ValueError, match=r"sudokus\.csv, line 302, answer: is not a valid grid"):
        read_csv_cached(sudokus)
    assert os.listdir(sudokus.parent) == ["sudokus.csv"]


def test_another_family_or_size_is_refused(sudokus: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="line 2, question: 16 cells; a 9x9 Sudoku has 81"):
            read_csv_cached(sudokus, size=9)
        with pytest.raises(ValueError, match="line 2, question: character 1"):
            read_csv_cached(sudokus, "maze")
        read_csv_cached(sudokus)
    with pytest.raises(ValueError, match="family must be one of sudoku, maze; got 'life'"):
        read_csv_cached(sudokus, "life")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="none"):
        read_csv_cached(sudokus.with_name("none.csv"))


def test_caches_go_where_they_can(sudokus: Path, tmp_path: Path, monkeypatch) -> None:
    whole = read_csv_cached(sudokus, cache_dir=tmp_path / "caches")
    assert not cache_of(sudokus).exists() and len(os.listdir(tmp_path / "caches")) == 1
    cache_of(sudokus).touch()  # a file in the cache's place: the user's folder takes it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert_same(read_csv_cached(sudokus), whole.arrays())
    assert len(os.listdir(tmp_path / "home" / "hrm_rl")) == 1

    monkeypatch.setattr(puzzle_files, "_LARGE_FILE", 0)
    family = sudoku.Sudoku(4)
    for place in (tmp_path / "temporary", None):  # and then into memory
        monkeypatch.setattr(files, "temporary_folder", lambda place=place: place)
        monkeypatch.setenv("XDG_CACHE_HOME", str(sudokus))
        assert_same(puzzle_files.open_stored(sudokus, family).puzzles, whole.arrays())
    assert len(os.listdir(tmp_path / "temporary")) == 1


def test_a_puzzle_trained_and_tested_on_is_named(sudokus: Path, tmp_path: Path) -> None:
    key = partial(sudoku.class_key, size=4)
    train = read_csv_cached(sudokus)
    arrays = train.arrays()
    keys = key(arrays.inputs)
    classes = sorted(set(keys.tolist()))
    old, new = (arrays.take(np.isin(keys, part)) for part in (classes[:5], classes[5:]))
    check_disjoint(old, new, key)
    check_disjoint(old, new.take(slice(0)), key)
    is_old = np.isin(keys, classes[:5])
    mixed = np.concatenate([np.flatnonzero(~is_old)[:9], np.flatnonzero(is_old)[:2]])
    inputs, labels = sudoku.symmetry(4).apply(
        arrays.inputs[mixed], arrays.labels[mixed], np.random.default_rng(0)
    )
    path = tmp_path / "test.csv"
    test = PuzzleArrays(inputs, labels, np.zeros(11, int), np.zeros(11))
    sudoku.write_csv(path, test, 4)
    with pytest.raises(ValueError, match=f"{path}, line 11 .* as train puzzle 0, .*; 2 of 11 test"):
        check_disjoint(old, read_csv_cached(path), key)
    twin = int(np.argmax(keys == keys[mixed[0]]))
    with pytest.raises(ValueError, match=f"test puzzle 0 .* as {sudokus}, line {twin + 2}, but"):
        check_disjoint(train, test, key)
