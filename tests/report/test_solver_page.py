"""docs/solver.html in a headless Chromium: the model solves puzzles, without a request to anywhere."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "solver.html"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="runs in a checkout of the repository")


def test_a_page_without_a_model_says_how_to_get_one(chromium: Any) -> None:
    chromium.errors.clear()
    chromium.open(PAGE)
    assert "make docs" in chromium.run("document.body.textContent") and chromium.errors == []
    assert chromium.run("document.getElementById('solve').disabled")


@pytest.mark.slow
def test_the_model_solves_in_the_browser(chromium: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    shutil.copy(PAGE, tmp_path)
    built = [sys.executable, ROOT / "docs" / "solver.py", tmp_path, "--model", "sudoku-4x4"]
    said = subprocess.run(built, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    if "without a model" in said.stderr:
        pytest.skip(said.stderr)
    page = tmp_path / PAGE.name
    assert page.stat().st_size < 8_000_000
    chromium.errors.clear()
    chromium.open(page)
    chromium.run("ready.then(() => 0)")
    solve = "solve().then(() => said.textContent)"
    found = [chromium.run(f"put(data.examples[{number}]), {solve}") for number in range(4)]
    assert all(text.startswith("Solved after ") for text in found), found
    assert chromium.run("board.querySelectorAll('.draft').length") > 4
    assert "two 1s in row 1" in chromium.run(f"put('11'), {solve}")
    assert chromium.run("document.getElementById('solve').click(), busy")
    assert chromium.errors == []
