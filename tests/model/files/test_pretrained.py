"""The models that are installed with the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_rl import HRM
from hrm_rl.model.files.pretrained import FOLDER, PREFIX, find_pretrained, pretrained_models
from hrm_rl.model.files.weights import read_pretrained

ROOT = Path(__file__).resolve().parents[3]
NAMES = pretrained_models()


def command(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "hrm_rl", *words]
    return subprocess.run(given, cwd=cwd, capture_output=True, text=True, timeout=600)


def test_all_are_small_and_have_a_card() -> None:
    assert "sudoku-4x4" in NAMES
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 6_000_000
    for name in NAMES:
        card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
        assert f'from_pretrained("{name}")' in card and "## Limits" in card and "license: apache-2.0" in card
        config, tensors, _ = read_pretrained(name)
        assert config.forward_dtype == "float32" and {str(t.dtype) for t in tensors.values()} <= {
            "torch.float16",
            "torch.int32",
        }


def test_a_name_solves_a_puzzle_at_once() -> None:
    done = command("solve", "sudoku-4x4", "1.3..4.22.4..3.1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["correct"]


def test_a_folder_of_that_name_is_never_opened_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    HRM.from_pretrained("sudoku-4x4").save_pretrained("sudoku-4x4")
    with pytest.raises(ValueError, match=r"write /.*/sudoku-4x4 for the folder, pretrained:sudoku-4x4"):
        HRM.from_pretrained("sudoku-4x4")
    assert find_pretrained(PREFIX + "sudoku-4x4") == FOLDER / "sudoku-4x4"
    assert HRM.from_pretrained(tmp_path / "sudoku-4x4").config.vocab_size == 6


def test_a_misspelt_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    done = command("eval", "sudoku-4x5", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("hrm-rl: ") and "did you mean 'sudoku-4x4'?" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_figures_of_the_card_are_measured_again(name: str) -> None:
    done = command("eval", PREFIX + name, "--json", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    found, card = json.loads(done.stdout), json.loads((FOLDER / name / "figures.json").read_text("utf-8"))
    assert found["count"] == card["count"] and found["halting"] == card["halting"]
    assert found["exact_accuracy"] == pytest.approx(card["exact_accuracy"], abs=0.005)
    assert found["mean_segments"] == pytest.approx(card["mean_segments"], abs=0.1)
