"""Old import paths lead to the modules at their new places."""

import subprocess
import sys
from importlib import import_module

import pytest

from hrm_rl.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_is_the_module_at_its_new_place(old: str) -> None:
    sys.modules.pop(f"hrm_rl.{old}", None)
    with pytest.warns(DeprecationWarning, match="has moved to"):
        found = import_module(f"hrm_rl.{old}")
    assert found is import_module(f"hrm_rl.{MOVED[old]}")


def test_an_unknown_path_is_still_unknown() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("hrm_rl.no_such_module")
    words = [sys.executable, "-c", "from hrm_rl.puzzles.table import PuzzleTable"]
    assert subprocess.run(words, capture_output=True).returncode == 0
