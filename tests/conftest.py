"""What all tests share: one thread, no window, no hurry.

The numeric libraries read the thread counts once, when they are first imported, so they are set
here, before any test module is. Tensors in the tests are small: more threads buy nothing, and two
OpenMP threads that share a busy core wait for one another, which is many times slower than one.
A value already in the environment wins.
"""

import os
from collections.abc import Callable
from typing import Any

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402

try:
    from hypothesis import settings
except ImportError:  # the dev extra has it; tests that use it skip themselves
    pass
else:
    # On a loaded machine a slow example is not a failure.
    settings.register_profile("hrm_rl", parent=settings(), deadline=None)
    settings.load_profile("hrm_rl")


@pytest.fixture(scope="session")
def tiny_hrm() -> Callable[..., Any]:
    """Makes a tiny model for 4x4 Sudoku, an HRM by default, the same for the same changes to it."""
    import torch

    from hrm_rl.model import HRMConfig, make_model

    def make(seed: int = 0, **changes: Any) -> Any:
        settings: dict[str, Any] = {
            "vocab_size": 6,
            "seq_len": 16,
            "puzzle_emb_ndim": 0,
            "hidden_size": 32,
            "num_heads": 2,
            "H_layers": 1,
            "L_layers": 1,
            "pos_encodings": "learned",
            "halt_max_steps": 4,
            "forward_dtype": "float32",
        }
        torch.manual_seed(seed)
        return make_model(HRMConfig(**(settings | changes)))

    return make


@pytest.fixture(scope="session")
def preset() -> Callable[..., Any]:
    """Makes a preset so small that a training step takes milliseconds."""
    return _tiny_preset


def _tiny_preset(**changes: Any) -> Any:
    from hrm_rl.agents import LearnerConfig
    from hrm_rl.model import HRMConfig
    from hrm_rl.training.presets import Preset, SudokuData

    model = HRMConfig(
        vocab_size=6,
        seq_len=16,
        puzzle_emb_ndim=0,
        hidden_size=16,
        num_heads=2,
        H_layers=1,
        L_layers=1,
        pos_encodings="learned",
        halt_max_steps=3,
        halt_exploration_prob=0.5,
        forward_dtype="float32",
    )
    settings: dict[str, Any] = {
        "name": "tiny",
        "model": model,
        "learner": LearnerConfig(optimizer="adamw", lr=1e-3, warmup_steps=3),
        "data": SudokuData(size=4, extra_givens=(4, 8), train_puzzles=40, validation_puzzles=10),
        "batch_size": 8,
        "max_steps": 6,
        "ema_decay": 0.9,
        "validate_every": 3,
        "log_every": 2,
    }
    return Preset(**(settings | changes))


