"""README's Python runs as it stands, block after block."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
STEPS = "range(500)"


@pytest.mark.parametrize("steps", [2, pytest.param(500, marks=pytest.mark.slow)])
def test_python(steps: int, tmp_path, monkeypatch, capsys) -> None:
    train, compare = BLOCKS
    assert STEPS in train
    monkeypatch.chdir(tmp_path)
    program: dict[str, object] = {"__name__": "readme"}
    for block in (train.replace(STEPS, f"range({steps})"), compare):
        exec(compile(block, "README.md", "exec"), program)
    table = capsys.readouterr().out
    rows = re.findall(r"^(q|fixed:auto|readme:sure) +(\d+\.\d) ", table, re.MULTILINE)
    assert [name for name, _ in rows] == ["q", "fixed:auto", "readme:sure"]
    if steps == 500:
        assert float(rows[0][1]) > 20


def test_it_takes_two_minutes() -> None:
    assert len(TEXT.split()) <= 450
