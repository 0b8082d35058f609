"""README's Python runs as it stands, block after block."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("steps", [2, pytest.param(500, marks=pytest.mark.slow)])
def test_python(steps: int, run_page: Callable[..., dict], capsys: pytest.CaptureFixture[str]) -> None:
    run_page("README.md", {"range(500)": f"range({steps})"})
    table = capsys.readouterr().out
    rows = re.findall(r"^(q|fixed:auto|README.md:sure) +(\d+\.\d) ", table, re.MULTILINE)
    assert [name for name, _ in rows] == ["q", "fixed:auto", "README.md:sure"]
    if steps == 500:
        assert float(rows[0][1]) > 20


def test_it_takes_two_minutes() -> None:
    assert len(TEXT.split()) <= 450
