"""The notebooks run from top to bottom; at its full budget your_own_env shows what its text says."""

import re
from pathlib import Path
from typing import Any

import pytest

import hrm_rl

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="runs in a checkout")


def executed(name: str, folder: Path) -> tuple[str, list[str]]:
    """All that a notebook printed, and the kinds of its outputs. An error in a cell raises."""
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    notebook = nbformat.read(path, as_version=4)
    metadata = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=metadata).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output["text"] for output in outputs if output.output_type == "stream")
    return text, [kind for output in outputs for kind in output.get("data", ())]


@pytest.fixture(autouse=True)
def own_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a reader's kernel: pictures go into the notebook."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def figures(text: str) -> dict[str, float]:
    found = re.search(r"return ([\d.]+), ([\d.]+) segments", text)
    by_hops = re.search(r"segments: ([\d.]+) where hops is 0, ([\d.]+) where it is 1", text)
    assert found and by_hops, text
    names = ("return", "segments", "easy", "looked_up")
    return dict(zip(names, map(float, found.groups() + by_hops.groups()), strict=True))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs_and_installs_elsewhere(path: Path) -> None:
    """So that a change shows as what it is; the run is a test below. Colab has no hrm_rl."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "%pip install -q {WHEEL}" in code[0].source and hrm_rl.__version__ in code[0].source


def test_first_steps_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HRM_RL_NOTEBOOK_STEPS", "2")
    text, _ = executed("first_steps", tmp_path)
    right = [int(count) for count in re.findall(r"after segment \d: +(\d+) of 64", text)]
    assert right == sorted(right) and right[0] < 50 and right[-1] > 60
    assert len(re.findall(r"^(?:q|fixed:2|confidence:\S+|stable:2|oracle) +\d", text, re.MULTILINE)) == 5
    assert re.search(r"of the cells, [\d.]+% of the puzzles are right", text)


def test_your_own_env_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A few updates: everything is printed and drawn, whatever it learned."""
    monkeypatch.setenv("HRM_RL_NOTEBOOK_STEPS", "1024")
    text, kinds = executed("your_own_env", tmp_path)
    shown = figures(text)
    assert 0 <= shown["return"] <= 1 and 1 <= shown["segments"] <= 2
    assert re.search(r"^\S*sure +\d+\.\d% after [12]", text, re.MULTILINE), text
    assert text.count("\n") >= 11 and kinds.count("image/png") == 1


@pytest.mark.slow
def test_your_own_env_shows_what_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It learns to answer, and thinks no longer than that needs: most where a note is looked up."""
    monkeypatch.delenv("HRM_RL_NOTEBOOK_STEPS", raising=False)
    shown = figures(executed("your_own_env", tmp_path)[0])
    assert shown["return"] > 0.9 and shown["easy"] < min(1.3, shown["looked_up"]), shown
