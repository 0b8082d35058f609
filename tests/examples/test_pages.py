"""The Python of the documentation runs as it stands, page by page, with fewer steps and puzzles."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hrm_rl
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.puzzles import PuzzleArrays, maze, sudoku
from hrm_rl.sweep import sweep
from hrm_rl.training.config import read_config, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGES = {page.stem: page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text("utf-8")}

pytestmark = pytest.mark.skipif(not PAGES, reason="runs in a checkout")

SHORTER = {
    "datasets": {"range(1000)": "range(3)", "(1000": "(3", "(200": "(3", "[0, 5]": "[0, 2]"},
    "halting-env": {
        "num_envs=4096": "num_envs=4",
        "from hrm_rl.agents.pqn.": "from hrm_rl.agents.pqn import PQNConfig\nfrom hrm_rl.agents.pqn.",
        "cost=0.01, seed=0": "cost=0.01, config=PQNConfig(total_steps=512), num_envs=16",
        'algo="ppo"': 'algo="ppo", total_steps=512',
        "num_envs=64": "num_envs=4",
        "batch_size=512": "batch_size=64",
        "100_000": "1",
    },
    "pqn": {"300_000": "512", "episodes=256": "episodes=8"},
    "puzzles": {"1000": "20"},
    "recurrent": {"n_steps=256": "n_steps=16", "10_000": "16"},
    "rendering": {"runs/quickstart": "sudoku-4x4"},
    "sb3": {"L_cycles=1))": "L_cycles=1), n_steps=16, batch_size=16)", "10_000": "16"},
    "thinking": {"n_steps=256": "n_steps=16", "1_000": "16", "2_000": "64"},
    "tools": {
        "num_envs=64": "num_envs=4",
        "50_000": "1",
        "1_000": "8",
        "n_eval_episodes=256": "n_eval_episodes=8",
    },
    "tour": {'"max_steps": 300': '"max_steps": 2, "data.train_puzzles": 64', "puzzles=200": "puzzles=16"},
    "your-own-learner": {"range(100)": "range(2)", "range(500)": "range(100)"},
}
SKIPPED = {"datasets": (3,), "puzzles": (1, 2)}  # the Hub; the extra arc (tests/puzzles/arc)
ELSEWHERE = {  # with what else they need
    "export": "tests/model/files/test_export.py",
    "reasoning-gym": "tests/envs/families/test_reasoning_gym.py",
    "your-own-model": "tests/model/test_architectures.py",
    "your-own-puzzles": "tests/envs/core/test_own_puzzles.py",
}
NEEDS = {"recurrent": "sb3_contrib", "sb3": "stable_baselines3", "thinking": "stable_baselines3"}
NEEDS |= {"halting-env": "stable_baselines3", "tools": "rich"}


@pytest.fixture
def files(tmp_path: Path) -> None:
    """What the pages read: a bank, and puzzles as CSV."""
    toy_bank(60).save(tmp_path / "bank.safetensors")
    for folder in ("maze-hard", "sudoku-extreme"):
        (tmp_path / folder).mkdir()
    maze.write_csv(tmp_path / "maze-hard" / "test.csv", maze.generate(2, 7), 7)
    for name, split in (("sudoku-extreme/train.csv", "train"), ("train.csv", "train"), ("test.csv", "test")):
        sudoku.write_csv(tmp_path / name, sudoku.generate(3, split=split))


def test_every_page_is_run() -> None:
    for name, place in ELSEWHERE.items():
        assert f"{name}.md" in (ROOT / place).read_text("utf-8") and name in PAGES
    assert {*SHORTER, *SKIPPED, *NEEDS} <= PAGES.keys()


@pytest.mark.parametrize("name", sorted(PAGES.keys() - ELSEWHERE))
def test_page(name: str, files: None, run_page: Callable[..., dict]) -> None:
    pytest.importorskip(NEEDS.get(name, "hrm_rl"))
    run_page(f"docs/{name}.md", SHORTER.get(name), SKIPPED.get(name, ()))


def config_file(page: str, folder: Path) -> Path:
    """The page's config file."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    (found,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (folder / "file.toml").write_text(found)
    return folder / "file.toml"


def test_the_config_files_are_read(tmp_path: Path) -> None:
    assert resolve(read_config(config_file("cli.md", tmp_path))).preset.max_steps == 3000
    trials = sweep(config_file("scaling.md", tmp_path), tmp_path / "out", dry_run=True)["trials"]
    assert len(trials) == 3 * 2 and {row["group"] for row in trials} == {
        "wide,q_target=full",
        "wide,q_target=none",
    }


@pytest.mark.slow
def test_own_learners_reach_what_the_page_says(
    run_page: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_page("docs/your-own-learner.md")
    assert names["earned"] / names["best"] > 0.9
    assert float(re.findall(r"^\d\.\d{3}$", capsys.readouterr().out, re.MULTILINE)[-1]) > 0.94
    bits = names["bits"][:64].numpy()
    record = hrm_rl.record(names["model"], PuzzleArrays(bits, bits[:, ::-1]))
    assert np.mean(record.correct[:, 0]) > 0.9
