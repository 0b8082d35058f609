"""Progress: a bar in a terminal, few whole lines elsewhere, nothing when not wanted."""

import io
import sys
from pathlib import Path

import pytest

from hrm_rl.evaluation import progress


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(monkeypatch, terminal: bool, steps: int = 20_000, **options) -> str:
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    bar = progress.progress_bar(total=steps, desc="learning", unit="step", **options)
    for step in range(steps):
        bar.update()
        if step % 10 == 0:
            bar.set_postfix({"loss": f"{step}"}, refresh=False)
        if step == 7:
            bar.write("validated", file=stream)
    bar.close()
    return stream.getvalue()


def test_a_log_file_gets_whole_lines_and_few(monkeypatch) -> None:
    text = shown(monkeypatch, terminal=False)
    assert "\r" not in text and "\x1b" not in text and text.endswith("\n")
    first, last = text.splitlines()
    assert first == "validated" and last.startswith("learning: 20000/20000 [")
    assert "loss=19990" in last


def test_a_line_a_minute(monkeypatch) -> None:
    """Sixty-one minutes, by a clock that moves a second a step."""
    now = iter(range(10_000_000))
    monkeypatch.setattr("tqdm.std.time", lambda: next(now))
    stream = Stream(terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    bar = progress.progress_bar(total=3660, miniters=1)
    for _ in range(3660):
        bar.update()
    bar.close()
    lines = stream.getvalue().splitlines()
    assert 55 <= len(lines) <= 64 and len(set(lines)) >= len(lines) - 1


def test_a_terminal_gets_a_bar(monkeypatch) -> None:
    assert "\rlearning:" in shown(monkeypatch, terminal=True)
    monkeypatch.setenv("TERM", "dumb")
    assert "\r" not in shown(monkeypatch, terminal=True)


@pytest.mark.parametrize("stream", [Stream(True), Stream(False), None])
def test_nothing_when_not_wanted_or_nowhere_to_go(monkeypatch, stream) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.progress_bar([1, 2], shown=stream is None)) == [1, 2]
    assert stream is None or stream.getvalue() == ""


def test_only_one_function_makes_bars() -> None:
    files = Path(progress.__file__).parents[1].rglob("*.py")
    users = [path for path in files if "import tqdm" in path.read_text()]
    assert [path.name for path in users] == ["progress.py"]
