"""`hrm-rl report`: the page's data, its refusals, what it escapes, and the page in a browser."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hrm_rl.cli import main
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.puzzles import FAMILIES, CustomPuzzles, find_family
from hrm_rl.puzzles.arc.drawing import ArcBoards
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.report.boards import drawable, kind_of_bank
from hrm_rl.report.content import training
from hrm_rl.report.document import report

POLICIES = ("fixed:1", "q", "margin:auto", "oracle")
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="report-data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture
def page(bank: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A report of a recorded family."""

    def make(name: str = "sudoku", **header: Any) -> Path:
        family = find_family(name)(**({"size": 4} if name == "sudoku" else {}))
        bank(family.generate(24, seed=1), family.source_name, **header).save(tmp_path / "bank.safetensors")
        return report([tmp_path / "bank.safetensors"], tmp_path / "report.html", policies=POLICIES)

    return make


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bank_names_its_family_and_its_dials(name: str, bank: Callable[..., Any]) -> None:
    family = find_family(name).with_dials({"steps": 3} if name == "life" else {})
    found = kind_of_bank(bank(family.generate(4, seed=0), family.source_name))
    assert type(found) is type(family) and found.named_dials() == family.named_dials()


def test_boards_of_no_family(bank: Callable[..., Any]) -> None:
    puzzles = find_family("life")(size=5).generate(4, seed=0)
    for source in ("life-v1/size=[" + "[" * 9000, "life-v1/size=[1]", "life-v1/size", "life-v1/size=6", "x"):
        assert kind_of_bank(bank(puzzles, source)) == CustomPuzzles(3, 25)
    assert isinstance(drawable(CustomPuzzles(12, 900)), ArcBoards)
    assert drawable(ArcPuzzles(size=10)).seq_len == 100


def test_the_data_of_a_page(page: Callable[..., Path]) -> None:
    path = page("lights-out", note="by hand")
    (source,) = data_of(path)["sources"]
    assert ["note", "by hand"] in source["facts"] and source["depth"]["count"] == 12
    assert [row[0] for row in source["halting"]["table"]] == ["policy", *POLICIES]
    puzzles = source["replay"]["puzzles"]
    assert len(puzzles) == 12 and all(len(p["trajectories"][0]["frames"]) == 9 for p in puzzles)
    assert any("then lost" in p["outcome"] for p in puzzles[:3]) and "from" in puzzles[0]["outcome"]
    assert path.stat().st_size < 2_000_000


def test_trajectories_stand_side_by_side(bank: Callable[..., Any], tmp_path: Path, chromium: Any) -> None:
    family = find_family("lights-out")()
    bank(family.generate(24, seed=1), family.source_name, width=3).save(tmp_path / "bank.safetensors")
    rules = ["q", "select(q, first)"]
    path = report([tmp_path / "bank.safetensors"], tmp_path / "report.html", policies=rules)
    (source,) = data_of(path)["sources"]
    assert ["trajectories", "3 (start)"] in source["facts"] and source["depth"]["any"]
    frames = [each["frames"] for each in source["replay"]["puzzles"][0]["trajectories"]]
    assert len(frames) == 3 and frames[0][1:8] == frames[1][2:9] != frames[1][1:8]
    chromium.errors.clear()
    chromium.call("Performance.enable", timeDomain="threadTicks")
    chromium.open(path)
    metrics = chromium.call("Performance.getMetrics")["metrics"]
    assert next(each["value"] for each in metrics if each["name"] == "TaskDuration") < 2  # seconds of CPU
    shown = chromium.run("[...document.querySelectorAll('.head')].map((head) => head.textContent)")
    assert [text.partition(":")[0] for text in shown] == [f"Trajectory {k}" for k in (1, 2, 3)]
    assert chromium.errors == []


