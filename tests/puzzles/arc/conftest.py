from pathlib import Path

import pytest

from hrm_rl.puzzles import arc


@pytest.fixture(scope="session")
def tasks() -> arc.Collection:
    """Training tasks "mirror", "tile", "turned"; evaluation tasks "negative", "top_row", "transpose"."""
    return arc.read_folder(Path(__file__).parents[1] / "arc_tasks")
