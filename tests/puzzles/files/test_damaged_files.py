"""Files harmed at random: a ValueError of one line, or valid puzzles; never half of them.

200 harmed files by default; FUZZ_FILES=2000 makes more.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import maze, sudoku
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.dataset import read_dataset, write_dataset

COUNT = int(os.environ.get("FUZZ_FILES", "200")) // 2

_PIECES = [b"", b",", b'"', b"\n", b"\r", b"\x00", b"\xff", b"o", b"S", b"5", b".", b"\xe2\x82\xac"]


def harm(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, left out, put in, doubled or cut off; one to three such things."""
    for _ in range(rng.integers(1, 4)):
        first, last = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        last = min(last, first + int(rng.choice([1, 4, 100])))
        piece = _PIECES[rng.integers(len(_PIECES))]
        kind = rng.integers(6)
        if kind == 0:
            data = data[:first] + piece + data[last:]
        elif kind == 1:
            data = data[:first] + piece + data[first:]
        elif kind == 2:
            data = data[:last] + data[first:]
        elif kind == 3:
            data = data[:first]
        elif kind == 4:
            data = data[:first] + rng.bytes(last - first) + data[last:]
        else:
            data = data[:first] + data[last:] + data[first:last]
    return data


def read(reading: Any, *words: Any) -> Any:
    """The result, or None if it was refused in one line."""
    try:
        return reading(*words)
    except ValueError as error:
        message = str(error)
        assert message and "\n" not in message.replace("\\n", ""), message
        return None


@pytest.mark.parametrize("family", [sudoku, maze])
def test_harmed_csv_files(tmp_path: Path, family: Any) -> None:
    dials: dict[str, Any] = {"perfect": True} if family is maze else {}
    path, rng = tmp_path / "puzzles.csv", np.random.default_rng(0)
    family.write_csv(path, family.generate(12, 6, rate=True, **dials), 6)
    whole, refused = path.read_bytes(), 0
    for _ in range(COUNT // 2):
        path.write_bytes(harm(whole, rng))
        arrays, table = read(family.read_csv, path, 6), read(read_csv_cached, path, None, 6)
        assert (arrays is None) == (table is None), path.read_bytes()
        left = set(os.listdir(tmp_path))
        if arrays is None:
            refused += 1
            assert left <= {"puzzles.csv", ".puzzles.csv.cache"}
            continue
        assert family.is_valid(arrays.inputs, arrays.labels, 6).all()
        np.testing.assert_array_equal(table.arrays().inputs, arrays.inputs)
        np.testing.assert_array_equal(table.arrays().labels, arrays.labels)
        np.testing.assert_array_equal(table.arrays().rating, arrays.rating)
    assert refused > COUNT // 4


def test_harmed_folders(tmp_path: Path) -> None:
    whole, rng = tmp_path / "whole", np.random.default_rng(1)
    puzzles = maze.generate(12, 6, perfect=True, rate=True)
    write_dataset(whole, train=puzzles)
    files = [file.relative_to(whole) for file in sorted(whole.rglob("*.*"))]
    assert len(files) == 8
    refused = 0
    for k in range(COUNT):
        folder = tmp_path / "harmed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        file = folder / files[k % len(files)]
        file.write_bytes(harm(file.read_bytes(), rng))
        data = read(read_dataset, folder)
        if data is None:
            refused += 1
            continue
        arrays = data.arrays()
        assert arrays.inputs.shape == (12, 36) and arrays.inputs.max() < data.metadata.vocab_size
        assert len(data.epoch(np.random.default_rng(0))) <= 12
    assert refused > COUNT // 4