def test_a_page_of_part_of_the_data(tmp_path: Path) -> None:
    """A bank without drafts, of another split, shows the rest, and says what is missing."""
    toy = toy_bank(20)
    toy.in_split("validation").save(tmp_path / "bank.safetensors")
    (source,) = data_of(report([tmp_path / "bank.safetensors"], tmp_path / "report.html"))["sources"]
    assert "--drafts" in source["replay"]["missing"] and "test puzzles" in source["halting"]["missing"]
    assert "a bank has no training log" in source["training"]["missing"]
    toy.in_split("test").save(tmp_path / "bank.safetensors")
    (source,) = data_of(report([tmp_path / "bank.safetensors"], tmp_path / "report.html"))["sources"]
    assert "q" in [row[0] for row in source["halting"]["table"]]


def test_no_text_of_a_file_becomes_markup(page: Callable[..., Path]) -> None:
    """The policy allows the page's scripts by hash, and no connection; a bank's rule is never code."""
    path = page(note=HOSTILE, preset=HOSTILE, trained_rule="os:getcwd")
    text = path.read_text(encoding="utf-8")
    assert HOSTILE not in text and "<img" not in text.partition("report-data")[2].partition("</script>")[0]
    policy = re.search(r'Security-Policy" content="(.*?)"', text)
    assert policy and policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1].partition("style-src")[0] and "connect-src" not in policy[1]
    assert text.count("<script>") == policy[1].count("sha256-") == 4
    (source,) = data_of(path)["sources"]
    assert source["replay"]["rule"] == "q" and ["note", HOSTILE] in source["facts"]


def test_training_curves_come_from_the_log(tmp_path: Path) -> None:
    lines = [{"step": k, "train/loss": 1 / k, "rollout/segments": [1]} for k in range(1, 2501)]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    curves = training(SimpleNamespace(path=tmp_path))  # type: ignore[arg-type]
    assert list(curves) == ["train/loss"] and 800 < len(curves["train/loss"]["values"]) <= 1000


def test_without_a_browser_the_page_is_written(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("webbrowser.open", lambda *_: False)
    toy_bank(8).save(tmp_path / "bank.safetensors")
    words = [str(tmp_path / "bank.safetensors"), "--out", str(tmp_path / "a.html"), "--policies", "q"]
    assert main(["report", *words, "--open"]) == 2 and (tmp_path / "a.html").is_file()
    assert "open it by hand" in capsys.readouterr().err
    assert main(["report", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] > 1_000_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a run or a bank"),
        (["nothing-here"], "no model folder at nothing-here"),
        ([""], "is not a run folder"),
        (["sudoku-4x5"], "did you mean 'sudoku-4x4'"),
        (["sudoku-4x4", "--policies", "wibble"], "unknown rule 'wibble'"),
        (["sudoku-4x4", "--out", "gone/report.html"], "the folder gone does not exist"),
        (["sudoku-4x4", "--out", "pyproject.toml"], "exists and is not a report"),
        (["sudoku-4x4", "--replayed", "0"], "--replayed must be >= 1"),
        (["sudoku-4x4", "--seed", "-1"], "seed must be an integer >= 0"),
        (["sudoku-4x4", "--policies"], "policies must name at least one rule"),
    ],
)
def test_refusals(words: list[str], message: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]", encoding="utf-8")
    assert main(["report", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""


SHOWN = "replay.segment + [...document.querySelectorAll('.tile')].map((tile) => tile.outerHTML).join()"
SLIDER = "document.querySelector('input[type=range]')"
WIDTH = "document.documentElement.scrollWidth"


@pytest.mark.parametrize("name", FAMILIES)
def test_in_a_browser(name: str, page: Callable[..., Path], chromium: Any) -> None:
    chromium.errors.clear()
    chromium.open(page(name, note=HOSTILE), width=400, height=800)
    assert chromium.run(WIDTH) == 400
    boards = []
    for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
        chromium.run("document.querySelector('.controls button').focus()")
        chromium.press(key)
        boards.append(chromium.run(SHOWN))
    assert len(set(boards)) == 4 and [board[0] for board in boards] == list("0187")
    chromium.run(f"{SLIDER}.value = 8, {SLIDER}.dispatchEvent(new Event('input'))")
    assert chromium.run(SHOWN) == boards[2]
    assert chromium.run("window.hacked === undefined") and chromium.errors == []
    assert chromium.run("document.querySelector('#downloads a').href.startsWith('data:application/json')")