@pytest.fixture
def run_page(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the Python of a Markdown page, block after block in an empty folder; returns its names.

    `shorter` replaces what would take long, and `skip` counts blocks from 0 that are left out.
    """
    import re
    from pathlib import Path

    def run(page: str, shorter: dict[str, str] | None = None, skip: tuple[int, ...] = ()) -> dict[str, Any]:
        text = Path(__file__).parents[1].joinpath(page).read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        blocks = ["" if number in skip else block for number, block in enumerate(blocks)]
        for long, short in (shorter or {}).items():
            assert any(long in block for block in blocks), f"{page} has no {long!r}"
            blocks = [block.replace(long, short) for block in blocks]
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {"__name__": page}
        for number, block in enumerate(blocks):
            exec(compile(block, f"{page}, block {number}", "exec"), names)
        return names

    return run


@pytest.fixture(scope="session")
def restless_hrm(tiny_hrm) -> Callable[..., Any]:
    """Makes a tiny HRM whose rows halt at different segments; the seed was searched for that."""
    import torch

    def make(**changes: Any) -> Any:
        model = tiny_hrm(seed=26, **changes)
        torch.nn.init.normal_(model.q_head.weight, std=0.3)
        model.q_head.bias.data = torch.tensor([-1.0, 0.0])
        return model

    return make


@pytest.fixture(scope="session")
def tape() -> Callable[[], Any]:
    """Makes what stands in for CUDA graphs on a CPU, without Python in a replay (tape.py)."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("tape", Path(__file__).parent / "tape.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Tape


@pytest.fixture(scope="session")
def maze_cases() -> Callable[[int, int], list[tuple[Any, Any]]]:
    """Makes a maze and answers to it: right, nearly right, long ways round, and with rings beside them."""
    return _maze_cases


def _maze_cases(seed: int, size: int) -> list[tuple[Any, Any]]:
    import numpy as np

    from hrm_rl.puzzles.maze import GOAL, PATH, SPACE, START, WALL, solve

    rng = np.random.default_rng(seed)
    row = np.where(rng.random(size**2) < rng.choice([0.0, 0.1, 0.3]), WALL, SPACE)
    start, goal = rng.choice(size**2, 2, replace=False)
    row[[start, goal]] = START, GOAL
    solution, moves, _ = solve(row, size)
    if moves < 0:
        return []

    def near(cell: int) -> list[int]:
        steps = ((-1, 0), (0, -1), (0, 1), (1, 0))
        around = [(cell // size + down, cell % size + right) for down, right in steps]
        return [r * size + c for r, c in around if 0 <= r < size and 0 <= c < size]

    drawn = [np.flatnonzero(solution == PATH)]
    for _ in range(4):  # walks that never touch themselves
        walk = [int(start)]
        while walk[-1] != goal:
            ways = [
                cell
                for cell in near(walk[-1])
                if row[cell] != WALL and sum(n in walk for n in near(cell)) == 1
            ]
            ways = [cell for cell in ways if cell not in walk]
            if not ways:
                break
            walk.append(int(rng.choice(ways)))
        drawn.append(np.array(walk[1:], int))
    cases = []
    for path in drawn:
        answer = np.where(np.isin(np.arange(size**2), path) & (row == SPACE), PATH, row)
        top, left = rng.integers(0, size - 2, 2)
        ring = [(top + i // 3) * size + left + i % 3 for i in range(9) if i != 4]
        ringed = answer.copy()
        ringed[[cell for cell in ring if row[cell] == SPACE]] = PATH
        changed = answer.copy()
        changed[rng.integers(size**2)] = rng.integers(-100, 7)
        cases += [(row, answer), (row, ringed), (row, changed)]
    return cases


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu where there is no CUDA device; torch loads only if something is."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def fake_reasoning_gym(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for the package reasoning-gym, with its n_queens in small: several answers are right."""
    import itertools
    import random
    import sys
    from dataclasses import dataclass
    from types import ModuleType

    from hrm_rl.envs.families import reasoning_gym

    @dataclass
    class Config:
        n: int = 5
        min_remove: int = 1
        max_remove: int = 5
        seed: int = 0
        size: int = 500

        def validate(self) -> None:
            assert self.min_remove <= self.max_remove <= self.n, "max_remove must be at most n"

    class NQueens:
        def __init__(self, config: Config) -> None:
            config.validate()
            self.config = config
            self.boards = [
                order
                for order in itertools.permutations(range(config.n))
                if all(abs(order[i] - order[j]) != j - i for j in range(config.n) for i in range(j))
            ]

        def __getitem__(self, index: int) -> dict[str, Any]:
            rng = random.Random(self.config.seed + index)
            board = rng.choice(self.boards)
            removed = rng.sample(
                range(self.config.n), rng.randint(self.config.min_remove, self.config.max_remove)
            )
            kept = [-1 if row in removed else place for row, place in enumerate(board)]
            right = [b for b in self.boards if all(k in (-1, c) for k, c in zip(kept, b, strict=True))]
            valid = [self.text(b) for b in right]
            metadata = {"puzzle": self.rows(kept), "valid_answers": valid}
            return {"question": "?", "answer": rng.choice(valid), "metadata": metadata}

        def rows(self, board: Any) -> list[list[str]]:
            return [["Q" if c == place else "_" for c in range(self.config.n)] for place in board]

        def text(self, board: Any) -> str:
            return "\n".join(" ".join(row) for row in self.rows(board))

        def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
            return float(answer in entry["metadata"]["valid_answers"])

    def create_dataset(name: str, **config: Any) -> NQueens:
        assert name == "n_queens"
        return NQueens(Config(**config))

    module = ModuleType("reasoning_gym")
    module.create_dataset = create_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)
    reasoning_gym._pool.cache_clear()
    yield module
    reasoning_gym._pool.cache_clear()
